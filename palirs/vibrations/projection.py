"""Projection of MD velocities on the normal modes of a molecule."""

from itertools import product

import numpy as np
from scipy.spatial.transform import Rotation

from palirs.units import EV_PER_AMU_A2_FS2
from palirs.vibrations.analysis import Harmonic
from palirs.vibrations.coordinates import Coordinates

SAME = 0.05
"""Root mean square distance [Å] below which an optimum with permuted atoms is only rotated."""
MOST = 27
"""Permutations of the hydrogen atoms of methyl groups that are tried for each frame: those of
three groups; further groups are not permuted."""


class Projection:
    """Normal modes in the Eckart frame of a molecule (Eckart 1935, doi:10.1103/PhysRev.47.552).

    The molecule is rotated to minimise the mass-weighted squared displacements from its optimum,
    which fulfils the Eckart conditions (Kudin and Dymarsky 2005, doi:10.1063/1.1929739). The
    hydrogen atoms of a methyl group that has turned by a third are permuted, so that each is
    compared with the nearest position in the optimum; not where that is a rotation of the whole
    molecule (acetonitrile), which the frame follows anyway. A linear molecule is rotated by the
    smallest angle that aligns its axis.

    Parameters
    ----------
    vibrations : Harmonic
        Optimum and modes.
    """

    def __init__(self, vibrations: Harmonic):
        self.masses = vibrations.atoms.get_masses()
        self.target = vibrations.atoms.positions - vibrations.atoms.get_center_of_mass()
        weighted = vibrations.modes * self.masses[None, :, None] * np.sqrt(EV_PER_AMU_A2_FS2)
        self.modes = weighted.reshape(len(vibrations.modes), -1)
        self.linear = len(vibrations.modes) == 3 * len(self.masses) - 5
        orders = _permutations(Coordinates(vibrations.atoms))
        # isotopes in one methyl group: its modes are not those of the permuted one
        alike = [order for order in orders if np.array_equal(self.masses[order], self.masses)]
        self.orders = self._distinct(alike)

    def __len__(self) -> int:
        return len(self.modes)

    def rates(self, positions: np.ndarray, velocities: np.ndarray) -> np.ndarray:
        """Return the rates of the normal coordinates, ``[frames, modes]`` [eV^1/2].

        Half the square is the kinetic energy of a mode.

        Parameters
        ----------
        positions, velocities : numpy.ndarray
            Shape ``[frames, N, 3]`` [Å], [Å/fs].
        """
        centre = np.einsum("fad,a->fd", positions, self.masses) / self.masses.sum()
        centred = positions - centre[:, None]
        if self.linear:
            rotated = velocities @ self._axis_rotations(centred)
            return rotated.reshape(len(positions), -1) @ self.modes.T
        alignments = [self._alignment(centred[:, order]) for order in self.orders]
        best = np.array([overlap for _, overlap in alignments]).argmax(axis=0)
        frames = np.arange(len(positions))
        rotations = np.array([rotation for rotation, _ in alignments])[best, frames]
        rotated = velocities[frames[:, None], np.array(self.orders)[best]] @ rotations
        return rotated.reshape(len(positions), -1) @ self.modes.T

    def _alignment(self, centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rotations onto the optimum, ``[frames, 3, 3]`` for row vectors, and overlaps."""
        left, sizes, right = np.linalg.svd(
            np.einsum("fai,aj,a->fij", centred, self.target, self.masses)
        )
        handedness = np.sign(np.linalg.det(left @ right))
        left[:, :, 2] *= handedness[:, None]
        return left @ right, sizes[:, :2].sum(axis=1) + handedness * sizes[:, 2]

    def _axis_rotations(self, centred: np.ndarray) -> np.ndarray:
        """Return the smallest rotations of the axis onto that of the optimum, for row vectors."""
        axis = self.target[np.linalg.norm(self.target, axis=1).argmax()]
        axis = axis / np.linalg.norm(axis)
        axes = np.einsum("fai,a,a->fi", centred, self.target @ axis, self.masses)
        axes /= np.linalg.norm(axes, axis=1, keepdims=True)
        normal = np.cross(axes, axis)
        sine, cosine = np.linalg.norm(normal, axis=1), axes @ axis
        turns = normal * (np.arctan2(sine, cosine) / np.maximum(sine, 1e-12))[:, None]
        return np.swapaxes(Rotation.from_rotvec(turns).as_matrix(), 1, 2)

    def _distinct(self, orders: list[list[int]]) -> list[list[int]]:
        """Drop permutations that equal an earlier one up to a rotation of the molecule."""
        kept: list[list[int]] = []
        for order in orders:
            permuted = self.target[order]
            targets = [self.target[other] for other in kept]
            rotated = [
                permuted @ Rotation.align_vectors(target, permuted)[0].as_matrix().T
                for target in targets
            ]
            if all(
                np.sqrt(((positions - target) ** 2).sum(axis=1).mean()) > SAME
                for positions, target in zip(rotated, targets, strict=True)
            ):
                kept.append(order)
        return kept


def _permutations(coordinates: Coordinates) -> list[list[int]]:
    """Return the atom permutations by rotations of methyl groups, the identity first."""
    count = len(coordinates.symbols)
    methyl = [
        centre
        for centre in range(count)
        if coordinates.group(centre) == "CH₃" and len(coordinates.neighbours[centre]) == 4
    ]
    groups = [coordinates.terminals(centre) for centre in methyl]
    while 3 ** len(groups) > MOST:
        groups.pop()
    permutations = []
    for turns in product(range(3), repeat=len(groups)):
        order = list(range(count))
        for hydrogens, turn in zip(groups, turns, strict=True):
            for position, atom in enumerate(hydrogens):
                order[atom] = hydrogens[(position + turn) % 3]
        permutations.append(order)
    return permutations
