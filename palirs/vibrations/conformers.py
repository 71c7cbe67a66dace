"""Conformers of a molecule, and how many of a thousand molecules are in each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import kB

from palirs import keys
from palirs.geometry.bonds import bonded
from palirs.geometry.embedding import conformers_like, differing
from palirs.geometry.symmetry import symmetry_order
from palirs.molecules import keep_masses, read_frames
from palirs.recipes import PalirsError
from palirs.vibrations.analysis import SADDLE, Harmonic, Source, minimum
from palirs.vibrations.lockstep import together

WINDOW, MOST = 8.0, 50
"""Conformers up to so far above the lowest by the force field [kcal/mol], which may be wrong by
some, are relaxed; and so many."""
SOFT = 100.0
"""Modes below are counted as having this wavenumber [cm⁻¹]: they are hindered rotations, of which
the harmonic oscillator makes too much (Ribeiro et al. 2011, doi:10.1021/jp205508z)."""


@dataclass(frozen=True)
class Conformer:
    """A conformer.

    Attributes
    ----------
    atoms : Atoms
        Its geometry.
    energy : float
        [eV].
    log_weight : float
        Logarithm of what beside the energy makes it likely: see :func:`conformers`.
    """

    atoms: Atoms
    energy: float
    log_weight: float


def conformers(optimum: Atoms, source: Source) -> list[Conformer]:
    """Return the conformers that a source finds, that of the optimum first, then by energy.

    RDKit embeds them, the source relaxes them. The weight beside the energy is that of classical
    mechanics, as MD has it: √det(moments of inertia) / (product of wavenumbers × order of the point
    group). The last counts the mirror images, and the ways to exchange equal atoms, by which a
    conformer is there more than once: gauche butane twice for anti butane's once.

    Parameters
    ----------
    optimum : Atoms
        With ``info['molecule']``.
    source : Source
        What calculates; a committee in float64.

    Raises
    ------
    PalirsError
        If the source has no optimum near the given one, or RDKit cannot tell the bonds.
    """
    name = optimum.info[keys.MOLECULE]
    try:
        embedded = conformers_like(optimum)
    except ValueError as error:
        raise PalirsError(
            f"molecule {name!r}: {error}; leave spectrum.conformers at null for it"
        ) from error
    starts = [atoms for energy, atoms in embedded if energy - embedded[0][0] < WINDOW][:MOST]
    for atoms in starts:
        atoms.info[keys.MOLECULE] = name
        keep_masses(optimum, atoms)
    first, *others = together([partial(_relaxed, atoms) for atoms in (optimum, *starts)], source)
    if first is None:
        raise PalirsError(
            f"molecule {name!r}: the committee finds no optimum near the engine's; it needs more labels"
        )
    whole = [
        one
        for one in others
        if one is not None and (bonded(one.atoms) == bonded(first.atoms)).all()
    ]
    energies = [found.energy for found in source.calculate([one.atoms for one in (first, *whole)])]
    ordered = [
        Conformer(one.atoms, energy, _log_weight(one))
        for one, energy in zip((first, *whole), energies, strict=True)
    ]
    return differing(
        [ordered[0], *sorted(ordered[1:], key=lambda one: one.energy)], lambda one: one.atoms
    )


def read_conformers(file: Path) -> list[Conformer]:
    """Return the conformers of a file of a study, with the engine's energies."""
    return [
        Conformer(
            atoms, float(atoms.info.pop("engine_energy_eV")), float(atoms.info.pop("log_weight"))
        )
        for atoms in read_frames(file)
    ]


def populations(found: Sequence[Conformer], temperature: float) -> np.ndarray:
    """Return the share of molecules in each conformer at a temperature [K]."""
    energies = np.array([one.energy for one in found])
    exponents = np.array([one.log_weight for one in found]) - (energies - energies.min()) / (
        kB * temperature
    )
    weights = np.exp(exponents - exponents.max())
    return weights / weights.sum()


def _relaxed(atoms: Atoms, source: Source) -> Harmonic | None:
    try:
        found = minimum(atoms, source)
    except PalirsError:
        return None
    return found if found.frequencies[0] > -SADDLE else None


def _log_weight(known: Harmonic) -> float:
    moments = known.atoms.get_moments_of_inertia()
    turning = 0.5 * np.log(moments[moments > 1e-3 * moments.max()]).sum()
    return float(
        turning
        - np.log(np.maximum(known.frequencies, SOFT)).sum()
        - np.log(symmetry_order(known.atoms))
    )
