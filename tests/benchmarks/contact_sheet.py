"""Draw measured spectra, with and without their baseline, on one sheet to be looked at.

``python -m tests.benchmarks.contact_sheet <folder with .jdx files> <picture>``
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from palirs.spectra import read_spectrum
from palirs.spectra.measured.baseline import subtract_baseline


def main() -> None:
    """Draw."""
    files = sorted(Path(sys.argv[1]).glob("*.jdx"))
    columns = 4
    figure, axes = plt.subplots(
        -(-len(files) // columns),
        columns,
        figsize=(16, 2.1 * -(-len(files) // columns)),
        layout="constrained",
    )
    for panel, file in zip(axes.ravel(), files, strict=False):
        spectrum = read_spectrum(file)
        corrected = subtract_baseline(spectrum)
        top = np.ptp(spectrum.intensity)
        panel.plot(
            spectrum.wavenumber, spectrum.intensity / top, color="0.7", lw=0.8, label="as measured"
        )
        panel.plot(
            corrected.wavenumber,
            corrected.intensity / top,
            color="C0",
            lw=0.8,
            label="without baseline",
        )
        for low, high in spectrum.saturated:
            panel.axvspan(low, high, color="C3", alpha=0.4, lw=0)
        for low, high in spectrum.gaps:
            panel.axvspan(low, high, color="0.8", lw=0)
        panel.set(xlim=(4000, 400), yticks=[], title=f"{file.stem}: {spectrum.unit[:22]}")
        panel.title.set_fontsize(9)
    for panel in axes.ravel()[len(files) :]:
        panel.axis("off")
    axes.ravel()[0].legend(fontsize=7)
    figure.supxlabel("wavenumber (cm⁻¹); red: beyond the instrument's range")
    figure.savefig(sys.argv[2], dpi=80)


if __name__ == "__main__":
    main()
