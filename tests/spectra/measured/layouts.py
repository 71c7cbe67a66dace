"""Text files as instruments and people write them.

One spectrum in every layout, and damaged copies.
"""

from dataclasses import dataclass

import numpy as np

NAMES = {
    "absorbance": (
        "Absorbance",
        "A",
        "Abs",
        "Absorption",
        "Extinktion",
        "assorbanza",
        "Absorbance (a.u.)",
        "absorbance",
    ),
    "share": ("Transmittance", "T", "transmission", "Durchlässigkeit", "trasmittanza"),
    "per cent": (
        "Transmission (%)",
        "%T",
        "T [%]",
        "% Transmittance",
        "Transmittance [%]",
        "Transmission %",
    ),
    "reflectance": (
        "Reflectance",
        "%R",
        "R [%]",
        "reflectance (a.u.)",
        "Kubelka-Munk",
        "Réflexion",
    ),
    "raman": ("Raman intensity", "Raman Intensity (cts)"),
    "single beam": ("Single Beam", "single-beam intensity"),
    "emission": ("Emission", "emissivity", "Radiance (W/m2)"),
}
ABSCISSAS = (
    *(
        "Wavenumber (cm-1)",
        "cm-1",
        "wavenumber",
        "Wellenzahl [cm⁻¹]",
        "Wavenumbers",
        "1/cm",
        "nombre d'onde (cm-1)",
    ),
    "wavenumber_cm1",
)
WAVELENGTHS = ("Wavelength (µm)", "wavelength (um)", "microns")
TRAILERS = (
    *("", "\n[Comments]\nSample name\tTest\nDetector\tTGS\n", "\n\n", "#end of data\n"),
    "\n##### Extended Information\nDetector\tTGS\nScans\t32\n",
)
READ = ("absorbance", "share", "per cent")


@dataclass(frozen=True)
class File:
    """A file and what it holds; the intensity is ``None`` if that is no absorption.

    ``must``: its headings leave no doubt, so that it has to be read.
    """

    content: bytes
    wavenumber: np.ndarray
    intensity: np.ndarray | None
    must: bool
    label: str


def spectrum(rng):
    """Bands on a flat baseline, as of a gas; wavenumbers descend."""
    step = float(rng.choice([4.0, 8.0, 7.714, 16.0, 2.5]))
    wavenumber = np.arange(
        round(float(rng.uniform(3500, 4000)), 2), float(rng.uniform(450, 700)), -step
    )
    intensity = np.full(len(wavenumber), float(rng.uniform(0.001, 0.02)))
    for _ in range(int(rng.integers(3, 9))):
        centre, width = rng.uniform(wavenumber[-1], wavenumber[0]), rng.uniform(4, 30) + step
        intensity += rng.uniform(0.05, 1.2) * np.exp(-(((wavenumber - centre) / width) ** 2))
    return wavenumber, intensity


def file(number):
    """Return one of many files, the same one for the same number."""
    rng = np.random.default_rng([27, number])

    def one(options):
        return options[int(rng.integers(len(options)))]

    wavenumber, intensity = spectrum(rng)
    separator, decimal = one("\t;, "), one(".,")
    refused = number % 6 == 0 and rng.random() < 0.5
    quantity = one(sorted(set(NAMES) - set(READ))) if refused else one(READ)
    heading = one(
        ("line", "comment", "two lines")
        if refused
        else ("none", "line", "line", "comment", "two lines", "statements", "unknown")
    )
    plain = heading in ("line", "comment")
    micrometres = plain and rng.random() < 0.15
    index = heading != "statements" and rng.random() < 0.15
    exchanged, ascending = plain and not index and rng.random() < 0.15, rng.random() < 0.4

    form = f".{int(rng.integers(4, 7))}{one('fffffe')}"
    y = (
        10**-intensity * {"share": 1, "per cent": 100}[quantity]
        if quantity in ("share", "per cent")
        else intensity
    )
    xs = [f"{v:.4f}" for v in (1e4 / wavenumber if micrometres else wavenumber)]
    ys = [f"{v:{form}}" for v in y]
    if ascending:
        xs, ys = xs[::-1], ys[::-1]
    names = [one(WAVELENGTHS if micrometres else ABSCISSAS), one(NAMES[quantity])]
    columns = [ys, xs] if exchanged else [xs, ys]
    names = names[::-1] if exchanged else names
    label = f"{number}: {separator!r} {decimal} {heading} {names} index={index}"
    if index:
        columns = [[str(n) for n in range(len(xs))], *columns]
        names = [one(("", "index", "Unnamed: 0")), *names]
    text = _written(columns, names, separator, decimal, heading) + one(TRAILERS)
    if rng.random() < 0.3:
        text = text.replace("\n", "\r\n")
    encoding = one(("utf-8", "utf-8", "utf-8-sig", "cp1252", "utf-16"))
    content = (
        text.replace("⁻¹", "-1").encode("cp1252", "replace")
        if encoding == "cp1252"
        else text.encode(encoding)
    )
    return File(
        content,
        wavenumber[::-1],
        None if refused else intensity[::-1],
        not refused and heading not in ("unknown", "none"),
        label,
    )


def _written(columns, names, separator, decimal, heading):
    """Return columns of texts as the text of a file."""
    if separator == " ":
        names = [name.replace(" ", "") or "index" for name in names]
    join = "   " if separator == " " else separator
    quotes = '"' if separator == "," and decimal == "," else ""
    rows = [
        join.join(f"{quotes}{cell.replace('.', decimal)}{quotes}" for cell in row)
        for row in zip(*columns, strict=True)
    ]
    above = {
        "none": [],
        "line": [join.join(names)],
        "comment": [f"# {join.join(names)}"],
        "two lines": [f"Sample{join}x", join.join(names)],
        "statements": [
            "TITLE\tTest",
            "XUNITS\t1/CM",
            f"YUNITS\t{names[-1]}",
            f"NPOINTS\t{len(rows)}",
            "XYDATA",
        ],
        "unknown": [join.join("XYZW"[: len(columns)])],
    }[heading]
    return "\n".join([*above, *rows]) + "\n"


def damaged(content, rng):
    """Return a copy with one slip of a hand or a disk, and in words which."""
    text = bytearray(content)
    lines = content.split(b"\n")
    n = int(rng.integers(len(lines)))
    place, other = int(rng.integers(len(text))), rng.choice(list(b'0123456789.,;-xeE \t#"%'))
    kind = str(
        rng.choice(
            [
                "delete",
                "insert",
                "replace",
                "lose line",
                "double line",
                "join lines",
                "exchange lines",
                "cut",
                "split",
            ]
        )
    )
    if kind == "delete":
        del text[place]
    elif kind == "insert":
        text[place:place] = bytes([other])
    elif kind == "replace":
        text[place] = other
    elif kind == "cut":
        text = text[:place]
    elif kind == "split":
        text[place:place] = b"\n"
    else:
        if kind == "lose line":
            del lines[n]
        elif kind == "double line":
            lines.insert(n, lines[n])
        elif kind == "join lines" and n + 1 < len(lines):
            lines[n : n + 2] = [lines[n] + lines[n + 1]]
        elif kind == "exchange lines" and n + 1 < len(lines):
            lines[n], lines[n + 1] = lines[n + 1], lines[n]
        text = b"\n".join(lines)
    return bytes(text), f"{kind} at {place} or line {n + 1}"
