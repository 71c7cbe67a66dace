"""Quartic force field of a molecule: derivatives of the energy along its normal modes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.geometry.electrons import Electrons
from palirs.molecules import keep_masses
from palirs.recipes import PalirsError
from palirs.units import CM1_PER_EV, ROTATIONAL
from palirs.vibrations.analysis import Harmonic, count_modes

DEGENERATE = 1.0
"""Modes that are closer than this [cm⁻¹] are degenerate: symmetry is kept to a tenth of it."""
SLOW = 10.0
"""Modes below this [cm⁻¹] have no force field: they are free rotors, or the geometry is no
minimum."""


@dataclass(frozen=True)
class ForceField:
    """Harmonic, cubic and quartic constants in dimensionless normal coordinates q.

    V = ½ Σ ω_i q_i² + ⅙ Σ φ_ijk q_i q_j q_k + 1/24 Σ φ_ijkl q_i q_j q_k q_l [cm⁻¹].

    Attributes
    ----------
    atoms : Atoms
        The minimum; its masses [amu] are those of the field.
    wavenumbers : numpy.ndarray
        ω, shape ``[M]`` [cm⁻¹], positive.
    modes : numpy.ndarray
        Shape ``[M, N, 3]`` [amu^-1/2], as in :class:`~palirs.vibrations.Harmonic`.
    cubic : numpy.ndarray
        φ_ijk, shape ``[M, M, M]`` [cm⁻¹], symmetric in all.
    quartic : numpy.ndarray
        φ_ijkl, shape ``[M, M, M, M]`` [cm⁻¹], symmetric in all. Those of four different modes are
        zero where they were not calculated: they couple combination levels only.
    """

    atoms: Atoms
    wavenumbers: np.ndarray
    modes: np.ndarray
    cubic: np.ndarray
    quartic: np.ndarray

    def only(self, modes: Sequence[int]) -> "ForceField":
        """Return the field of some of the modes."""
        three, four = np.ix_(*[modes] * 3), np.ix_(*[modes] * 4)
        return ForceField(
            self.atoms,
            self.wavenumbers[modes],
            self.modes[modes],
            self.cubic[three],
            self.quartic[four],
        )

    @property
    def linear(self) -> bool:
        """Whether the molecule is linear."""
        return count_modes(self.atoms) == 3 * len(self.atoms) - 5

    @cached_property
    def principal_axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Moments of inertia, ``[axes]`` [amu Å²], ascending, and their axes in rows.

        The axis of a linear molecule, about which nothing turns, is left out.
        """
        moments, axes = self.atoms.get_moments_of_inertia(vectors=True)
        first = int(self.linear)
        return moments[first:], axes[first:]

    @property
    def rotational_constants(self) -> np.ndarray:
        """Equilibrium rotational constants about the principal axes, ``[axes]`` [cm⁻¹]."""
        return ROTATIONAL / self.principal_axes[0]

    @cached_property
    def coriolis(self) -> np.ndarray:
        """Coriolis constants ζ about the principal axes, ``[axes, M, M]``, antisymmetric.

        ζ_ij = Σ m (d_i × d_j), Meal and Polo 1956, doi:10.1063/1.1742728.
        """
        masses = self.atoms.get_masses()[:, None]
        pairs = np.cross(self.modes[:, None], self.modes[None]) * masses
        return np.einsum("ijnx,ax->aij", pairs, self.principal_axes[1])

    @cached_property
    def inertia_derivatives(self) -> np.ndarray:
        """Derivatives of the inertia tensor by q, ``[M, axes, axes]`` [amu Å²]."""
        _, axes = self.principal_axes
        places = self.atoms.positions - self.atoms.get_center_of_mass()
        x, d = places @ axes.T, self.modes @ axes.T
        masses = self.atoms.get_masses()
        trace = 2 * np.einsum("n,nx,inx->i", masses, places, self.modes)
        mixed = np.einsum("n,na,inb->iab", masses, x, d)
        derivatives = trace[:, None, None] * np.eye(len(axes)) - mixed - mixed.swapaxes(1, 2)
        return derivatives * unit_displacements(self.wavenumbers)[:, None, None]

    def save(self, path: Path) -> None:
        """Write the field to a NumPy archive, for :meth:`load`."""
        np.savez_compressed(
            path,
            numbers=self.atoms.numbers,
            positions=self.atoms.positions,
            masses=self.atoms.get_masses(),
            molecule=str(self.atoms.info.get(keys.MOLECULE, "")),
            electrons=[Electrons.of(self.atoms).charge, Electrons.of(self.atoms).multiplicity],
            wavenumbers=self.wavenumbers,
            modes=self.modes,
            cubic=self.cubic,
            quartic=self.quartic,
        )

    @classmethod
    def load(cls, path: Path) -> "ForceField":
        """Read a field that :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as data:
            atoms = Atoms(data["numbers"], positions=data["positions"], masses=data["masses"])
            atoms.info[keys.MOLECULE] = str(data["molecule"])
            if "electrons" in data:
                atoms.info |= Electrons(*map(int, data["electrons"])).info
            names = ("wavenumbers", "modes", "cubic", "quartic")
            return cls(atoms, *(data[name] for name in names))


@dataclass(frozen=True)
class Displacements:
    """Geometries whose gradients give the force field: one or two modes displaced at once.

    With Richardson's extrapolation from one and two steps they are 4M² + 2M + 1, else 2M² + 2M + 1,
    and two for each three modes displaced at once.

    Parameters
    ----------
    vibrations : Harmonic
        At a minimum.
    step : float
        In dimensionless normal coordinates. 0.15 with extrapolation is converged within 0.1 cm⁻¹
        but for torsions; without it, 0.1 should be taken.
    extrapolate : bool
        Whether the error of second order in the step is removed.
    complete : bool
        Whether constants of four different modes are calculated for all of them, or only for those
        that degenerate modes need to stay degenerate.
    """

    vibrations: Harmonic
    step: float = 0.15
    extrapolate: bool = True
    complete: bool = True

    def __post_init__(self):
        slowest = self.vibrations.frequencies.min()
        if slowest < SLOW:
            name = self.vibrations.atoms.info.get(keys.MOLECULE)
            kind = f"{abs(slowest):.0f}{'i' if slowest < 0 else ''} cm⁻¹"
            raise PalirsError(
                f"molecule {name!r}: its lowest mode has {kind}; perturbation theory needs a "
                f"minimum whose modes are all above {SLOW:g} cm⁻¹ (a free rotor has none)"
            )

    @property
    def steps(self) -> tuple[int, ...]:
        """Multiples of the step at which two modes are displaced."""
        return (1, 2) if self.extrapolate else (1,)

    @cached_property
    def _points(self) -> dict[tuple[tuple[int, int], ...], int]:
        """Place in :meth:`frames` of each set of displaced modes with their multiples."""
        modes = range(len(self.vibrations.frequencies))
        points: list[tuple[tuple[int, int], ...]] = [()]
        lengths = sorted({m for multiple in self.steps for m in (multiple, 2 * multiple)})
        points += [((i, sign * m),) for i in modes for m in lengths for sign in (1, -1)]
        points += [
            ((i, s * m), (j, t * m))
            for m in self.steps
            for i in modes
            for j in range(i)
            for s in (1, -1)
            for t in (1, -1)
        ]
        points += [tuple((mode, s) for mode in three) for three in self._triples for s in (1, -1)]
        return {point: place for place, point in enumerate(points)}

    @cached_property
    def _triples(self) -> list[tuple[int, ...]]:
        """The sets of three modes that are displaced at once, in descending order."""
        sets = degenerate_sets(self.vibrations.frequencies)
        size = np.bincount(sets)[sets]

        def needed(*modes: int) -> bool:
            """Whether two are of one degenerate set and the third has a partner besides."""
            return any(
                sets[i] == sets[j] and size[k] > 1 + int(sets[k] == sets[i]) * 2
                for i, j, k in permutations(modes)
            )

        triples = combinations(range(len(sets) - 1, -1, -1), 3)
        return [three for three in triples if self.complete or needed(*three)]

    def frames(self) -> list[Atoms]:
        """Return the displaced geometries."""
        atoms = self.vibrations.atoms
        unit = unit_displacements(self.vibrations.frequencies)[:, None, None]
        directions = self.step * unit * self.vibrations.modes
        info = {**atoms.info, keys.ORIGIN: "anharmonic"}
        frames = []
        for point in self._points:
            moved = Atoms(atoms.numbers, positions=atoms.positions, info=dict(info))
            keep_masses(atoms, moved)
            moved.positions += sum(multiple * directions[i] for i, multiple in point)
            frames.append(moved)
        return frames

    def fields(self, forces: np.ndarray) -> tuple[ForceField, ForceField]:
        """Return the force field, and the one without extrapolation (the same if there is none).

        Parameters
        ----------
        forces : numpy.ndarray
            Of :meth:`frames`, shape ``[frames, N, 3]`` [eV/Å].
        """
        v = self.vibrations
        unit = unit_displacements(v.frequencies)
        gradients = -CM1_PER_EV * unit * np.einsum("fnx,inx->fi", forces, v.modes)
        raw = [self._constants(gradients, multiple) for multiple in self.steps]
        if self.extrapolate:
            raw[1] = [(4 * fine - coarse) / 3 for fine, coarse in zip(*raw, strict=True)]
        different = self._of_four(gradients)
        fields = [
            ForceField(v.atoms, v.frequencies, v.modes, cubic, _with_equal_modes(three) + different)
            for cubic, three in raw
        ]
        return fields[-1], fields[0]

    def _of_four(self, gradients: np.ndarray) -> np.ndarray:
        """Return φ_ijkl of different modes, from the gradients with three of them displaced.

        The part f of a gradient that is odd in the displacement is polarised: f(i + j + k) −
        f(i + j) − f(j + k) − f(k + i) + f(i) + f(j) + f(k) = h³ φ_ijkl.
        """
        count, at = gradients.shape[1], self._points

        def odd(*modes: int) -> np.ndarray:
            forward, back = (at[tuple((mode, sign) for mode in modes)] for sign in (1, -1))
            return (gradients[forward] - gradients[back]) / 2

        shape = (count, count, count, count)
        sums, times = np.zeros(shape), np.zeros(shape)
        for i, j, k in self._triples:
            value = odd(i, j, k) - odd(i, j) - odd(i, k) - odd(j, k) + odd(i) + odd(j) + odd(k)
            others = np.setdiff1d(np.arange(count), (i, j, k))
            for order in permutations((i, j, k)):
                sums[(*order, others)] = value[others] / self.step**3
                times[(*order, others)] = 1
        return _over_places(sums) / np.maximum(_over_places(times), 1)

    def _constants(self, gradients: np.ndarray, multiple: int) -> list[np.ndarray]:
        """Return φ_ijk and φ_iijk by central differences with a multiple of the step."""
        count, h = gradients.shape[1], multiple * self.step
        at = self._points
        origin = gradients[0]

        def one(length: int) -> np.ndarray:
            return gradients[[at[((i, length * multiple),)] for i in range(count)]]

        plus, minus, far_plus, far_minus = one(1), one(-1), one(2), one(-2)
        both = np.zeros((2, 2, count, count, count))
        for i in range(count):
            for j in range(i):
                for s, t in ((0, 0), (0, 1), (1, 0), (1, 1)):
                    point = ((i, (1 - 2 * s) * multiple), (j, (1 - 2 * t) * multiple))
                    both[s, t, i, j] = both[t, s, j, i] = gradients[at[point]]
        second = (both[0, 0] - both[0, 1] - both[1, 0] + both[1, 1]) / (4 * h**2)
        upper = both[0, 0] + both[1, 0] - 2 * plus[None]
        third = (upper - (both[0, 1] + both[1, 1] - 2 * minus[None])) / (2 * h**3)
        own = np.arange(count)
        second[own, own] = (plus + minus - 2 * origin) / h**2
        third[own, own] = (far_plus - 2 * plus + 2 * minus - far_minus) / (2 * h**3)
        orders = ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (1, 0, 2), (2, 1, 0))
        cubic = sum((second.transpose(order) for order in orders), start=np.zeros(())) / 6
        quartic = (third + third.swapaxes(1, 2)) / 2
        pairs = np.einsum("ijj->ij", quartic)
        quartic[:, own, own] = (pairs + pairs.T) / 2
        return [cubic, quartic]


def _over_places(constants: np.ndarray) -> np.ndarray:
    """Return the sum over the place of the last index; the first three are symmetric."""
    places = range(4)
    return np.sum([np.moveaxis(constants, 3, place) for place in places], axis=0)


def _with_equal_modes(three: np.ndarray) -> np.ndarray:
    """Return φ_ijkl with two equal modes from φ_iijk, zero for four different ones."""
    i, j, k = np.ogrid[: len(three), : len(three), : len(three)]
    quartic = np.zeros([len(three)] * 4)
    for place in ((i, i, j, k), (i, j, i, k), (i, j, k, i), (j, i, i, k), (j, i, k, i)):
        quartic[place] = three
    quartic[j, k, i, i] = three
    return quartic


def degenerate_sets(wavenumbers: np.ndarray) -> np.ndarray:
    """Return the number of the degenerate set that each mode belongs to, ``[M]``."""
    order = np.argsort(wavenumbers)
    sets = np.concatenate([[0], np.cumsum(np.diff(wavenumbers[order]) > DEGENERATE)])
    return sets[np.argsort(order)]


def unit_displacements(wavenumbers: np.ndarray) -> np.ndarray:
    """Return the mass-weighted displacement Q of q = 1, sqrt(ħ/ω) [amu^1/2 Å]."""
    return np.sqrt(2 * ROTATIONAL / wavenumbers)
