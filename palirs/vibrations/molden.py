"""Normal modes as Molden files, which most programs that draw molecules open.

https://www.theochem.ru.nl/molden/molden_format.html: wavenumbers [cm⁻¹] in ``[FREQ]``, intensities
in ``[INT]``, positions and displacements in Bohr in ``[FR-COORD]`` and ``[FR-NORM-COORD]``.
"""

import os
from pathlib import Path

import numpy as np

from palirs.units import LENGTH
from palirs.vibrations.analysis import Harmonic


def write_molden(path: Path, vibrations: Harmonic, title: str) -> None:
    """Write harmonic vibrations, atomically.

    Displacements are Cartesian, not mass-weighted, each mode with a norm of 1, as Gaussian and ORCA
    print them: the lengths of modes tell nothing. Imaginary wavenumbers [cm⁻¹] are negative,
    intensities in km/mol; without them there is no ``[INT]``.

    Parameters
    ----------
    path : Path
        Of the file.
    vibrations : Harmonic
        Modes [amu^-1/2] at their geometry.
    title : str
        A line that says whose they are.
    """
    atoms = vibrations.atoms
    symbols, positions = atoms.get_chemical_symbols(), atoms.positions / LENGTH["Bohr"]
    lines = ["[Molden Format]", "[Title]", f" {title}", "[Atoms] AU"]
    lines += [
        f"{symbol:2s} {number:5d} {charge:4d} {_row(position)}"
        for number, (symbol, charge, position) in enumerate(
            zip(symbols, atoms.numbers, positions, strict=True), start=1
        )
    ]
    lines += ["[FREQ]", *(f"{frequency:14.6f}" for frequency in vibrations.frequencies)]
    if vibrations.intensities is not None:
        # Open Babel overlooks a section that follows the normal coordinates
        lines += ["[INT]", *(f"{intensity:14.6f}" for intensity in vibrations.intensities)]
    lines += ["[FR-COORD]"]
    lines += [f"{symbol:2s} {_row(x)}" for symbol, x in zip(symbols, positions, strict=True)]
    lines += ["[FR-NORM-COORD]"]
    for number, mode in enumerate(vibrations.modes, start=1):
        lines += [f"vibration {number:6d}", *map(_row, mode / np.linalg.norm(mode))]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text("\n".join([*lines, ""]), encoding="ascii", errors="replace")
    part.replace(path)


def _row(vector: np.ndarray) -> str:
    """Return the three components of a vector in columns."""
    return " ".join(f"{component:15.9f}" for component in vector)
