"""Anharmonic levels of a molecule by an engine or a committee, and what limits their use."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from palirs import keys
from palirs.molecules import on_grid
from palirs.recipes import PalirsError
from palirs.vibrations.analysis import Harmonic, Source, harmonic, optimise
from palirs.vibrations.anharmonic.force_field import SLOW, Displacements, ForceField
from palirs.vibrations.anharmonic.levels import Level, Levels, Resonances, solve
from palirs.vibrations.matching import ELSEWHERE, displacement, in_order_of

FMAX = 1e-5
"""Largest force at the optimum of a model [eV/Å]; at 1e-3 soft modes are off by several cm⁻¹."""
LARGE_SHIFT = 0.08
"""Share of the harmonic energy above which a shift is too large for perturbation theory."""
ROTOR = 0.5
"""Likewise; a mode that shifts more is a rotor or has a double well."""
STEPS = 2.0
"""Change by the extrapolation of the steps [cm⁻¹] above which a level is not converged in them."""
SOFT = 150.0
"""Modes below this [cm⁻¹] move too far for a force field of fourth order."""
MIXED = 0.6
"""Share of a level in its state below which its name means little."""
MANY = 24
"""Modes above which there are levels of one quantum only: those of two would take minutes."""
FEW = 15
"""Modes up to which constants of four different modes are calculated; there are about M⁴/24."""
DISAGREE = 5.0
"""Standard deviation of the members [cm⁻¹] above which they are said to disagree."""


@dataclass(frozen=True)
class Anharmonic:
    """Levels of a molecule, how sure they are, and why not.

    Attributes
    ----------
    vibrations : Harmonic
        At the minimum; all modes.
    modes : numpy.ndarray
        Numbers of its modes that are in the force field.
    force_field, unextrapolated_field : ForceField
        Their constants, without and with the error of the finite step.
    levels, unextrapolated : Levels
        Of the two.
    member_fields : sequence of ForceField
        Of each member of a committee, in the order of the mean's modes; empty for an engine.
    members : sequence of Levels
        Of them.
    resonances : Resonances
        Thresholds that the levels were solved with.
    lacking : str
        What limits all levels, in words.
    """

    vibrations: Harmonic
    modes: np.ndarray
    force_field: ForceField
    unextrapolated_field: ForceField
    levels: Levels
    unextrapolated: Levels
    member_fields: Sequence[ForceField]
    members: Sequence[Levels]
    resonances: Resonances
    lacking: str = ""

    @classmethod
    def of(
        cls,
        vibrations: Harmonic,
        modes: np.ndarray,
        force_field: ForceField,
        unextrapolated: ForceField,
        members: Sequence[ForceField],
        resonances: Resonances | None = None,
        quanta: int | None = None,
    ) -> "Anharmonic":
        """Solve force fields for their levels.

        All have the Fermi resonances that any of them has, so that none meets a pole, and their
        states are named like those of the first. Levels are of up to so many quanta, by default 2
        for up to :data:`MANY` modes, else 1.
        """
        resonances = resonances or Resonances()
        quanta = quanta or (2 if len(modes) <= MANY else 1)
        fields = [force_field, unextrapolated, *members]
        fermi = tuple(sorted({three for field in fields for three in resonances.fermi(field)}))
        levels = solve(force_field, resonances, fermi, quanta)
        others = [solve(each, resonances, fermi, quanta, levels) for each in fields[1:]]
        return cls(
            vibrations,
            modes,
            force_field,
            unextrapolated,
            levels,
            others[0],
            members,
            others[1:],
            resonances,
        )

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation of the members, ``[levels]`` [cm⁻¹]; NaN with fewer than two.

        It is not divided by the root of their number: the mean of the potentials is about as wrong
        as their levels differ.
        """
        return self._spread([member.energies for member in self.members], self.levels.energies)

    @property
    def mean_spread(self) -> float:
        """Mean of :attr:`spread` over the fundamentals that have a level [cm⁻¹]."""
        count = len(self.modes)
        spreads = self.spread[:count][np.isfinite(self.energies()[:count])]
        return float(spreads.mean()) if len(spreads) else np.nan

    @property
    def zero_point_spread(self) -> float:
        """Likewise of the zero-point energy [cm⁻¹]."""
        values = [np.array([member.zero_point]) for member in self.members]
        return float(self._spread(values, np.zeros(1))[0])

    @property
    def rotational_spread(self) -> np.ndarray:
        """Likewise of the averaged rotational constants, ``[axes]`` [cm⁻¹]."""
        values = [member.rotational_constants for member in self.members]
        return self._spread(values, self.levels.rotational_constants)

    @staticmethod
    def _spread(values: Sequence[np.ndarray], like: np.ndarray) -> np.ndarray:
        return np.std(values, axis=0, ddof=1) if len(values) > 1 else np.full(like.shape, np.nan)

    def rotors(self) -> set[int]:
        """Return the places in the force field of modes that are no perturbation of a harmonic one.

        They are rotors or have a double well; their couplings move other levels, but levels with
        quanta in them mean nothing.
        """
        count, levels = len(self.modes), self.levels
        shifts = np.abs(levels.deperturbed[:count] / levels.harmonic[:count] - 1)
        return set(np.flatnonzero(shifts > ROTOR).tolist())

    @cached_property
    def without_rotors(self) -> np.ndarray:
        """Energies of the fundamentals without couplings to the rotors, ``[modes]`` [cm⁻¹].

        The same as with them if there are none; NaN for the rotors.
        """
        rotors, count = self.rotors(), len(self.modes)
        if not rotors:
            return self.levels.fundamentals
        kept = [mode for mode in range(count) if mode not in rotors]
        energies = np.full(count, np.nan)
        if kept:
            reduced = solve(self.force_field.only(kept), self.resonances, quanta=1)
            energies[kept] = reduced.fundamentals
        return energies

    def energies(self) -> np.ndarray:
        """Return the energies of the levels, ``[levels]`` [cm⁻¹], NaN where there is none."""
        rotors = self.rotors()
        means_nothing = [any(level[mode] for mode in rotors) for level in self.levels.quanta]
        return np.where(means_nothing, np.nan, self.levels.energies)

    def reasons(self) -> list[list[str]]:
        """Return what limits the use of each level, in words, ``[levels]``."""
        levels, rotors = self.levels, self.rotors()
        moved = np.abs(levels.energies - self.unextrapolated.energies)
        by_rotors = np.abs(levels.fundamentals - self.without_rotors)
        found = []
        for place, level in enumerate(levels.quanta):
            excited = np.flatnonzero(level)
            if rotors & set(excited.tolist()):
                found.append(["a rotor or a double well: perturbation theory has no level for it"])
                continue
            own = [self.lacking] if self.lacking else []
            shift = levels.energies[place] / levels.harmonic[place] - 1
            if abs(shift) > LARGE_SHIFT:
                own.append(f"shifted by {abs(shift):.0%}")
            if self.force_field.wavenumbers[excited].min() < SOFT:
                own.append(f"mode below {SOFT:g} cm⁻¹")
            if moved[place] > STEPS:
                own.append(f"steps differ by {moved[place]:.0f} cm⁻¹")
            if place < len(by_rotors) and by_rotors[place] > STEPS:
                own.append(f"moved by {by_rotors[place]:.0f} cm⁻¹ by a rotor")
            if levels.weights[place] < MIXED:
                own.append(f"mixed, {levels.weights[place]:.0%} of its name")
            if self.spread[place] > DISAGREE:
                own.append(f"members differ by {self.spread[place]:.0f} cm⁻¹")
            found.append(own)
        return found


def anharmonic(
    vibrations: Harmonic,
    source: Source,
    members: Sequence[Source] = (),
    *,
    step: float = 0.15,
    extrapolate: bool = True,
    complete: bool | None = None,
    resonances: Resonances | None = None,
    quanta: int | None = None,
) -> Anharmonic:
    """Calculate the anharmonic levels of a molecule.

    Parameters
    ----------
    vibrations : Harmonic
        At a minimum of ``source``; without ``members`` it is taken as it is.
    source : Source
        The engine, or the mean of a committee.
    members : sequence of Source
        Members of a committee. Mean and members are relaxed to :data:`FMAX` first; each has its own
        minimum, modes and force field, and the resonances of the mean.
    step, extrapolate, complete
        See :class:`~palirs.vibrations.anharmonic.force_field.Displacements`; ``complete`` by
        default for up to :data:`FEW` modes.
    resonances : Resonances, optional
        Thresholds.
    quanta : int, optional
        Levels of up to so many quanta, see :meth:`Anharmonic.of`.

    Raises
    ------
    PalirsError
        If the geometry is no minimum, or a member has another minimum or a mode below :data:`SLOW`.
    """
    complete = len(vibrations.modes) <= FEW if complete is None else complete
    settings = {"step": step, "extrapolate": extrapolate, "complete": complete}
    if members:
        vibrations = in_order_of(vibrations, tight(vibrations, source))
    modes = np.flatnonzero(np.abs(vibrations.frequencies) > SLOW)
    if not len(modes):
        raise PalirsError(f"{_name(vibrations)}: it has no mode above {SLOW:g} cm⁻¹")
    field, coarse = _fields(vibrations, modes, source, settings)
    own = []
    for number, member in enumerate(members):
        matched = in_order_of(vibrations, tight(vibrations, member))
        if matched.frequencies[modes].min() <= SLOW:
            raise PalirsError(
                f"{_name(vibrations)}: member {number} of the committee has "
                f"{matched.frequencies[modes].min():.0f} cm⁻¹ where their mean has a vibration; "
                "more labels help"
            )
        own.append(_fields(matched, modes, member, settings)[0])
    return Anharmonic.of(vibrations, modes, field, coarse, own, resonances, quanta)


def tight(vibrations: Harmonic, source: Source, fmax: float = FMAX) -> Harmonic:
    """Relax a molecule below ``fmax`` [eV/Å], from the minimum of another potential.

    Raises
    ------
    PalirsError
        If it ends in another minimum.
    """
    relaxed = on_grid(optimise(vibrations.atoms, source, fmax=fmax))
    if (far := displacement(relaxed, vibrations.atoms)) > ELSEWHERE:
        raise PalirsError(
            f"{_name(vibrations)}: it relaxes to another minimum, {far:.1f} Å away; more labels "
            "help"
        )
    return harmonic(relaxed, source, modes=len(vibrations.modes))


def _name(vibrations: Harmonic) -> str:
    return f"molecule {vibrations.atoms.info.get(keys.MOLECULE)!r}"


def _fields(
    vibrations: Harmonic, modes: np.ndarray, source: Source, settings: dict
) -> tuple[ForceField, ForceField]:
    """Return the force field of some modes, and the one without extrapolation."""
    chosen = replace(
        vibrations,
        frequencies=vibrations.frequencies[modes],
        modes=vibrations.modes[modes],
        intensities=None,
        dipole_derivatives=None,
    )
    displacements = Displacements(chosen, **settings)
    results = source.calculate(displacements.frames())
    return displacements.fields(np.array([result.forces for result in results]))


def level_name(level: Level, modes: np.ndarray) -> str:
    """Return a level in symbols, by numbers of modes from 1: ``ν3``, ``2ν3``, ``ν3 + ν5``."""
    return " + ".join(
        f"{quanta if quanta > 1 else ''}ν{number + 1}"
        for number, quanta in zip(modes, level, strict=True)
        if quanta
    )
