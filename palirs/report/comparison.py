"""The spectra of a molecule that a study holds, and how alike they are."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.signal import find_peaks

from palirs.randomness import stream
from palirs.settings import Spectroscopy
from palirs.spectra import Spectrum, pearson, wasserstein
from palirs.spectra.compare import FlatError
from palirs.spectra.files import read_csv, write_csv
from palirs.spectra.measured.baseline import OVERLAP, measured
from palirs.spectra.resolution import at_resolution

log = logging.getLogger(__name__)

PAIRS = {
    "ml_ref": ("predicted", "reference"),
    "ml_exp": ("predicted", "experiment"),
    "ref_exp": ("reference", "experiment"),
    "ml_exp_equal": ("predicted", "equal"),
    "ref_exp_equal": ("reference", "equal"),
    "exp_exp_equal": ("experiment", "equal"),
    "ml_exp_equal_scaled": ("predicted_scaled", "equal"),
    "ref_exp_equal_scaled": ("reference_scaled", "equal"),
}
"""Which spectra are compared, by the ending of their metrics. ``equal`` is the experiment at the
resolution of computed spectra; how alike it is to itself tells what the difference in resolution
costs the published figures, ``ml_exp`` and ``ref_exp``. ``…_scaled`` are computed ones with
wavenumbers times ``spectrum.frequency_scale``."""
REGION = 2000.0
"""Below it molecules bend and stretch, above it hydrogen stretches (and triple bonds) [cm⁻¹]."""
RESAMPLED = 200
"""Draws for an interval."""


@dataclass(frozen=True)
class Shelf:
    """The spectra of a study at one temperature.

    Attributes
    ----------
    directory : Path
        Of the study.
    settings : Spectroscopy
        Names the experiments, and the window of comparisons.
    temperature : float
        [K].
    molecules : sequence of str
        Of the study.
    """

    directory: Path
    settings: Spectroscopy
    temperature: float
    molecules: Sequence[str]

    def file(self, molecule: str, kind: str) -> Path:
        """Return the file of a ``predicted`` or ``reference`` spectrum."""
        return self.directory / "spectra" / f"{molecule}-{self.temperature:g}K-{kind}.csv"

    def put(
        self,
        molecule: str,
        kind: str,
        spectrum: Spectrum,
        densities: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """Write a spectrum, its independent parts, which tell how sure comparisons are, and at which wavenumbers each mode moves.

        ``densities``: wavenumbers ``[points]`` and densities ``[modes, points]`` of
        :func:`palirs.spectra.density.mode_densities`.
        """
        file = self.file(molecule, kind)
        self.remove(molecule, kind)
        if spectrum.blocks is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file.with_suffix(".npy"), spectrum.blocks.astype(np.float32))
        if densities is not None:
            columns = {f"mode_{number}": one for number, one in enumerate(densities[1], start=1)}
            write_csv(self._densities(molecule, kind), {"wavenumber_cm1": densities[0], **columns})
        write_csv(file, spectrum)  # last: without it there is no spectrum

    def remove(self, molecule: str, kind: str) -> None:
        """Remove a spectrum, if there is one."""
        for file in (
            self.file(molecule, kind),
            self.file(molecule, kind).with_suffix(".npy"),
            self._densities(molecule, kind),
        ):
            file.unlink(missing_ok=True)

    def _densities(self, molecule: str, kind: str) -> Path:
        file = self.file(molecule, kind)
        return file.with_name(f"{file.stem}-modes.csv")

    def densities(self, molecule: str, kind: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return wavenumbers and densities of the modes of a spectrum, if its MD recorded them."""
        file = self._densities(molecule, kind)
        if not file.exists():
            return None
        wavenumber, *densities = np.loadtxt(file, delimiter=",", skiprows=1, unpack=True, ndmin=2)
        return wavenumber, np.array(densities)

    def known(self, molecule: str) -> dict[str, Spectrum]:
        """Return what there is of ``predicted``, ``reference``, ``experiment``, and ``equal``, the last at the resolution of the others.

        With ``spectrum.frequency_scale`` and an experiment also ``predicted_scaled`` and
        ``reference_scaled``.
        """
        found = {
            kind: self._read(self.file(molecule, kind))
            for kind in ("predicted", "reference")
            if self.file(molecule, kind).exists()
        }
        found = {kind: one for kind, one in found.items() if self._of_now(one)}
        path = self.settings.experiments(self.molecules).get(molecule)
        if path:
            found["experiment"] = measured(path, self.settings.window)
            friction = self.settings.friction if self.settings.thermostat == "langevin" else 0.0
            if (factor := self.settings.frequency_scale) is not None:
                found |= {
                    f"{kind}_scaled": found[kind].scaled(factor)
                    for kind in ("predicted", "reference")
                    if kind in found
                }
            found["equal"] = at_resolution(
                found["experiment"],
                self.settings.max_lag,
                window=self.settings.lag_window,
                friction=friction,
            )
        return found

    def _of_now(self, spectrum: Spectrum) -> bool:
        """Tell whether a spectrum was made with the settings of now; warn of one that was not."""
        same = spectrum.made in ("", self.settings.made)
        if not same:
            log.warning(
                "the spectrum of %s is left out: it was made by %s, now it is %s; task=spectra and task=aimd make theirs anew from the "
                "dipoles there are",
                *(spectrum.label, spectrum.made, self.settings.made),
            )
        return same

    @staticmethod
    def _read(file: Path) -> Spectrum:
        spectrum, parts = read_csv(file), file.with_suffix(".npy")
        return (
            replace(spectrum, blocks=np.load(parts).astype(float)) if parts.exists() else spectrum
        )

    def compare(self, molecule: str) -> dict[str, float]:
        """Return PCC and WD of every pair of spectra of a molecule, ``spectrum.<molecule>.pcc_ml_ref`` and so on.

        ``…_low`` and ``…_high`` are the 5th and 95th percentile of :func:`resampled`. ``…_ref_ref``
        is the reference against itself, one half of its parts against the other: a floor, of half
        the length.
        """
        known = self.known(molecule)
        metrics: dict[str, float] = {}
        for short, (a, b) in PAIRS.items():
            if a in known and b in known:
                metrics |= self._told(molecule, short, self._alike(known[a], known[b]))
                drawn = resampled(known[a], known[b], molecule)
                metrics |= self._interval(molecule, short, [self._alike(*pair) for pair in drawn])
        if "reference" in known:
            drawn = [self._alike(*pair) for pair in halves(known["reference"], molecule)]
            if drawn:
                metrics |= self._told(
                    molecule,
                    "ref_ref",
                    {name: float(np.median([one[name] for one in drawn])) for name in drawn[0]},
                )
                metrics |= self._interval(molecule, "ref_ref", drawn)
        return metrics

    def by_region(self, molecule: str) -> list[dict[str, object]]:
        """Return how alike the spectra of a molecule are below and above :data:`REGION`, and the areas of the computed ones [km/mol]."""
        known, (low, high) = self.known(molecule), self.settings.window
        rows: list[dict[str, object]] = []
        for window in (
            ((low, REGION), (REGION, high)) if low < REGION - 10 < REGION + 10 < high else ()
        ):
            row: dict[str, object] = {"region (cm⁻¹)": f"{window[0]:g} to {window[1]:g}"}
            for kind in ("predicted", "reference"):
                if kind in known and known[kind].unit == "km/mol per cm⁻¹":
                    row[f"area {kind}"] = f"{known[kind].within(*window).area:.1f}"
            for short, (a, b) in PAIRS.items():
                if a in known and b in known and _overlap(known[a], known[b], window):
                    row |= {
                        f"{name}_{short}": f"{value:.3f}"
                        for name, value in self._alike(known[a], known[b], window).items()
                    }
            rows.append(row)
        return rows

    def temperatures(self, molecule: str) -> dict[float, dict[str, Spectrum]]:
        """Return predicted, and reference, spectra of a molecule by temperature [K]."""
        shape = re.compile(
            re.escape(molecule) + r"-([\d.e+]+)K-predicted\.csv"
        )  # not of methanol-d4 where methanol is meant
        matched = [
            match
            for file in (self.directory / "spectra").glob("*.csv")
            if (match := shape.fullmatch(file.name))
        ]
        found = {}
        for temperature in sorted(float(match.group(1)) for match in matched):
            shelf = replace(self, temperature=temperature)
            files = [(kind, shelf.file(molecule, kind)) for kind in ("predicted", "reference")]
            read = {kind: self._read(file) for kind, file in files if file.exists()}
            if "predicted" in (
                of_now := {kind: one for kind, one in read.items() if self._of_now(one)}
            ):
                found[temperature] = of_now
        return found

    def by_length(self, molecule: str) -> dict[str, list[tuple[float, float, float, float]]]:
        """Return how alike spectra made of some of their parts only are to what they are compared with.

        For each comparison rows of time [ps], median, 5th and 95th percentile of the Pearson
        correlation over :data:`RESAMPLED` draws without replacement; none where a spectrum has
        fewer than four parts or its time is not known, or nothing to compare with.
        """
        known, curves = self.known(molecule), {}
        pairs = (
            ("predicted", "reference"),
            ("predicted", "experiment"),
            ("reference", "experiment"),
        )
        for a, b in pairs:
            blocks = known[a].blocks if a in known and b in known else None
            if blocks is None or len(blocks) < 4 or not known[a].time:
                continue
            rng, rows = np.random.default_rng(stream(0, "lengths", molecule)), []
            for size in np.unique(np.geomspace(1, len(blocks) - 1, 8).round().astype(int)):
                parts = [
                    rng.choice(len(blocks), size, replace=False) for _ in range(RESAMPLED // 4)
                ]
                drawn = [
                    replace(known[a], intensity=blocks[part].mean(axis=0), blocks=None)
                    for part in parts
                ]
                found = [self._alike(one, known[b]).get("pcc", np.nan) for one in drawn]
                rows.append(
                    (
                        known[a].time * size / len(blocks),
                        *np.percentile(found, (50, 5, 95)).tolist(),
                    )
                )
            curves[f"{a} against {b}"] = rows
        return curves

    def _alike(
        self, a: Spectrum, b: Spectrum, window: tuple[float, float] | None = None
    ) -> dict[str, float]:
        """Return PCC and WD; nothing if one of the spectra is flat."""
        how = {
            "window": window or self.settings.window,
            "without_saturated": self.settings.leave_out_saturated,
        }
        try:
            return {"pcc": pearson(a, b, **how), "wd": wasserstein(a, b, **how)}
        except FlatError:
            return {}

    @staticmethod
    def _told(
        molecule: str, short: str, values: Mapping[str, float], ending: str = ""
    ) -> dict[str, float]:
        return {
            f"spectrum.{molecule}.{name}_{short}{ending}": value for name, value in values.items()
        }

    def _interval(
        self, molecule: str, short: str, drawn: Sequence[Mapping[str, float]]
    ) -> dict[str, float]:
        found: dict[str, float] = {}
        for ending, percent in (("_low", 5), ("_high", 95)) if drawn else ():
            values = {
                name: float(np.percentile([one[name] for one in drawn], percent))
                for name in drawn[0]
            }
            found |= self._told(molecule, short, values, ending)
        return found


def _overlap(a: Spectrum, b: Spectrum, window: tuple[float, float]) -> bool:
    return (
        min(window[1], a.wavenumber[-1], b.wavenumber[-1])
        - max(window[0], a.wavenumber[0], b.wavenumber[0])
        > OVERLAP
    )


def resampled(a: Spectrum, b: Spectrum, name: str) -> Iterator[tuple[Spectrum, Spectrum]]:
    """Give pairs of spectra made of parts drawn with replacement (Efron 1979, doi:10.1214/aos/1176344552); none if neither has parts."""
    rng = np.random.default_rng(stream(0, "resampled", name))
    if a.blocks is None and b.blocks is None:
        return
    for _ in range(RESAMPLED):
        yield _drawn(a, rng), _drawn(b, rng)


def halves(spectrum: Spectrum, name: str) -> Iterator[tuple[Spectrum, Spectrum]]:
    """Give the two halves of a spectrum's parts, shared out at random; none if there are fewer than four parts."""
    rng = np.random.default_rng(stream(0, "halves", name))
    blocks = spectrum.blocks
    if blocks is None or len(blocks) < 4:
        return
    for _ in range(RESAMPLED):
        order = rng.permutation(len(blocks))
        one, other = (blocks[part].mean(axis=0) for part in np.array_split(order, 2))
        yield (
            replace(spectrum, intensity=one, blocks=None),
            replace(spectrum, intensity=other, blocks=None),
        )


def _drawn(spectrum: Spectrum, rng: np.random.Generator) -> Spectrum:
    """Return the spectrum of as many of its parts, drawn with replacement."""
    if spectrum.blocks is None:
        return spectrum
    picked = rng.integers(len(spectrum.blocks), size=len(spectrum.blocks))
    return replace(spectrum, intensity=spectrum.blocks[picked].mean(axis=0), blocks=None)


def band_error(spectrum: Spectrum, window: tuple[float, float]) -> float:
    """Return the largest relative standard error at a band, of those above half the highest.

    Parameters
    ----------
    spectrum : Spectrum
        With its standard error.
    window : tuple of float
        Where bands are looked for [cm⁻¹].
    """
    part = spectrum.within(*window)
    bands, _ = find_peaks(part.intensity, height=0.5 * part.intensity.max())
    if part.error is None or not len(bands):
        return float("nan")
    return float((part.error[bands] / part.intensity[bands]).max())


def in_words(metrics: Mapping[str, float]) -> str:
    """Return metrics of comparisons for the log, without those at equal resolution: ``pcc_ml_ref 0.982 (0.951 to 0.990), wd_ml_ref …``."""
    told = {key.rpartition(".")[2]: text for key, text in with_intervals(metrics).items()}
    return ", ".join(f"{name} {text}" for name, text in told.items() if "_equal" not in name)


def with_intervals(metrics: Mapping[str, float]) -> dict[str, str]:
    """Return metrics as text, each with its interval: ``0.982 (0.951 to 0.990)``."""
    told = {}
    for key, value in metrics.items():
        if not key.endswith(("_low", "_high")):
            interval = (
                f" ({metrics[f'{key}_low']:.3f} to {metrics[f'{key}_high']:.3f})"
                if f"{key}_low" in metrics
                else ""
            )
            told[key] = f"{value:.3f}{interval}"
    return told
