import csv

import numpy as np
import pytest

from palirs.spectra import read_jcamp

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
    (tmp_path / "t.jdx").write_text(record("1/CM", "TRANSMITTANCE", [1000, 1010, 1020], [1.0, 0.1, 0.5]))
    np.testing.assert_allclose(read_jcamp(tmp_path / "t.jdx").intensity, [0, 1, 0.30103], atol=1e-5)


def test_wavelengths_become_ascending_wavenumbers(tmp_path):
    (tmp_path / "w.jdx").write_text(record("MICROMETERS", "ABSORBANCE", [4.0, 5.0, 6.0], [0.1, 0.2, 0.3]))
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
