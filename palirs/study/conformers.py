"""The conformers of a study, found once and kept in ``conformers/<molecule>.xyz``."""

import logging
from collections.abc import Sequence
from pathlib import Path

import ase.io
import numpy as np

from palirs import keys
from palirs.labels import Labeller
from palirs.learning.iterations import final_committee
from palirs.production import ConformerEnsemble
from palirs.study.session import Session
from palirs.vibrations import Harmonic
from palirs.vibrations.conformers import Conformer, conformers, populations, read_conformers

UNSURE = 0.025
"""Difference of relative energies [eV] above which geometries are doubtful: a factor of 2.6 in a
population at 300 K."""

log = logging.getLogger(__name__)


def starts(
    session: Session, references: Sequence[Harmonic], temperature: float
) -> Sequence[Harmonic | ConformerEnsemble]:
    """Return where the trajectories of each molecule start: at its optimum, or from its conformers.

    Conformers are found by the committee, once: their files stay as they are, so that the MD of
    committee and engine start alike. The engine gives their energies, one label for each.

    Parameters
    ----------
    session : Session
        The study.
    references : sequence of Harmonic
        The molecules at their optima by the engine.
    temperature : float
        Of the populations [K].
    """
    setting = session.settings.spectrum.conformers
    if setting is None:
        return references
    ensembles = []
    for reference in references:
        file = session.directory / "conformers" / f"{reference.atoms.info[keys.MOLECULE]}.xyz"
        if not file.exists():
            committee = final_committee(session.directory).double()
            _write(file, conformers(reference.atoms, committee), session.labeller)
        ensemble = read_conformers(file)
        shares = tuple(populations(ensemble, temperature).tolist())
        geometries = tuple(conformer.atoms for conformer in ensemble)
        ensembles.append(ConformerEnsemble(reference, geometries, shares, setting == "boltzmann"))
    return ensembles


def _write(file: Path, ensemble: Sequence[Conformer], labeller: Labeller) -> None:
    """Have the engine calculate the energies of conformers, and write them."""
    frames = [conformer.atoms.copy() for conformer in ensemble]
    for atoms in frames:
        atoms.info[keys.ORIGIN] = "conformer"
    energies = [properties.energy for properties in labeller.calculate(frames)]
    for atoms, conformer, energy in zip(frames, ensemble, energies, strict=True):
        atoms.info |= {
            "engine_energy_eV": energy,
            "committee_energy_eV": conformer.energy,
            "log_weight": conformer.log_weight,
        }
    by_engine = np.array(energies) - energies[0]
    by_committee = np.array([conformer.energy - ensemble[0].energy for conformer in ensemble])
    difference = np.abs(by_committee - by_engine).max()
    name = frames[0].info[keys.MOLECULE]
    log.info(
        "%s: %d conformer(s), %s meV above the optimum",
        name,
        len(ensemble),
        ", ".join(f"{1e3 * energy:+.0f}" for energy in by_engine),
    )
    if difference > UNSURE:
        log.warning(
            "%s: committee and engine differ by up to %.0f meV in the energies of its conformers: "
            "geometries and populations may be wrong; more labels help, then remove %s",
            name,
            1e3 * difference,
            file,
        )
    file.parent.mkdir(exist_ok=True)
    part = file.with_suffix(".part")
    ase.io.write(part, frames, format="extxyz")
    part.replace(file)
