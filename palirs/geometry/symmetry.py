"""How many motions leave a molecule as it is: the order of its point group."""

import numpy as np
from ase import Atoms

TOLERANCE = 0.1
"""Largest difference of a distance between atoms, and of a position [Å], in a geometry that is
called symmetric: relaxed geometries are symmetric to 0.01 Å, and a structure that is less symmetric
by less than this crosses to its image all the time."""


def symmetry_order(atoms: Atoms) -> int:
    """Return the order of the point group: how many exchanges of equal atoms are a rotation, or a rotation and an inversion.

    Of linear molecules it counts those that do not turn about the axis.

    Parameters
    ----------
    atoms : Atoms
        Its masses tell isotopes apart.
    """
    positions = atoms.positions - atoms.get_center_of_mass()
    kinds = np.round(atoms.get_masses(), 3) + 1e3 * atoms.numbers
    lengths = atoms.get_all_distances()
    return sum(
        _is_motion(positions, positions[order], sign)
        for order in _exchanges(kinds, lengths)
        for sign in (1, -1)
    )


def _exchanges(kinds: np.ndarray, lengths: np.ndarray) -> list[list[int]]:
    """Return the permutations of atoms that keep kinds and distances, found atom by atom."""
    found: list[list[int]] = [[]]
    for atom in range(len(kinds)):
        found = [
            [*order, image]
            for order in found
            for image in np.flatnonzero(kinds == kinds[atom]).tolist()
            if image not in order
            and (np.abs(lengths[image, order] - lengths[atom, :atom]) < TOLERANCE).all()
        ]
    return found


def _is_motion(positions: np.ndarray, images: np.ndarray, sign: int) -> bool:
    """Tell whether a proper (``sign`` 1) or improper rotation takes positions to their images (Kabsch 1976)."""
    left, _, right = np.linalg.svd(positions.T @ images)
    turn = left @ np.diag([1.0, 1.0, sign * np.sign(np.linalg.det(left @ right))]) @ right
    return bool(np.linalg.norm(positions @ turn - images, axis=1).max() < TOLERANCE)
