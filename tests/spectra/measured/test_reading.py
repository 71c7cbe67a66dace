import csv

import numpy as np
import pytest

from palirs.spectra import Spectrum, pearson, read_jcamp, read_spectrum, wasserstein
from palirs.spectra.measured.baseline import measured, subtract_baseline

HEADER = "##TITLE=Test\n##JCAMP-DX=4.24\n##DATA TYPE=INFRARED SPECTRUM\n"


def record(xunits, yunits, x, y):
    rows = "\n".join(f"{a} {b}" for a, b in zip(x, y, strict=True))
    return (
        f"{HEADER}##XUNITS={xunits}\n##YUNITS={yunits}\n##XFACTOR=1\n##YFACTOR=1\n##FIRSTX={x[0]}\n##LASTX={x[-1]}\n"
        f"##DELTAX={x[1] - x[0]}\n##NPOINTS={len(x)}\n##XYDATA=(X++(Y..Y))\n{rows}\n##END=\n"
    )


def test_every_reference_spectrum_can_be_read(shared):
    with (shared / "experiment" / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 31
    for row in rows:
        spectrum = read_jcamp(shared / "experiment" / row["file"])
        low, high = map(float, row["range"].split("-"))
        assert len(spectrum.wavenumber) == int(row["npoints"]), row["file"]
        assert (np.diff(spectrum.wavenumber) > 0).all()
        assert spectrum.wavenumber[[0, -1]] == pytest.approx([low, high], abs=0.5)
        assert spectrum.measured
        assert np.isfinite(spectrum.intensity).all()


def test_methanols_strongest_band_is_the_co_stretch(shared):
    spectrum = read_jcamp(shared / "experiment" / "methanol.jdx")
    assert spectrum.wavenumber[spectrum.intensity.argmax()] == pytest.approx(1033, abs=5)


def test_transmittance_becomes_absorbance(tmp_path):
    (tmp_path / "t.jdx").write_text(
        record("1/CM", "TRANSMITTANCE", [1000, 1010, 1020], [1.0, 0.1, 0.5])
    )
    np.testing.assert_allclose(read_jcamp(tmp_path / "t.jdx").intensity, [0, 1, 0.30103], atol=1e-5)


def test_wavelengths_become_ascending_wavenumbers(tmp_path):
    (tmp_path / "w.jdx").write_text(
        record("MICROMETERS", "ABSORBANCE", [4.0, 5.0, 6.0], [0.1, 0.2, 0.3])
    )
    spectrum = read_jcamp(tmp_path / "w.jdx")
    np.testing.assert_allclose(spectrum.wavenumber, [1e4 / 6, 2000, 2500])
    np.testing.assert_allclose(spectrum.intensity, [0.3, 0.2, 0.1])


def test_unknown_units_are_named(tmp_path):
    (tmp_path / "u.jdx").write_text(record("FURLONGS", "ABSORBANCE", [1, 2, 3], [0, 0, 1]))
    with pytest.raises(ValueError, match="FURLONGS"):
        read_jcamp(tmp_path / "u.jdx")
    (tmp_path / "n.jdx").write_text("no spectrum")
    with pytest.raises(ValueError, match=r"n\.jdx"):
        read_jcamp(tmp_path / "n.jdx")


def test_per_cent_is_told_by_the_bulk_not_by_a_spike(tmp_path):
    x = np.linspace(500, 4000, 351)
    share = 1 - 0.8 * np.exp(-(((x - 1700) / 40) ** 2))
    spike = np.where(x == 2000, 30.0, share)
    for name, unit, values in (
        ("a", "TRANSMITTANCE", share),
        ("b", "% TRANSMITTANCE", 100 * share),
        ("c", "%T", 100 * share),
    ):
        (tmp_path / name).write_text(record("1/CM", unit, x, values))
    (tmp_path / "d").write_text(record("1/CM", "TRANSMITTANCE", x, spike))
    found = [read_spectrum(tmp_path / name) for name in "abcd"]
    for other in found[1:3]:
        np.testing.assert_allclose(other.intensity, found[0].intensity, atol=1e-9)
    far = x != 2000
    np.testing.assert_allclose(found[3].intensity[far], found[0].intensity[far], atol=1e-9)
    (tmp_path / "e").write_text(record("1/CM", "TRANSMITTANCE", x, 1e4 * share))
    with pytest.raises(ValueError, match=r"line 5: a transmittance of .* YFACTOR"):
        read_spectrum(tmp_path / "e")


def test_nanometres(tmp_path):
    (tmp_path / "n.jdx").write_text(
        record("NANOMETERS", "ABSORBANCE", [4000.0, 5000.0, 6000.0], [0.1, 0.2, 0.3])
    )
    np.testing.assert_allclose(read_jcamp(tmp_path / "n.jdx").wavenumber, [1e4 / 6, 2000, 2500])


def test_what_is_opaque_or_flat_is_saturated(tmp_path):
    x = np.arange(1000.0, 1100.0, 10.0)
    (tmp_path / "t.jdx").write_text(
        record("1/CM", "TRANSMITTANCE", x, [1, 0.9, 0.001, 0.0, 0.5, 1, 1, 1, 1, 1])
    )
    spectrum = read_jcamp(tmp_path / "t.jdx")
    assert spectrum.saturated == ((1015.0, 1035.0),)
    assert spectrum.intensity.max() == pytest.approx(3)
    (tmp_path / "a.jdx").write_text(
        record("1/CM", "ABSORBANCE", x, [0, 0.1, 2, 2, 2, 2, 2, 0.3, 0, 0])
    )
    assert read_jcamp(tmp_path / "a.jdx").saturated == ((1015.0, 1065.0),)
    (tmp_path / "b.jdx").write_text(
        record("1/CM", "ABSORBANCE", x, [0, 0.1, 1, 2, 2, 1, 0.5, 0.3, 0, 0])
    )
    assert read_jcamp(tmp_path / "b.jdx").saturated == ()


def test_of_several_blocks_the_infrared_one_in_the_gas_phase_is_taken(tmp_path):
    def block(title, kind, state, height):
        one = record("1/CM", "ABSORBANCE", [1000, 1010, 1020], [0, height, 0]).replace(
            "TITLE=Test", f"TITLE={title}"
        )
        return one.replace("INFRARED SPECTRUM", kind).replace(
            "##XUNITS", f"##STATE={state}\n##XUNITS"
        )

    inner = (
        block("uv", "UV/VIS SPECTRUM", "gas", 1)
        + block("film", "INFRARED SPECTRUM", "liquid", 2)
        + block("vapour", "INFRARED SPECTRUM", "gas", 3)
    )
    file = tmp_path / "link.jdx"
    file.write_text(f"##TITLE=all\n##DATA TYPE=LINK\n##BLOCKS=3\n{inner}##END=\n")
    spectrum = read_spectrum(file)
    assert (spectrum.label, spectrum.intensity.max()) == ("vapour", 3)
    file.write_text(block("uv", "UV/VIS SPECTRUM", "gas", 1))
    with pytest.raises(ValueError, match="no infrared spectrum, but uv/vis spectrum"):
        read_spectrum(file)


@pytest.mark.parametrize(
    ("text", "wavenumber"),
    [
        ("wavenumber,absorbance\n1000,0.1\n1010,0.2\n1020,0.3\n", [1000, 1010, 1020]),
        ("# mine\n1020;0.3\n1010;0.2\n1000;0.1\n", [1000, 1010, 1020]),
        ("1000 0.1 9\n1010 0.2 9\n1020 0.3 9", [1000, 1010, 1020]),
        ("lambda (µm)\tA\n4\t0.3\n5\t0.2\n6\t0.1\n", [1e4 / 6, 2000, 2500]),
    ],
)
def test_two_columns_of_text(text, wavenumber, tmp_path):
    (tmp_path / "mine.csv").write_text(text)
    spectrum = read_spectrum(tmp_path / "mine.csv")
    np.testing.assert_allclose(spectrum.wavenumber, wavenumber)
    np.testing.assert_allclose(spectrum.intensity, [0.1, 0.2, 0.3])
    assert spectrum.measured


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1000 0.1\n1010 x\n", "line 2"),
        ("1000\n", "line 1: one number"),
        ("", "neither"),
        ("1000 0.1\n1000 0.2\n", "distinct"),
        ("1000 nan\n990 nan", "gaps|same"),
    ],
)
def test_text_that_is_no_spectrum(text, says, tmp_path):
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(ValueError, match=says) as told:
        read_spectrum(tmp_path / "mine.csv")
    assert "mine.csv" in str(told.value)


def band(x, centre, width=15.0):
    return np.exp(-0.5 * ((x - centre) / width) ** 2)


def test_gaps_are_left_out_of_comparisons_and_saturation_if_asked():
    x = np.arange(500.0, 4000.0)
    truth = Spectrum(x, band(x, 1000) + band(x, 3000))
    holed = Spectrum(
        x,
        np.where((x > 900) & (x < 1100), 5.0, truth.intensity),
        measured=True,
        gaps=((899.5, 1100.5),),
    )
    assert pearson(truth, holed) == pytest.approx(1)
    assert wasserstein(truth, holed) == pytest.approx(0, abs=1e-9)
    clipped = Spectrum(
        x, np.minimum(truth.intensity, 0.3), measured=True, saturated=((960, 1040), (2960, 3040))
    )
    assert pearson(truth, clipped) < 0.97
    assert pearson(truth, clipped, without_saturated=True) == pytest.approx(1)


def test_a_record_in_wavelengths_keeps_its_bands_when_its_drift_goes():
    """Points even in µm lie 0.6 cm⁻¹ apart at 500 and 40 cm⁻¹ at 4000."""
    x = np.sort(1e4 / np.arange(2.5, 20.0, 0.025))
    bands = band(x, 700) + band(x, 1700, 25) + band(x, 3650, 40)
    corrected = subtract_baseline(Spectrum(x, bands + 0.2 + 0.3 * (x / 4000) ** 2, measured=True))
    for centre in (700, 1700, 3650):
        near = np.abs(x - centre) < 120
        area = np.trapezoid(corrected.intensity[near], x[near])
        assert area == pytest.approx(np.trapezoid(bands[near], x[near]), rel=0.1), centre


def test_a_spectrum_beside_the_window_is_told_before_anything_is_computed(tmp_path):
    x = np.linspace(4500, 9000, 200)
    (tmp_path / "nir.jdx").write_text(record("1/CM", "ABSORBANCE", x, band(x, 6000, 100)))
    with pytest.raises(ValueError, match=r"nir\.jdx: from 4500 to 9000.*at least 100"):
        measured(tmp_path / "nir.jdx", (500.0, 4000.0))


@pytest.mark.parametrize(
    "kind", ["FT-IR SPECTRUM", "ftir", "IR", "FTIR-Spectra", "MID-IR SPECTRUM", "INFRARED SPECTRUM"]
)
@pytest.mark.parametrize("unit", ["ABS", "OPTICAL DENSITY", "A", "Absorbance", "Extinktion"])
def test_kinds_and_units_by_other_names(kind, unit, tmp_path):
    text = (
        record("1/CM", unit, [1000, 1010, 1020], [0, 1, 0])
        .replace("INFRARED SPECTRUM", kind)
        .replace("##END=", "##END")
    )
    (tmp_path / "a.dx").write_text(text)
    spectrum = read_spectrum(tmp_path / "a.dx")
    np.testing.assert_allclose(spectrum.intensity, [0, 1, 0])
    assert spectrum.read_as.startswith(f"JCAMP-DX, {unit} over 1/CM")


@pytest.mark.parametrize(
    "kind",
    [
        "RAMAN SPECTRUM",
        "UV/VIS SPECTRUM",
        "NMR SPECTRUM",
        "INFRARED INTERFEROGRAM",
        "FT-IR SINGLE BEAM",
    ],
)
def test_kinds_that_are_no_infrared_spectrum(kind, tmp_path):
    (tmp_path / "a.dx").write_text(
        record("1/CM", "ABSORBANCE", [1000, 1010, 1020], [0, 1, 0]).replace(
            "INFRARED SPECTRUM", kind
        )
    )
    with pytest.raises(ValueError, match=f"no infrared spectrum, but {kind.lower()}"):
        read_spectrum(tmp_path / "a.dx")


def test_a_peak_table_is_called_one(tmp_path):
    text = (
        "##TITLE=p\n##JCAMP-DX=4.24\n##DATA TYPE=INFRARED SPECTRUM\n"
        "##XUNITS=1/CM\n##YUNITS=ABSORBANCE\n##NPOINTS=1\n"
    )
    (tmp_path / "a.dx").write_text(f"{text}##PEAK TABLE=(XY..XY)\n1000, 1\n##END=\n")
    with pytest.raises(
        ValueError, match="infrared spectrum as ##PEAKTABLE=, no continuous spectrum"
    ):
        read_spectrum(tmp_path / "a.dx")


def test_an_absorbance_of_hundred_is_in_doubt(tmp_path):
    x = np.linspace(500, 4000, 351)
    (tmp_path / "a.dx").write_text(record("1/CM", "ABSORBANCE", x, 100 - 80 * band(x, 1700)))
    assert "per cent transmittance" in read_spectrum(tmp_path / "a.dx").doubt
