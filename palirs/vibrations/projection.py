"""What each normal mode of a molecule does while it moves."""

from itertools import product

import numpy as np

from palirs.units import EV_PER_AMU_A2_FS2
from palirs.vibrations.analysis import Harmonic
from palirs.vibrations.coordinates import Coordinates

MOST = 27
"""Ways of numbering the hydrogen atoms of methyl groups that are tried for each frame: those of three groups, others keep theirs."""


class Projection:
    """Normal modes that follow a molecule: turned with it (Eckart 1935, doi:10.1103/PhysRev.47.552), and with its methyl groups.

    The molecule is turned so that the mass-weighted squares of the displacements from its optimum are smallest, which fulfils the
    Eckart conditions (Kudin and Dymarsky 2005, doi:10.1063/1.1929739). The hydrogen atoms of a methyl group that has turned by a third are
    numbered anew, so that each is compared with the place where it is.

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
        self.orders = _orders(Coordinates(known.atoms))

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
        # the covariance with the optimum, [orders, frames, 3, 3], and how much of it a rotation can align
        covariance = np.array([np.einsum("fai,aj,a->fij", places[:, order], self.target, self.masses) for order in self.orders])
        left, sizes, right = np.linalg.svd(covariance)
        handed = np.sign(np.linalg.det(left @ right))
        best = (sizes.sum(axis=-1) - (1 - handed) * sizes[..., 2]).argmax(axis=0)
        frames = np.arange(len(positions))
        left, right, handed = left[best, frames], right[best, frames], handed[best, frames]
        left[:, :, 2] *= handed[:, None]
        moved = velocities[frames[:, None], np.array(self.orders)[best]] @ (left @ right)
        return moved.reshape(len(positions), -1) @ self.modes.T


def _orders(coordinates: Coordinates) -> list[list[int]]:
    """Return the numberings of the atoms that differ by turns of methyl groups, that of the optimum first."""
    count = len(coordinates.symbols)
    methyl = [centre for centre in range(count) if coordinates.group(centre) == "CH₃" and len(coordinates.neighbours[centre]) == 4]
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
