"""Files of the spectra of a study, ``spectra/<molecule>-<temperature>K-<kind>.csv``."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from palirs.spectra.files import read_csv, write_csv
from palirs.spectra.jcampdx import write_jcamp
from palirs.spectra.lags import line_width
from palirs.spectra.measured.baseline import measured
from palirs.spectra.similarity import Comparison
from palirs.spectra.spectrum import Spectrum, without_division

log = logging.getLogger(__name__)

COMPUTED = ("predicted", "reference", "moved")
"""Kinds of computed spectra: from MD with the committee, and with the reference engine; and the
former with its bands moved by quantum shifts."""


@dataclass(frozen=True)
class SpectrumStore:
    """The spectra of a study at one temperature.

    Attributes
    ----------
    directory : Path
        Of the study.
    molecules : sequence of str
        Of the study.
    temperature : float
        [K].
    comparison : Comparison
        Settings of their comparison.
    experiments : mapping
        File of the measured spectrum of each molecule that has one.
    """

    directory: Path
    molecules: Sequence[str]
    temperature: float
    comparison: Comparison
    experiments: Mapping[str, str] = field(default_factory=dict)

    @property
    def window(self) -> tuple[float, float]:
        """Range of comparisons and figures [cm⁻¹]."""
        return self.comparison.window

    def file(self, molecule: str, kind: str) -> Path:
        """Return the file of a computed spectrum."""
        return self.directory / "spectra" / f"{molecule}-{self.temperature:g}K-{kind}.csv"

    def _densities_file(self, molecule: str, kind: str) -> Path:
        file = self.file(molecule, kind)
        return file.with_name(f"{file.stem}-modes.csv")

    def write(
        self,
        molecule: str,
        kind: str,
        spectrum: Spectrum,
        densities: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """Write a spectrum, its blocks and the densities of the modes.

        ``densities``: wavenumbers ``[points]`` and densities ``[modes, points]`` of
        :func:`palirs.spectra.density.mode_densities`.
        """
        file = self.file(molecule, kind)
        self.remove(molecule, kind)
        if spectrum.blocks is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file.with_suffix(".npy"), spectrum.blocks.astype(np.float32))
        if densities is not None:
            wavenumber, modes = densities
            columns = {f"mode_{number}": mode for number, mode in enumerate(modes, start=1)}
            write_csv(
                self._densities_file(molecule, kind), {"wavenumber_cm1": wavenumber, **columns}
            )
        if spectrum.unit == "km/mol per cm⁻¹":
            made = self.comparison
            write_jcamp(
                file.with_suffix(".jdx"),
                spectrum,
                title=molecule,
                temperature=self.temperature,
                resolution=line_width(made.max_lag, made.lag_window, made.friction),
                method=spectrum.made or made.made,
            )
        write_csv(file, spectrum)  # last: without it there is no spectrum

    def remove(self, molecule: str, kind: str) -> None:
        """Remove a spectrum, if there is one."""
        file = self.file(molecule, kind)
        if kind == "predicted":
            self.remove(molecule, "moved")  # which is made of it
        own = (file, file.with_suffix(".npy"), file.with_suffix(".jdx"))
        for part in (*own, self._densities_file(molecule, kind)):
            part.unlink(missing_ok=True)

    def densities(self, molecule: str, kind: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return wavenumbers and densities of the modes, if the MD of a spectrum recorded them."""
        file = self._densities_file(molecule, kind)
        if not file.exists():
            return None
        wavenumber, *densities = np.loadtxt(file, delimiter=",", skiprows=1, unpack=True, ndmin=2)
        return wavenumber, np.array(densities)

    def computed(self, molecule: str) -> dict[str, Spectrum]:
        """Return the computed spectra that exist, by kind.

        Spectra that were made with other settings are left out, with a warning.
        """
        spectra = {}
        for kind in COMPUTED:
            file = self.file(molecule, kind)
            if not file.exists():
                continue
            spectrum = read_csv(file)
            made = self.comparison.made + (self.comparison.nuclei if kind == "predicted" else "")
            if spectrum.made and without_division(spectrum.made) != without_division(made):
                log.warning(
                    "the spectrum of %s is left out: it was made by %s, now it is %s; task=spectra "
                    "and task=aimd make theirs anew from the dipoles there are",
                    spectrum.label,
                    spectrum.made,
                    made,
                )
                continue
            if (blocks := file.with_suffix(".npy")).exists():
                spectrum = replace(spectrum, blocks=np.load(blocks).astype(float))
            spectra[kind] = spectrum
        return spectra

    def read(self, molecule: str) -> dict[str, Spectrum]:
        """Return computed spectra and those that :meth:`Comparison.with_experiment` adds."""
        spectra = self.computed(molecule)
        if path := self.experiments.get(molecule):
            spectra = self.comparison.with_experiment(spectra, measured(path, self.window))
        return spectra

    def compare(self, molecule: str) -> dict[str, float]:
        """Return :meth:`Comparison.metrics` as ``spectrum.<molecule>.pcc_ml_ref`` and so on."""
        metrics = self.comparison.metrics(self.read(molecule), molecule)
        return {f"spectrum.{molecule}.{key}": value for key, value in metrics.items()}

    def by_temperature(self, molecule: str) -> dict[float, dict[str, Spectrum]]:
        """Return the computed spectra of a molecule by temperature [K], where predicted."""
        pattern = re.compile(re.escape(molecule) + r"-([\d.e+]+)K-predicted\.csv")
        names = [file.name for file in (self.directory / "spectra").glob("*.csv")]
        matches = filter(None, map(pattern.fullmatch, names))
        spectra = {}
        for temperature in sorted(float(match.group(1)) for match in matches):
            computed = replace(self, temperature=temperature).computed(molecule)
            if "predicted" in computed:
                spectra[temperature] = computed
        return spectra
