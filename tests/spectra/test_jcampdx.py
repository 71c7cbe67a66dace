"""Computed spectra as JCAMP-DX files, read back by others."""

import warnings

import jcamp
import nmrglue
import numpy as np
import pytest

from palirs.spectra import Spectrum, read_jcamp
from palirs.spectra.files import read_csv
from palirs.spectra.jcampdx import LARGEST_ORDINATE, write_jcamp
from palirs.spectra.similarity import Comparison
from palirs.spectra.store import SpectrumStore

GRID = np.linspace(0.0, 5000.0, 3001)


@pytest.fixture
def spectrum():
    y = np.exp(-(((GRID - 1050) / 20) ** 2)) + 0.1 * np.exp(-(((GRID - 3500) / 40) ** 2)) - 1e-4
    return Spectrum(GRID, y, 0.03 * np.abs(y), "palirs, 300 K, 40 × 15 ps")


@pytest.fixture
def file(spectrum, tmp_path):
    path = tmp_path / "methanol.jdx"
    write_jcamp(path, spectrum, title="methanol", temperature=300.0, resolution=36.7)
    return path


def by_jcamp(path):
    read = jcamp.readfile(str(path))
    return read["x"], read["y"], read["title"]


def by_nmrglue(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for spectra of NMR, and says so
        records, _ = nmrglue.jcampdx.read(str(path))
    (labels,) = records["_datatype_INFRAREDSPECTRUM"]
    y, _ = nmrglue.fileio.jcampdx._parse_data(labels["XYDATA"][0])
    x = np.linspace(float(labels["FIRSTX"][0]), float(labels["LASTX"][0]), len(y))
    return x, y * float(labels["YFACTOR"][0]), labels["TITLE"][0]


def by_palirs(path):
    read = read_jcamp(path)
    return read.wavenumber, read.intensity, read.label


@pytest.mark.parametrize("reader", [by_palirs, by_jcamp, by_nmrglue])
def test_three_readers_agree_to_the_last_digit(spectrum, file, reader):
    x, y, title = reader(file)
    last = spectrum.molar_absorption.max() / LARGEST_ORDINATE
    np.testing.assert_allclose(x, GRID, atol=1e-5)
    np.testing.assert_allclose(y, spectrum.molar_absorption, atol=last)
    assert "methanol" in title


def test_the_file_says_what_it_is(file):
    lines = dict(line[2:].split("=", 1) for line in file.read_text().splitlines() if "##" in line)
    assert lines["TEMPERATURE"] == "26.85", "the format wants °C"
    assert lines["RESOLUTION"] == "36.7"
    assert "40 x 15 ps" in lines["DATA PROCESSING"]
    assert "standard error at the highest point 3.0%" in lines["COMMENTS"]
    assert max(map(len, file.read_text().splitlines()[24:])) <= 80


def test_wavenumbers_that_are_not_quite_even_are_made_so(spectrum, tmp_path):
    """As those of MD, whose lines the time step has shifted."""
    bent = Spectrum(GRID * (1 + 1e-9 * GRID**2), spectrum.intensity)
    write_jcamp(tmp_path / "a.jdx", bent, title="a", temperature=300, resolution=1)
    x, y, _ = by_palirs(tmp_path / "a.jdx")
    assert np.ptp(np.diff(x)) < 1e-5
    highest = bent.molar_absorption.max()
    np.testing.assert_allclose(y, 100 / np.log(10) * bent.on(x), atol=1e-6 * highest)


def test_what_is_no_absorption_is_refused(spectrum, tmp_path):
    arbitrary = Spectrum(GRID, spectrum.intensity, unit="arbitrary")
    with pytest.raises(ValueError, match="arbitrary"):
        write_jcamp(tmp_path / "a.jdx", arbitrary, title="a", temperature=300, resolution=1)
    assert not list(tmp_path.glob("*"))


def test_a_store_writes_both_and_removes_both(spectrum, tmp_path):
    store = SpectrumStore(tmp_path, ["methanol"], 300.0, Comparison())
    for kind in ("predicted", "moved"):
        store.write("methanol", kind, spectrum)
    file = store.file("methanol", "moved")
    assert by_palirs(file.with_suffix(".jdx"))[1].max() == pytest.approx(
        read_csv(file).molar_absorption.max(), rel=1e-6
    )
    store.write("methanol", "predicted", spectrum)
    assert not file.exists() and not file.with_suffix(".jdx").exists(), "it was of the MD before"
    store.remove("methanol", "predicted")
    assert not list((tmp_path / "spectra").glob("*"))
