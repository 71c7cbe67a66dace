"""Similarity of the spectra of a molecule: intervals, regions, and length of the MD."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from palirs.randomness import stream
from palirs.spectra.compare import WINDOW, FlatError, pearson, wasserstein
from palirs.spectra.measured.baseline import OVERLAP
from palirs.spectra.resolution import at_resolution
from palirs.spectra.spectrum import Spectrum

PAIRS = {
    "ml_ref": ("predicted", "reference"),
    "ml_exp": ("predicted", "experiment"),
    "ref_exp": ("reference", "experiment"),
    "ml_exp_equal": ("predicted", "equal"),
    "ref_exp_equal": ("reference", "equal"),
    "moved_exp": ("moved", "experiment"),
    "moved_exp_equal": ("moved", "equal"),
    "exp_exp_equal": ("experiment", "equal"),
    "ml_exp_equal_scaled": ("predicted_scaled", "equal"),
    "ref_exp_equal_scaled": ("reference_scaled", "equal"),
}
"""Compared spectra by the suffix of their metrics. ``equal`` is the experiment at the
resolution of computed spectra; its similarity to ``experiment`` shows what the difference in
resolution costs the published measures, ``ml_exp`` and ``ref_exp``. ``moved`` is the prediction
with its bands moved by quantum shifts. ``…_scaled`` are computed
spectra whose wavenumbers are multiplied by ``spectrum.frequency_scale``."""
CONVERGENCE = (("predicted", "reference"), ("predicted", "experiment"), ("reference", "experiment"))
"""Pairs whose similarity is given against the length of the MD of the first."""
REGION = 2000.0
"""Boundary of two regions [cm⁻¹]; stretches of hydrogen and triple bonds lie above it."""
RESAMPLED = 200
"""Number of bootstrap samples per interval."""


@dataclass(frozen=True)
class Comparison:
    """Settings by which the spectra of a molecule are compared.

    Spectra come as a mapping from kind (``predicted``, ``reference``, ``experiment`` and what
    :meth:`with_experiment` adds) to :class:`Spectrum`.

    Attributes
    ----------
    window : tuple of float
        Compared range [cm⁻¹].
    without_saturated : bool
        Leave out where the range of the instrument ended.
    frequency_scale : float or None
        Also compare computed spectra with all wavenumbers multiplied by this factor.
    max_lag : float
        Depth of the autocorrelation of computed spectra [fs].
    lag_window : str
        Its window.
    friction : float
        Of Langevin dynamics [ps⁻¹].
    made : str
        Description of how spectra are computed; spectra made otherwise are not compared.
    nuclei : str
        What predicted spectra have added to it: how the committee's MD treats the nuclei.
    """

    window: tuple[float, float] = WINDOW
    without_saturated: bool = False
    frequency_scale: float | None = None
    max_lag: float = 1000.0
    lag_window: str = "hann"
    friction: float = 0.0
    made: str = ""
    nuclei: str = ""

    def with_experiment(
        self, computed: Mapping[str, Spectrum], experiment: Spectrum
    ) -> dict[str, Spectrum]:
        """Add an experiment, as measured and at the computed resolution, and scaled spectra."""
        spectra = {**computed, "experiment": experiment}
        if self.frequency_scale is not None:
            spectra |= {
                f"{kind}_scaled": spectrum.scaled(self.frequency_scale)
                for kind, spectrum in computed.items()
            }
        spectra["equal"] = at_resolution(
            experiment, self.max_lag, window=self.lag_window, friction=self.friction
        )
        return spectra

    def similarity(
        self, a: Spectrum, b: Spectrum, window: tuple[float, float] | None = None
    ) -> dict[str, float]:
        """Return Pearson correlation and Wasserstein distance; empty if a spectrum is flat."""
        window = window or self.window
        try:
            return {
                "pcc": pearson(a, b, window, without_saturated=self.without_saturated),
                "wd": wasserstein(a, b, window, without_saturated=self.without_saturated),
            }
        except FlatError:
            return {}

    def metrics(self, spectra: Mapping[str, Spectrum], name: str) -> dict[str, float]:
        """Return ``pcc_ml_ref``, ``wd_ml_ref`` and so on for all :data:`PAIRS` of a molecule.

        ``…_low`` and ``…_high`` are the 5th and 95th percentile of :func:`resampled`. ``…_ref_ref``
        is the median similarity of two halves of the reference, a lower bound of the similarity
        that its noise permits. ``name`` seeds the random draws.
        """
        metrics: dict[str, float] = {}
        for pair, (a, b) in PAIRS.items():
            if a in spectra and b in spectra:
                draws = [self.similarity(*d) for d in resampled(spectra[a], spectra[b], name)]
                similarity = self.similarity(spectra[a], spectra[b])
                metrics |= {f"{measure}_{pair}": value for measure, value in similarity.items()}
                metrics |= _interval(pair, draws)
        if "reference" in spectra:
            draws = [self.similarity(*halved) for halved in halves(spectra["reference"], name)]
            for measure in draws[0] if draws else ():
                metrics[f"{measure}_ref_ref"] = float(np.median([draw[measure] for draw in draws]))
            metrics |= _interval("ref_ref", draws)
        return metrics

    def by_region(
        self, spectra: Mapping[str, Spectrum]
    ) -> dict[tuple[float, float], dict[str, float]]:
        """Return similarities and areas [km/mol] below and above :data:`REGION`, by window."""
        low, high = self.window
        if not low < REGION - 10 < REGION + 10 < high:
            return {}
        regions: dict[tuple[float, float], dict[str, float]] = {}
        for window in ((low, REGION), (REGION, high)):
            regions[window] = {
                f"area {kind}": spectra[kind].within(*window).area
                for kind in ("predicted", "reference")
                if kind in spectra and spectra[kind].unit == "km/mol per cm⁻¹"
            }
            for pair, (a, b) in PAIRS.items():
                if a in spectra and b in spectra and _overlap(spectra[a], spectra[b], window):
                    similarity = self.similarity(spectra[a], spectra[b], window)
                    regions[window] |= {f"{key}_{pair}": value for key, value in similarity.items()}
        return regions

    def by_length(
        self, spectra: Mapping[str, Spectrum], name: str
    ) -> dict[str, list[tuple[float, float, float, float]]]:
        """Return the similarity of spectra against the length of their MD.

        For each of :data:`CONVERGENCE`, rows of time [ps] with median, 5th and 95th percentile of
        the Pearson correlation over draws without replacement; pairs without both spectra, four
        blocks and a known time are left out.
        """
        curves = {}
        for a, b in CONVERGENCE:
            blocks = spectra[a].blocks if a in spectra and b in spectra else None
            if blocks is None or len(blocks) < 4 or not spectra[a].time:
                continue
            rng = np.random.default_rng(stream(0, "lengths", name))
            rows = []
            for size in np.unique(np.geomspace(1, len(blocks) - 1, 8).round().astype(int)):
                chosen = [
                    rng.choice(len(blocks), size, replace=False) for _ in range(RESAMPLED // 4)
                ]
                correlations = [
                    self.similarity(_from_blocks(spectra[a], part), spectra[b]).get("pcc", np.nan)
                    for part in chosen
                ]
                time = spectra[a].time * size / len(blocks)
                rows.append((time, *np.percentile(correlations, (50, 5, 95)).tolist()))
            curves[f"{a} against {b}"] = rows
        return curves


def _interval(pair: str, draws: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {
        f"{measure}_{pair}{suffix}": float(
            np.percentile([draw[measure] for draw in draws], percent)
        )
        for suffix, percent in (("_low", 5), ("_high", 95))
        for measure in (draws[0] if draws else ())
    }


def _overlap(a: Spectrum, b: Spectrum, window: tuple[float, float]) -> bool:
    low = max(window[0], a.wavenumber[0], b.wavenumber[0])
    return min(window[1], a.wavenumber[-1], b.wavenumber[-1]) - low > OVERLAP


def resampled(a: Spectrum, b: Spectrum, name: str) -> Iterator[tuple[Spectrum, Spectrum]]:
    """Yield pairs of spectra from blocks drawn with replacement; none if neither has blocks.

    Bootstrap: Efron 1979, doi:10.1214/aos/1176344552.
    """
    rng = np.random.default_rng(stream(0, "resampled", name))
    if a.blocks is None and b.blocks is None:
        return
    for _ in range(RESAMPLED):
        yield _drawn(a, rng), _drawn(b, rng)


def halves(spectrum: Spectrum, name: str) -> Iterator[tuple[Spectrum, Spectrum]]:
    """Yield pairs of spectra from random halves of the blocks; none with fewer than four."""
    rng = np.random.default_rng(stream(0, "halves", name))
    if spectrum.blocks is None or len(spectrum.blocks) < 4:
        return
    for _ in range(RESAMPLED):
        first, second = np.array_split(rng.permutation(len(spectrum.blocks)), 2)
        yield _from_blocks(spectrum, first), _from_blocks(spectrum, second)


def _drawn(spectrum: Spectrum, rng: np.random.Generator) -> Spectrum:
    if spectrum.blocks is None:
        return spectrum
    return _from_blocks(spectrum, rng.integers(len(spectrum.blocks), size=len(spectrum.blocks)))


def _from_blocks(spectrum: Spectrum, chosen: np.ndarray) -> Spectrum:
    assert spectrum.blocks is not None
    return replace(spectrum, intensity=spectrum.blocks[chosen].mean(axis=0), blocks=None)


def mean_metrics(metrics: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Return mean and standard error of the metrics that at least two molecules have."""
    means = {}
    for key in dict.fromkeys(key for molecule in metrics for key in molecule):
        values = np.array([molecule[key] for molecule in metrics if key in molecule])
        if len(values) > 1 and not key.endswith(("_low", "_high")):
            means[key] = (float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))
    return means


def with_intervals(metrics: Mapping[str, float]) -> dict[str, str]:
    """Return metrics as text, each with its interval: ``0.982 (0.951 to 0.990)``."""
    texts = {}
    for key, value in metrics.items():
        if not key.endswith(("_low", "_high")):
            texts[key] = f"{value:.3f}"
            if f"{key}_low" in metrics:
                texts[key] += f" ({metrics[f'{key}_low']:.3f} to {metrics[f'{key}_high']:.3f})"
    return texts


def in_words(metrics: Mapping[str, float]) -> str:
    """Return metrics for the log: ``pcc_ml_ref 0.982 (0.951 to 0.990), wd_ml_ref …``."""
    texts = {key.rpartition(".")[2]: text for key, text in with_intervals(metrics).items()}
    return ", ".join(f"{key} {text}" for key, text in texts.items() if "_equal" not in key)
