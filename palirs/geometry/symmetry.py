"""Order of the point group of a molecule."""

import numpy as np
from ase import Atoms

TOLERANCE = 0.1
"""Largest deviation of a distance, and of a position [Å], from symmetry: relaxed geometries are
symmetric to 0.01 Å, and a distortion below this tolerance interconverts freely with its image."""


def symmetry_order(atoms: Atoms) -> int:
    """Return the order of the point group of a molecule.

    It is the number of permutations of equal atoms that are a proper or improper rotation, without
    the rotations about the axis of a linear molecule.

    Parameters
    ----------
    atoms : Atoms
        Masses distinguish isotopes.
    """
    positions = atoms.positions - atoms.get_center_of_mass()
    kinds = np.round(atoms.get_masses(), 3) + 1e3 * atoms.numbers
    lengths = atoms.get_all_distances()
    return sum(
        _is_motion(positions, positions[order], sign)
        for order in _permutations(kinds, lengths)
        for sign in (1, -1)
    )


def _permutations(kinds: np.ndarray, lengths: np.ndarray) -> list[list[int]]:
    """Return the permutations of atoms that preserve kinds and distances, atom by atom."""
    permutations: list[list[int]] = [[]]
    for atom in range(len(kinds)):
        permutations = [
            [*order, image]
            for order in permutations
            for image in np.flatnonzero(kinds == kinds[atom]).tolist()
            if image not in order
            and (np.abs(lengths[image, order] - lengths[atom, :atom]) < TOLERANCE).all()
        ]
    return permutations


def _is_motion(positions: np.ndarray, images: np.ndarray, sign: int) -> bool:
    """Return whether a proper (``sign`` 1) or improper rotation maps positions to images.

    Kabsch 1976, doi:10.1107/S0567739476001873.
    """
    left, _, right = np.linalg.svd(positions.T @ images)
    turn = left @ np.diag([1.0, 1.0, sign * np.sign(np.linalg.det(left @ right))]) @ right
    return bool(np.linalg.norm(positions @ turn - images, axis=1).max() < TOLERANCE)
