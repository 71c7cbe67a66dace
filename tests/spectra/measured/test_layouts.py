"""Generated text files in every layout, and damaged ones.

The right spectrum or a refusal by name, never a wrong one.
"""

import numpy as np
import pytest

from palirs.spectra import read_spectrum
from palirs.spectra.measured.jcampdx import RecordError
from tests.spectra.measured.layouts import damaged, file

NEAR, CLOSE = 0.3, 0.02
"""Wavenumbers [cm⁻¹] are written to 1e-4 µm, transmittances to 1e-4."""


def compared(case, spectrum):
    """Return how many points differ from what the file holds.

    And how many lie at a wrong wavenumber.
    """
    nearest = np.abs(case.wavenumber - spectrum.wavenumber[:, None]).argmin(axis=1)
    displaced = np.abs(case.wavenumber[nearest] - spectrum.wavenumber) > NEAR
    other = np.abs(case.intensity[nearest] - spectrum.intensity) > CLOSE
    return (displaced | other).sum(), displaced.sum()


def tried(content, path):
    """Return the spectrum of a file, or why there is none."""
    path.write_bytes(content)
    try:
        return read_spectrum(path), ""
    except RecordError as error:
        return None, str(error)


@pytest.mark.parametrize("start", range(0, 300, 50))
def test_three_hundred_layouts(start, tmp_path):
    for number in range(start, start + 50):
        case, path = file(number), tmp_path / "measured.csv"
        spectrum, refused = tried(case.content, path)
        if spectrum is None:
            assert not case.must, f"{case.label}: {refused}"
            assert str(path) in refused
            continue
        assert case.intensity is not None, f"{case.label} was read as {spectrum.read_as}"
        assert len(spectrum.wavenumber) == len(case.wavenumber), case.label
        assert compared(case, spectrum) == (0, 0), f"{case.label} was read as {spectrum.read_as}"


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(start, marks=pytest.mark.thorough if start >= 1000 else ())
        for start in range(0, 2000, 250)
    ],
)
def test_two_thousand_damaged_files(start, tmp_path):
    """A point may be lost with its line, and an ordinate may be what a changed digit made of it.

    No wavenumber is wrong.
    """
    for number in range(start, start + 250):
        case, path = file(number % 300), tmp_path / "measured.csv"
        content, slip = damaged(case.content, np.random.default_rng(number))
        spectrum, refused = tried(content, path)
        if spectrum is None:
            assert str(path) in refused
            continue
        assert case.intensity is not None, f"{case.label}, {slip}: was read as {spectrum.read_as}"
        other, displaced = compared(case, spectrum)
        assert other <= 1 and not displaced, f"{case.label}, {slip}: was read as {spectrum.read_as}"
