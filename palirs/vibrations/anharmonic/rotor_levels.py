"""Levels of an internal rotation: the hindered rotor in one dimension.

H = p B(θ) p + V(θ) with p = −i d/dθ, in the basis exp(imθ). Left out are the pseudo-potential of
the kinetic energy (Watson's term and derivatives of B) and all coupling to the other modes but that
by relaxation and by their zero-point energy, which is a part of V.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from palirs.vibrations.anharmonic.rotation import Path, fourier, interpolated

ALIKE = 5.0
"""Wells are alike if they differ by less than this in depth [cm⁻¹]."""
FINE = 1440
"""Angles at which wells are looked for; a multiple of all symmetries."""
FREE = 0.5
"""Share of its energy over which the levels of one quantum spread in a rather free rotor."""
SPLIT, DISAGREE = 5.0, 5.0
"""Tunnelling splitting, and standard deviation of the members, that are told [cm⁻¹]."""
FEW = 5
"""Levels of a free rotor that are told."""
SPECIES = {1: ("",), 2: ("A", "B"), 3: ("A", "E"), 4: ("A", "E", "B"), 6: ("A", "E₁", "E₂", "B")}
"""Names of σ = 0, 1, …, fold/2 in the group of the rotations by one fold."""
ABOVE = 2000.0
"""Energies up to this above the highest barrier [cm⁻¹] are converged."""


@dataclass(frozen=True)
class RotorLevel:
    """A level of an internal rotation.

    Attributes
    ----------
    quanta : int
        Of the vibration in a well like that of the minimum; −1 for a level of other wells.
    species : int
        σ from 0 to fold/2: a state is multiplied by exp(±2πiσ/fold) when it turns by one fold.
    energy : float
        Above the potential at θ = 0 [cm⁻¹].
    count : int
        States: 2 for ±σ, else 1.
    """

    quanta: int
    species: int
    energy: float
    count: int


@dataclass(frozen=True)
class Wells:
    """The wells of a potential that are like that of the minimum.

    Attributes
    ----------
    count : int
        Their number.
    inside : numpy.ndarray
        Whether an angle is in them, ``[FINE]``.
    barriers : tuple of float
        The different heights around them, ascending [cm⁻¹].
    """

    count: int
    inside: np.ndarray
    barriers: tuple[float, ...]


@dataclass(frozen=True)
class HinderedRotor:
    """A rotor with its symmetry.

    Parameters
    ----------
    potential, constants : numpy.ndarray
        V and B at K equal steps of a full turn, ``[K]`` [cm⁻¹]; a minimum is the first.
    fold : int
        How often a full turn repeats itself.
    like : HinderedRotor, optional
        The rotor whose wells it has.
    """

    potential: np.ndarray
    constants: np.ndarray
    fold: int
    like: "HinderedRotor | None" = None

    @cached_property
    def _fine(self) -> np.ndarray:
        """V at :data:`FINE` angles, above that of the minimum at θ = 0 [cm⁻¹]."""
        values = interpolated(self.potential, FINE)
        return values - values[0]

    @cached_property
    def wells(self) -> Wells:
        """The wells like that at θ = 0; all of the turn is one if there is no barrier."""
        if self.like is not None:
            return self.like.wells
        tops = np.flatnonzero(_maxima(self._fine))
        if not len(tops):
            return Wells(1, np.ones(FINE, dtype=bool), ())
        order = np.roll(np.arange(FINE), -tops[0])
        wells = np.split(order, tops[1:] - tops[0])
        depth = next(self._fine[well].min() for well in wells if 0 in well)
        like = [well for well in wells if abs(self._fine[well].min() - depth) < ALIKE]
        barriers: list[float] = []
        for height in sorted(float(self._fine[end]) for well in like for end in well[[0, -1]]):
            if not barriers or height - barriers[-1] > ALIKE:
                barriers.append(height)
        inside = np.isin(np.arange(FINE), np.concatenate(like))
        return Wells(len(like), inside, tuple(barriers))

    @cached_property
    def levels(self) -> list[RotorLevel]:
        """The levels, ascending, up to :data:`ABOVE` the highest barrier."""
        most = np.ptp(self._fine) + ABOVE
        momentum = int(2 * np.sqrt(most / self.constants.min())) + 20
        m = np.arange(-momentum, momentum + 1)
        v, b = (_matrix(fourier(each), m) for each in (self.potential, self.constants))
        hamiltonian = m[:, None] * b * m[None] + v
        states = []
        for species in range(self.fold // 2 + 1):
            chosen = np.flatnonzero((m - species) % self.fold == 0)
            energies, vectors = np.linalg.eigh(hamiltonian[np.ix_(chosen, chosen)])
            twice = 2 if 0 < 2 * species < self.fold else 1
            for energy, vector in zip(energies - self.potential[0], vectors.T, strict=True):
                if energy - self._fine.min() < most:
                    states.append((float(energy), species, twice, self._inside(m[chosen], vector)))
        levels, found = [], 0
        for energy, species, twice, inside in sorted(states):
            own = inside > 0.5
            quanta = found // self.wells.count if own else -1
            levels.append(RotorLevel(quanta, species, energy, twice))
            found += twice if own else 0
        return levels

    def _inside(self, m: np.ndarray, vector: np.ndarray) -> float:
        """Return the probability of a state to be in the wells like that of the minimum."""
        waves = np.zeros(FINE, dtype=complex)
        waves[m] = vector  # m is from −FINE/2 to FINE/2
        return float((np.abs(np.fft.ifft(waves)) ** 2)[self.wells.inside].sum() * FINE)

    def band(self, quanta: int) -> list[RotorLevel]:
        """Return the levels of so many quanta: a state for each of the wells."""
        return [level for level in self.levels if level.quanta == quanta]

    def mean(self, quanta: int) -> float:
        """Return the mean of a band over its states, as if nothing tunnelled [cm⁻¹]."""
        energies = [level.energy for level in self.band(quanta) for _ in range(level.count)]
        return float(np.mean(energies)) if energies else np.nan

    @property
    def width(self) -> float:
        """Difference of the levels of one quantum by tunnelling [cm⁻¹]."""
        band = self.band(1)
        return band[-1].energy - band[0].energy

    @property
    def free(self) -> bool:
        """Whether it is rather a free rotor, whose levels are no vibration of a well.

        The ground level is above a barrier, or the band of one quantum is wider than :data:`FREE`
        of its energy.
        """
        if not self.wells.barriers or not self.band(1) or self.mean(0) > self.wells.barriers[0]:
            return True
        return self.width > FREE * (self.mean(1) - self.mean(0))


@dataclass(frozen=True)
class InternalRotation:
    """Levels of a mode that is an internal rotation.

    Attributes
    ----------
    rotor : HinderedRotor
        Of an engine or the mean of a committee.
    members : list of HinderedRotor
        Of its members.
    """

    rotor: HinderedRotor
    members: list[HinderedRotor]

    @classmethod
    def of(cls, path: Path) -> "InternalRotation":
        """Solve a path; members have the wells of their mean."""
        potentials = path.potentials + path.zero_points
        rotor, *members = (HinderedRotor(each, path.constants, path.fold) for each in potentials)
        return cls(rotor, [replace(member, like=rotor) for member in members])

    @property
    def fundamental(self) -> float:
        """Mean of the levels of one quantum above that of none [cm⁻¹]; NaN for a free rotor."""
        return np.nan if self.rotor.free else self.rotor.mean(1) - self.rotor.mean(0)

    @property
    def spread(self) -> float:
        """Standard deviation of the members' fundamentals [cm⁻¹].

        NaN with fewer than two, and for a free rotor.
        """
        if self.rotor.free:
            return np.nan
        return _spread([member.mean(1) - member.mean(0) for member in self.members])

    @property
    def told(self) -> list[tuple[RotorLevel, float, float]]:
        """Levels, their energies above the first and the spread of these [cm⁻¹].

        They are those of none and one quantum, or the first :data:`FEW` of a free rotor.
        """
        rotor = self.rotor
        levels = rotor.levels[:FEW] if rotor.free else [*rotor.band(0), *rotor.band(1)]
        rows = []
        for level in levels:
            above = [self._of(each, level) - self._of(each, levels[0]) for each in self.members]
            rows.append((level, level.energy - levels[0].energy, _spread(above)))
        return rows

    def _of(self, member: HinderedRotor, level: RotorLevel) -> float:
        """Return the energy of a level by a member [cm⁻¹]; NaN if it has none in its place."""
        any_quanta = self.rotor.free
        own, others = (
            [
                each
                for each in rotor.levels
                if each.species == level.species and (any_quanta or each.quanta == level.quanta)
            ]
            for rotor in (self.rotor, member)
        )
        place = own.index(level)
        return others[place].energy if place < len(others) else np.nan

    @property
    def levels(self) -> str:
        """The levels that are told, in words [cm⁻¹]: ``v = 0: A 0.0, E 9.1; v = 1: E 209.0, …``."""
        names, parts = SPECIES[self.rotor.fold], dict[int, list[str]]()
        for level, energy, spread in self.told:
            error = f" ± {spread:.1f}" if spread > 0 else ""
            text = f"{names[level.species]} {energy:.1f}{error}".strip()
            parts.setdefault(0 if self.rotor.free else level.quanta, []).append(text)
        if self.rotor.free:
            return ", ".join(parts[0])
        return "; ".join(f"v = {quanta}: {', '.join(texts)}" for quanta, texts in parts.items())

    @property
    def reason(self) -> str:
        """What the level is, and what limits its use, in words."""
        rotor, heights = self.rotor, [f"{height:.0f}" for height in self.rotor.wells.barriers]
        fold = f"{rotor.fold}-fold " if rotor.fold > 1 else ""
        many = "s" if len(heights) > 1 else ""
        barrier = f"{fold}barrier{many} {' and '.join(heights)} cm⁻¹" if heights else "no barrier"
        own = [f"internal rotation: solved in one dimension, {barrier}"]
        if rotor.free:
            own.append("rather free, without a level of its own")
        elif rotor.width > SPLIT:
            own.append(f"split by {rotor.width:.0f} cm⁻¹")
        if self.spread > DISAGREE:
            own.append(f"members differ by {self.spread:.0f} cm⁻¹")
        return "; ".join(own)


def _spread(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else np.nan


def _maxima(values: np.ndarray) -> np.ndarray:
    return (values > np.roll(values, 1)) & (values >= np.roll(values, -1))


def _matrix(coefficients: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Return the elements ⟨m|f|m'⟩ of a function by its Fourier coefficients."""
    half, changes = len(coefficients) // 2, m[:, None] - m[None]
    inside = np.abs(changes) <= half
    return np.where(inside, coefficients[np.clip(changes, -half, half) + half], 0.0)
