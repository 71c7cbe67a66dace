"""What each normal mode of a molecule does while it moves."""

from itertools import product

import numpy as np
from scipy.spatial.transform import Rotation

from palirs.units import EV_PER_AMU_A2_FS2
from palirs.vibrations.analysis import Harmonic
from palirs.vibrations.coordinates import Coordinates

SAME = 0.05
"""Root mean square distance [Å] below which an optimum with its atoms numbered anew is the same
optimum, turned."""
MOST = 27
"""Ways of numbering the hydrogen atoms of methyl groups that are tried for each frame: those of
three groups, others keep theirs."""


class Projection:
    """Normal modes that follow a molecule: turned with it (Eckart 1935, doi:10.1103/PhysRev.47.552), and with its methyl groups.

    The molecule is turned so that the mass-weighted squares of the displacements from its optimum
    are smallest, which fulfils the Eckart conditions (Kudin and Dymarsky 2005,
    doi:10.1063/1.1929739). The hydrogen atoms of a methyl group that has turned by a third are
    numbered anew, so that each is compared with the place where it is; not where that is a rotation
    of the whole molecule (acetonitrile), which the frame follows anyway. A linear molecule is
    turned by the shortest way that brings its axis back.

    Parameters
    ----------
    known : Harmonic
        Optimum and modes.
    """

    def __init__(self, known: Harmonic):
        self.masses = known.atoms.get_masses()
        self.target = known.atoms.positions - known.atoms.get_center_of_mass()
        weighted = known.modes * self.masses[None, :, None] * np.sqrt(EV_PER_AMU_A2_FS2)
        self.modes = weighted.reshape(len(known.modes), -1)
        self.linear = len(known.modes) == 3 * len(self.masses) - 5
        self.orders = self._distinct(_orders(Coordinates(known.atoms)))

    def __len__(self) -> int:
        return len(self.modes)

    def rates(self, positions: np.ndarray, velocities: np.ndarray) -> np.ndarray:
        """Return the rates of the normal coordinates, ``[frames, modes]`` [eV^1/2]: half the square is the kinetic energy of a mode.

        Parameters
        ----------
        positions, velocities : numpy.ndarray
            Shape ``[frames, N, 3]`` [Å], [Å/fs].
        """
        centre = np.einsum("fad,a->fd", positions, self.masses) / self.masses.sum()
        places = positions - centre[:, None]
        if self.linear:
            return (velocities @ self._along_the_axis(places)).reshape(
                len(positions), -1
            ) @ self.modes.T
        found = [self._turned(places[:, order]) for order in self.orders]
        best = np.array([aligned for _, aligned in found]).argmax(axis=0)
        frames = np.arange(len(positions))
        rotations = np.array([rotation for rotation, _ in found])[best, frames]
        moved = velocities[frames[:, None], np.array(self.orders)[best]] @ rotations
        return moved.reshape(len(positions), -1) @ self.modes.T

    def _turned(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rotations ``[frames, 3, 3]`` onto the optimum, for row vectors, and how much of the covariance they align."""
        left, sizes, right = np.linalg.svd(
            np.einsum("fai,aj,a->fij", places, self.target, self.masses)
        )
        handed = np.sign(np.linalg.det(left @ right))
        left[:, :, 2] *= handed[:, None]
        return left @ right, sizes[:, :2].sum(axis=1) + handed * sizes[:, 2]

    def _along_the_axis(self, places: np.ndarray) -> np.ndarray:
        """Return the shortest rotations of the molecule's axis onto that of the optimum, for row vectors."""
        axis = self.target[np.linalg.norm(self.target, axis=1).argmax()]
        axis = axis / np.linalg.norm(axis)
        mine = np.einsum("fai,a,a->fi", places, self.target @ axis, self.masses)
        mine /= np.linalg.norm(mine, axis=1, keepdims=True)
        normal = np.cross(mine, axis)
        sine, cosine = np.linalg.norm(normal, axis=1), mine @ axis
        turns = normal * (np.arctan2(sine, cosine) / np.maximum(sine, 1e-12))[:, None]
        return np.swapaxes(Rotation.from_rotvec(turns).as_matrix(), 1, 2)

    def _distinct(self, orders: list[list[int]]) -> list[list[int]]:
        """Return the orders that are not others after a rotation of the whole molecule; of such the first."""
        kept: list[list[int]] = []
        for order in orders:
            rotated = [
                self.target[order]
                @ Rotation.align_vectors(self.target[one], self.target[order])[0].as_matrix().T
                for one in kept
            ]
            if all(
                np.sqrt(((mine - self.target[one]) ** 2).sum(axis=1).mean()) > SAME
                for mine, one in zip(rotated, kept, strict=True)
            ):
                kept.append(order)
        return kept


def _orders(coordinates: Coordinates) -> list[list[int]]:
    """Return the numberings of the atoms that differ by turns of methyl groups, that of the optimum first."""
    count = len(coordinates.symbols)
    methyl = [
        centre
        for centre in range(count)
        if coordinates.group(centre) == "CH₃" and len(coordinates.neighbours[centre]) == 4
    ]
    groups = [coordinates.terminals(centre) for centre in methyl]
    while 3 ** len(groups) > MOST:
        groups.pop()
    found = []
    for turns in product(range(3), repeat=len(groups)):
        order = list(range(count))
        for ends, by in zip(groups, turns, strict=True):
            for place, atom in enumerate(ends):
                order[atom] = ends[(place + by) % 3]
        found.append(order)
    return found
