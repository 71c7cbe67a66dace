"""The results of a study, for its report."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.learning.completed import anharmonic_directory, expected_errors
from palirs.learning.quality.calibration import Calibration, calibrate
from palirs.learning.quality.errors import Parity, dipole_parity, potential_parity
from palirs.learning.quality.frequencies import own_vibrations, paired_intensities
from palirs.mace.models.committee import Committee
from palirs.mace.models.dipole import DipoleModel
from palirs.results.tables import read_table
from palirs.spectra.store import SpectrumStore
from palirs.vibrations import Harmonic
from palirs.vibrations.anharmonic.calculation import MIXED
from palirs.vibrations.anharmonic.files import ISOTOPOLOGUES


@dataclass(frozen=True)
class StudyResults:
    """Data, models and spectra of a study, and their errors, computed when first used.

    Attributes
    ----------
    directory : Path
        Of the study.
    spectra : SpectrumStore
        Its spectra.
    history : list of dict
        Metrics of each iteration.
    first, final, test : list of Atoms
        Labelled frames of the first and the last iteration, and those of the last that are only for
        errors.
    optima : dict
        Energy of each molecule's optimum [eV].
    references : dict
        Optimum and vibrations of each molecule by the engine.
    committee : Committee
        Of the last iteration.
    dipole : DipoleModel or None
        Trained on the data of the last iteration.
    rearranged : dict
        What became of molecules whose optimum is another molecule, by name.
    goals : tuple
        Of the harmonic frequencies [cm⁻¹] and of the forces [meV/Å], if there is one.
    conformers : str or None
        How conformers are weighted, if trajectories start from them: ``boltzmann`` or ``md``.
    explored : str
        The MD of the exploration in words, along which errors of the forces are expected.
    """

    directory: Path
    spectra: SpectrumStore
    history: list[dict[str, float]]
    first: list[Atoms]
    final: list[Atoms]
    test: list[Atoms]
    optima: dict[str, float]
    references: dict[str, Harmonic]
    committee: Committee
    dipole: DipoleModel | None
    goals: tuple[float, float | None]
    rearranged: dict[str, str] = field(default_factory=dict)
    conformers: str | None = None
    explored: str = "MD"

    @cached_property
    def expected(self) -> list[float]:
        """Expected error of the forces along the exploration by each iteration [meV/Å], or NaN."""
        return expected_errors(self.directory)

    @cached_property
    def potential(self) -> tuple[Parity, Parity]:
        """Energies [meV] and forces [meV/Å] of the test frames."""
        return potential_parity(self.committee, self.test)[:2]

    @cached_property
    def own(self) -> dict[str, Harmonic]:
        """Vibrations by committee and dipole model, of molecules whose optimum they find.

        In the order of the engine's modes.
        """
        return own_vibrations(self.committee, self.dipole, list(self.references.values()))

    @cached_property
    def intensities(self) -> dict[str, float]:
        """Errors of the harmonic intensities, see :func:`paired_intensities`."""
        if self.dipole is None:
            return {}
        return paired_intensities(list(self.references.values()), self.own).metrics()

    @cached_property
    def dipoles(self) -> Parity | None:
        """Dipoles of the test frames [mDebye]."""
        return None if self.dipole is None else dipole_parity(self.dipole, self.test)

    @cached_property
    def calibration(self) -> Calibration:
        """Spread and error of the forces on the test frames."""
        return calibrate(self.committee, self.test)

    @cached_property
    def compared(self) -> dict[str, dict[str, float]]:
        """Metrics of :meth:`palirs.spectra.store.SpectrumStore.compare` by molecule."""
        return {molecule: self.spectra.compare(molecule) for molecule in self.spectra.molecules}

    def above_optimum(self, frames: Sequence[Atoms]) -> np.ndarray:
        """Return the energies of labelled frames above their optimum, ``[frames]`` [eV]."""
        return np.array(
            [atoms.info[keys.ENERGY] - self.optima[atoms.info[keys.MOLECULE]] for atoms in frames]
        )

    def error_rows(self) -> list[dict[str, object]]:
        """Return a row of metrics on the test frames for each molecule, then for each origin."""
        energy, forces = self.potential
        parities = [(energy, "energy", "meV"), (forces, "forces", "meV_per_A")]
        if self.dipoles is not None:
            parities.append((self.dipoles, "dipole", "mD"))
        rows: list[dict[str, object]] = []
        for group in ("molecule", "origin"):
            metrics = [
                parity.by(getattr(parity, group), name, unit) for parity, name, unit in parities
            ]
            for name in metrics[0]:
                row = {
                    "frames_of": name,
                    "test_frames": int((getattr(energy, group) == name).sum()),
                }
                for each in metrics:
                    row |= each[name]
                rows.append(row)
        return rows

    def anharmonic(self, molecule: str, by: str) -> list[dict[str, float | str]]:
        """Return the table of anharmonic levels by the committee or the engine; empty without."""
        file = anharmonic_directory(self.directory, molecule, by) / "levels.csv"
        return read_table(file) if file.exists() else []

    def isotopologues(self, molecule: str, by: str) -> dict[str, list[dict[str, float | str]]]:
        """Return the tables of a molecule's isotopologues by name, as :meth:`anharmonic`."""
        place = anharmonic_directory(self.directory, molecule, by) / ISOTOPOLOGUES
        return {file.parent.name: read_table(file) for file in sorted(place.glob("*/levels.csv"))}

    def fundamentals(self, molecule: str) -> np.ndarray | None:
        """Return where the committee's fundamentals are in the order of the modes, ``[modes]``.

        Of a mixed level that is its energy without the resonance, about which its intensity lies.
        NaN for modes that perturbation theory does not know [cm⁻¹]; ``None`` if there are no levels
        by this committee.
        """
        levels = self.anharmonic(molecule, "committee")
        if not levels:
            return None
        values = np.full(len(self.references[molecule].frequencies), np.nan)
        for row in levels:
            mixed = float(row.get("share", 1.0)) < MIXED
            value = row.get("deperturbed_cm1" if mixed else "anharmonic_cm1")
            unsure = re.search("mode below|steps differ|split by", str(row.get("caveat", "")))
            if "motion" in row and isinstance(value, float) and not unsure:
                values[int(str(row["level"])[1:]) - 1] = value
        return values

    def figure(self, name: str) -> Path:
        """Return the file of a figure."""
        return self.directory / "figures" / f"{name}.png"
