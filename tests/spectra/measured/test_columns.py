"""Text files of instruments and programs.

Read as what they say, refused by name, or in doubt and said to be.
"""

import numpy as np
import pytest

from palirs.spectra import read_spectrum
from palirs.spectra.measured.headings import understood

X = np.arange(4000.0, 500.0, -4.0)
A = 0.004 + sum(
    h * np.exp(-(((X - c) / w) ** 2))
    for c, w, h in ((1030, 20, 0.8), (2900, 40, 0.3), (3650, 15, 0.1))
)
T = 10**-A


def rows(y, form="{:.2f},{:.5f}", x=X):
    return "\n".join(form.format(a, b) for a, b in zip(x, y, strict=True)) + "\n"


def german(text):
    return text.replace(",", ";").replace(".", ",")


JASCO = (
    "TITLE\tm\nDATA TYPE\t{kind}\nORIGIN\tJASCO\n"
    "DATE\t24/05/20\nTIME\t12:00:00\nXUNITS\t1/CM\nYUNITS\t{y}\nNPOINTS\t875\nXYDATA\n"
)
TRAILER = (
    "\n##### Extended Information\n[Comments]\nSample name\tTest\n"
    "Resolution\t4 cm-1\nAccumulation\t32\n"
)
PERKIN_ELMER = [
    *(
        "PE IR       SUBTECH     SPECTRUM    ASCII       PEDS        1.60",
        "-1",
        "m.asc",
        "98/10/02",
        "12:34:56.0",
        "user",
        "32",
    ),
    *(
        "#HDR",
        "-1",
        "-1",
        "#GR",
        "CM-1",
        "%T",
        "1.000000",
        "0.000000",
        "4000.000000",
        "-4.000000",
        "875",
        "99.000000",
        "#DATA",
        "",
    ),
]
THOUSANDS = "\n".join(f'"{x:,.1f}",{a:.5f}' for x, a in zip(X, A, strict=True))
FRENCH = "\n".join(
    f"{x:,.1f}\t{a:.5f}".replace(",", "\u202f").replace(".", ",") for x, a in zip(X, A, strict=True)
)
TEXTS = {
    "PerkinElmer CSV": 'Created as New Dataset,"Methanol 1_1"\ncm-1,%T\n' + rows(100 * T),
    "PerkinElmer ASC": "\r\n".join(PERKIN_ELMER) + rows(100 * T, "{:.6f}\t{:.6f}"),
    "JASCO": JASCO.format(kind="INFRARED SPECTRUM", y="TRANSMITTANCE")
    + rows(100 * T, "{:.3f}\t{:.5f}")
    + TRAILER,
    "Shimadzu": '"File","C:\\m.irs"\n"Scans","45"\n"1/cm","%T"\n'
    + rows(100 * T, '"{:.2f}","{:.4f}"'),
    "OMNIC": rows(100 * T, "{:.10E},{:.10E}"),
    "OPUS": rows(A, "{:.5f}\t{:.5f}"),
    "Spectragryph": "Wavenumber [1/cm]\tAbsorbance [a.u.]\n" + rows(A, "{:.2f}\t{:.6f}"),
    "ABB": "## Instrument Name = MB160D\n## Nr of data points = 875\n"
    "## Wave number - Absorbance value\n" + rows(A, "{:.8f} {:.5f}"),
    "Excel, German": "Wellenzahl;Transmission in %\n" + german(rows(100 * T)),
    "thousands": "Wavenumber,Absorbance\n" + THOUSANDS,
    "thousands, French": "Nombre d'onde (cm-1)\tAbsorbance\n" + FRENCH,
    "numpy": "# wavenumber transmittance\n" + rows(T, "{:.18e} {:.18e}"),
    "pandas": ",wavenumber,absorbance\n"
    + "\n".join(f"{n},{x},{a}" for n, (x, a) in enumerate(zip(X, A, strict=True))),
    "absorbance and transmittance": "cm-1,%T,Abs\n"
    + "\n".join(f"{x:.1f},{100 * t:.3f},{a:.5f}" for x, t, a in zip(X, T, A, strict=True)),
    "errors": "wavenumber,absorbance,std\n"
    + "\n".join(f"{x:.1f},{a:.5f},0.1" for x, a in zip(X, A, strict=True)),
    "micrometres": "wavelength,transmittance\n" + rows(T, "{:.6f},{:.5f}", 1e4 / X),
    "remarks that are no quantities": "Phase correction: Mertz\nInterferogram: 8000\n"
    "Source energy 5\n\n" + rows(A, "{:.2f}\t{:.5f}"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_files_as_programs_write_them(name, tmp_path):
    (tmp_path / "m.txt").write_text(TEXTS[name])
    spectrum = read_spectrum(tmp_path / "m.txt")
    np.testing.assert_allclose(spectrum.wavenumber, X[::-1], atol=0.02)
    np.testing.assert_allclose(spectrum.intensity, A[::-1], atol=2e-4)
    assert f"{len(X)} points from 504 to 4000 cm⁻¹" in spectrum.read_as
    assert bool(spectrum.doubt) == (name == "OMNIC")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (JASCO.format(kind="RAMAN SPECTRUM", y="Int.") + rows(A, "{:.3f}\t{:.5f}"), "Raman"),
        (
            JASCO.format(kind="INFRARED SPECTRUM", y="%R") + rows(100 * T, "{:.3f}\t{:.5f}"),
            "'%R' is reflectance",
        ),
        ("cm-1,Absorption (%)\n" + rows(100 * (1 - T)), "absorptance"),
        ("Frequency (THz),Absorbance\n" + rows(A), "frequency in Hz"),
        ("Raman shift (cm-1),Intensity (a.u.)\n" + rows(A), "Raman"),
        (
            "Wellenzahl,Absorbanz\n" + rows(A, "{:.2f},{:.4f}").replace(".", ","),
            "line 2: decimal commas and commas between columns",
        ),
        ("wavenumber,absorbance\n" + rows(100 * T), "is it per cent transmittance"),
        ("wavenumber,transmittance\n" + rows(A), "bands point up"),
        ("wavenumber,transmittance (%)\n" + rows(T), "shares of 1"),
        ("wavenumber,intensity\n" + rows(300 * A), "absorption coefficient"),
        (
            rows(np.clip(0.9 - 3 * A, 0.05, 1) * np.linspace(0.3, 1, len(X))),
            "absorbance or transmittance",
        ),
        (rows(A, "{:.6f},{:.5f}", 1e4 / X), "micrometres"),
        (rows(A, "{:.2f},{:.5f}", 1e7 / X), "nanometres"),
        (
            "cm-1,A,A\n" + "\n".join(f"{x},{a:.4f},{a:.4f}" for x, a in zip(X, A, strict=True)),
            "several columns are absorbance",
        ),
        (
            "wavenumber,sample 1,sample 2\n"
            + "\n".join(f"{x},{a:.4f},0.1" for x, a in zip(X, A, strict=True)),
            "'sample 1', 'sample 2'",
        ),
        (
            ",absorbance\n" + "\n".join(f"{n},{a}" for n, a in enumerate(A)),
            "no column is called wavenumber",
        ),
        ("\n".join(f"{n} {a:.4f}" for n, a in enumerate(A)), "row numbers"),
        ("NPOINTS\t900\n" + rows(A, "{:.2f}\t{:.5f}"), "900 points are announced, there are 875"),
        (rows(A) + "\n" + rows(A), "out of order"),
        (rows(A).replace("1000.00,", "1001.00,"), "off the even steps"),
        (rows(A).replace("1000.00,0.", "1000.00,0.1"), "line 751: .* other decimals"),
        ("a;b\n", "neither"),
        ("PK\x03\x04\0\0", "binary"),
    ],
)
def test_what_is_no_absorption_or_may_be_several_things_is_refused(text, says, tmp_path):
    (tmp_path / "m.txt").write_text(text)
    with pytest.raises(ValueError, match=says):
        read_spectrum(tmp_path / "m.txt")


def test_every_shared_layout_is_the_same_spectrum(shared, caplog):
    truth = read_spectrum(shared / "inputs" / "truth.csv")
    names = [
        "comment_heading.txt",
        "decimal_comma_semicolon.csv",
        "ftir_type.dx",
        "heading_transmission.csv",
        "trailer.txt",
    ]
    for name in [*names, "percent_without_heading.csv"]:
        spectrum = read_spectrum(shared / "inputs" / name)
        np.testing.assert_allclose(spectrum.wavenumber, truth.wavenumber, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(spectrum.intensity, truth.intensity, atol=1e-4, err_msg=name)
        assert bool(spectrum.doubt) == name.startswith("percent"), name


@pytest.mark.parametrize(
    ("text", "abscissa", "ordinate"),
    [
        ("Wavenumber (cm⁻¹)", "cm-1", ""),
        ("cm^-1", "cm-1", ""),
        ("cm-1", "cm-1", ""),
        ("Wellenzahl / cm**-1", "cm-1", ""),
        ("numero d'onda [1/cm]", "cm-1", ""),
        ("número de onda", "cm-1", ""),
        ("Frequency (cm-1)", "cm-1", ""),
        ("Wavelength (µm)", "µm", ""),
        ("lambda/nm", "nm", ""),
        ("Wellenlänge", "wavelength", ""),
        ("Transmission (%)", "", "transmittance"),
        ("T [%]", "", "transmittance"),
        ("T", "", "transmittance"),
        ("Durchlässigkeit", "", "transmittance"),
        ("Transmitância", "", "transmittance"),
        ("Extinktion", "", "absorbance"),
        ("log(1/T)", "", "absorbance"),
        ("A", "", "absorbance"),
        ("optical density", "", "absorbance"),
        ("cross section (cm2/molecule)", "", "absorption coefficient"),
        ("km/mol per cm-1", "", "absorption coefficient"),
        ("sample 7", "", ""),
    ],
)
def test_headings_are_understood(text, abscissa, ordinate):
    heading = understood(text)
    assert (heading.abscissa, heading.ordinate, heading.refused) == (abscissa, ordinate, "")


def test_a_gap_at_the_end_of_a_file_does_not_make_it_per_cent(tmp_path):
    (tmp_path / "m.txt").write_text("wavenumber,absorbance\n4004.00,nan\n" + rows(A))
    assert "per cent" not in read_spectrum(tmp_path / "m.txt").read_as
