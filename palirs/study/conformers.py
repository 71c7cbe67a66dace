"""The conformers of a study: found once, kept in ``conformers/<molecule>.xyz``, weighed at the temperature that is asked for."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import ase.io
import numpy as np

from palirs import keys
from palirs.labels import Labeller
from palirs.mace.models.committee import Committee
from palirs.production import ConformerEnsemble
from palirs.vibrations import Harmonic
from palirs.vibrations.conformers import Conformer, conformers, populations, read_conformers

UNSURE = 0.025
"""Difference of relative energies [eV] from which geometries are doubted: a factor of 2.6 in a
population at 300 K."""

log = logging.getLogger(__name__)


def starts(
    directory: Path,
    references: Sequence[Harmonic],
    committee: Callable[[], Committee],
    labeller: Labeller,
    temperature: float,
    weighted: bool,
) -> list[ConformerEnsemble]:
    """Return where the trajectories of each molecule start.

    Parameters
    ----------
    directory : Path
        Of the study. Conformers that are there stay as they are, so that the MD of committee and
        engine start alike.
    references : sequence of Harmonic
        The molecules at their optima by the engine.
    committee : callable
        Gives the committee that finds conformers, if it is needed.
    labeller : Labeller
        Gives their energies by the engine: one label for each.
    temperature : float
        [K].
    weighted : bool
        See :class:`ConformerEnsemble`.
    """
    found = []
    for known in references:
        name = known.atoms.info[keys.MOLECULE]
        file = directory / "conformers" / f"{name}.xyz"
        if not file.exists():
            _write(file, conformers(known.atoms, committee().double()), labeller)
        mine = read_conformers(file)
        shares = populations(mine, temperature)
        found.append(
            ConformerEnsemble(
                known, tuple(one.atoms for one in mine), tuple(shares.tolist()), weighted
            )
        )
    return found


def _write(file: Path, found: Sequence[Conformer], labeller: Labeller) -> None:
    frames, name = [one.atoms.copy() for one in found], found[0].atoms.info[keys.MOLECULE]
    for atoms in frames:
        atoms.info[keys.ORIGIN] = "conformer"
    energies = [properties.energy for properties in labeller.calculate(frames)]
    for atoms, one, energy in zip(frames, found, energies, strict=True):
        atoms.info |= {
            "engine_energy_eV": energy,
            "committee_energy_eV": one.energy,
            "log_weight": one.log_weight,
        }
    theirs = np.array(energies) - energies[0]
    off = np.abs([one.energy - found[0].energy for one in found] - theirs).max()
    log.info(
        "%s: %d conformer(s), %s meV above the optimum",
        name,
        len(found),
        ", ".join(f"{1e3 * energy:+.0f}" for energy in theirs),
    )
    if off > UNSURE:
        log.warning(
            "%s: committee and engine differ by up to %.0f meV in the energies of its conformers: geometries and populations may be wrong; "
            "more labels help, then remove %s",
            *(name, 1e3 * off, file),
        )
    file.parent.mkdir(exist_ok=True)
    part = file.with_suffix(".part")
    ase.io.write(part, frames, format="extxyz")
    part.replace(file)
