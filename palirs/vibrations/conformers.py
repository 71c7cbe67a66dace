"""Conformers of a molecule and their populations."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import kB

from palirs import keys
from palirs.geometry.bonds import bonded
from palirs.geometry.electrons import Electrons
from palirs.geometry.embedding import conformers_like, differing
from palirs.geometry.symmetry import symmetry_order
from palirs.molecules import keep_masses, read_frames
from palirs.recipes import PalirsError
from palirs.vibrations.analysis import SADDLE, Harmonic, Source, minimum
from palirs.vibrations.lockstep import together

WINDOW, MOST = 8.0, 50
"""Conformers are relaxed up to this far above the lowest one by the force field [kcal/mol], whose
error is part of it; and at most so many."""
SOFT = 100.0
"""Wavenumbers below are raised to this one [cm⁻¹]: they are hindered rotations, whose weight the
harmonic oscillator overestimates (Ribeiro et al. 2011, doi:10.1021/jp205508z)."""


@dataclass(frozen=True)
class Conformer:
    """A relaxed conformer with its weight.

    Attributes
    ----------
    atoms : Atoms
        Its geometry.
    energy : float
        [eV].
    log_weight : float
        Logarithm of the weight beside the Boltzmann factor: see :func:`conformers`.
    """

    atoms: Atoms
    energy: float
    log_weight: float


def conformers(optimum: Atoms, source: Source) -> list[Conformer]:
    """Return the conformers of a molecule by a source: the optimum first, then by energy.

    RDKit embeds them, the source relaxes them. The weight beside the Boltzmann factor is that of
    classical mechanics, like MD: √det(moments of inertia) / (product of wavenumbers × order of the
    point group). The order accounts for mirror images and exchanges of equal atoms, by which
    gauche butane occurs twice for each anti butane.

    Parameters
    ----------
    optimum : Atoms
        With ``info['molecule']``.
    source : Source
        Calculates energies and forces; a committee in float64.

    Raises
    ------
    PalirsError
        If the source has no optimum near the given one, or RDKit cannot determine the bonds.
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
        atoms.info |= {keys.MOLECULE: name, **Electrons.of(optimum).info}
        keep_masses(optimum, atoms)
    first, *others = together([partial(_relaxed, atoms) for atoms in (optimum, *starts)], source)
    if first is None:
        raise PalirsError(
            f"molecule {name!r}: the committee finds no optimum near the engine's; "
            "it needs more labels"
        )
    bonds = bonded(first.atoms)
    optima = [first]
    optima += [other for other in others if other and (bonded(other.atoms) == bonds).all()]
    results = source.calculate([vibrations.atoms for vibrations in optima])
    lead, *alternatives = (
        Conformer(vibrations.atoms, properties.energy, _log_weight(vibrations))
        for vibrations, properties in zip(optima, results, strict=True)
    )
    by_energy = sorted(alternatives, key=lambda conformer: conformer.energy)
    return differing([lead, *by_energy], lambda conformer: conformer.atoms)


def read_conformers(file: Path) -> list[Conformer]:
    """Return the conformers in a file of a study, with the engine's energies."""
    return [
        Conformer(
            atoms, float(atoms.info.pop("engine_energy_eV")), float(atoms.info.pop("log_weight"))
        )
        for atoms in read_frames(file)
    ]


def populations(ensemble: Sequence[Conformer], temperature: float) -> np.ndarray:
    """Return the share of molecules in each conformer at a temperature [K]."""
    energies = np.array([conformer.energy for conformer in ensemble])
    log_weights = np.array([conformer.log_weight for conformer in ensemble])
    exponents = log_weights - (energies - energies.min()) / (kB * temperature)
    weights = np.exp(exponents - exponents.max())
    return weights / weights.sum()


def _relaxed(atoms: Atoms, source: Source) -> Harmonic | None:
    try:
        vibrations = minimum(atoms, source)
    except PalirsError:
        return None
    return vibrations if vibrations.frequencies[0] > -SADDLE else None


def _log_weight(vibrations: Harmonic) -> float:
    moments = vibrations.atoms.get_moments_of_inertia()
    rotational = 0.5 * np.log(moments[moments > 1e-3 * moments.max()]).sum()
    vibrational = np.log(np.maximum(vibrations.frequencies, SOFT)).sum()
    return float(rotational - vibrational - np.log(symmetry_order(vibrations.atoms)))
