"""Molden files, read back by a parser that knows the format and not our code.

Open Babel and SHARC read them too: docs/results/files.md.
"""

import re
from dataclasses import replace

import numpy as np
import pytest
from ase import units
from ase.data import chemical_symbols

from palirs.molecules import table
from palirs.vibrations import Harmonic, infrared_intensities, normal_modes
from palirs.vibrations.molden import write_molden

BOHR = 0.5291772105638411


def sections(path):
    """Return the lines of each section by its heading in capitals."""
    parts = re.split(r"^\s*(\[[^\]]*\].*)$", path.read_text(), flags=re.MULTILINE)
    headings, contents = parts[1::2], parts[2::2]
    assert headings[0] == "[Molden Format]"
    return {
        heading.strip().upper(): content.strip("\n").splitlines()
        for heading, content in zip(headings, contents, strict=True)
    }


def columns(lines):
    return np.array([line.split()[-3:] for line in lines], dtype=float)


@pytest.fixture(scope="module")
def hessian():
    """Of a molecule that does not exist, with two imaginary modes [eV/Å²]."""
    rng = np.random.default_rng(7)
    spread = rng.normal(size=(18, 18))
    return spread @ np.diag([-80.0, -60.0, *np.linspace(5, 60, 16)]) @ spread.T / 18


@pytest.fixture(scope="module")
def vibrations(hessian):
    atoms = table()["methanol"].copy()
    atoms.rotate(30, "x")
    masses = atoms.get_masses()
    masses[3] = 2.014
    atoms.set_masses(masses)
    frequencies, modes = normal_modes(atoms, hessian)
    gradient = np.random.default_rng(8).normal(size=(18, 3))
    return Harmonic(atoms, frequencies, modes, infrared_intensities(modes, gradient))


@pytest.fixture
def read(vibrations, tmp_path):
    write_molden(tmp_path / "a" / "methanol.molden", vibrations, "methanol, GFN2-xTB")
    return sections(tmp_path / "a" / "methanol.molden")


def test_the_geometry_is_in_bohr(vibrations, read):
    atoms = vibrations.atoms
    for heading in ("[ATOMS] AU", "[FR-COORD]"):
        np.testing.assert_allclose(columns(read[heading]) * BOHR, atoms.positions, atol=1e-8)
        assert [line.split()[0] for line in read[heading]] == atoms.get_chemical_symbols()
    for number, line in enumerate(read["[ATOMS] AU"], start=1):
        symbol, place, charge = line.split()[:3]
        assert int(place) == number and chemical_symbols[int(charge)] == symbol


def test_imaginary_wavenumbers_are_negative_and_intensities_in_their_order(vibrations, read):
    frequencies = np.array(read["[FREQ]"], dtype=float)
    np.testing.assert_allclose(frequencies, vibrations.frequencies, atol=1e-6)
    assert (frequencies < -10).sum() == 2 and (frequencies > 10).sum() == 10
    np.testing.assert_allclose(np.array(read["[INT]"], float), vibrations.intensities, atol=1e-6)


def test_displacements_are_cartesian_and_those_of_the_hessian(vibrations, hessian, read):
    """Their Rayleigh quotients are the squares of the frequencies; weighted by masses, they are
    orthogonal, and neither is true of mass-weighted displacements."""
    lines = read["[FR-NORM-COORD]"]
    headings = [line.split() for line in lines[::7]]
    assert headings == [["vibration", str(number)] for number in range(1, 13)]
    modes = np.array([columns(lines[7 * n + 1 : 7 * n + 7]) for n in range(12)])
    flat = modes.reshape(12, 18)
    np.testing.assert_allclose(np.linalg.norm(flat, axis=1), 1, atol=1e-8)
    masses = np.repeat(vibrations.atoms.get_masses(), 3)
    kinetic = flat @ np.diag(masses) @ flat.T
    norms = np.sqrt(np.diag(kinetic))
    np.testing.assert_allclose(kinetic / np.outer(norms, norms), np.eye(12), atol=1e-7)
    squares = np.diag(flat @ hessian @ flat.T) / np.diag(kinetic)  # eV/(Å² amu)
    wavenumbers = np.sign(squares) * np.sqrt(np.abs(squares)) * units._hbar * 1e10
    wavenumbers /= np.sqrt(units._amu * units._e) * units.invcm
    np.testing.assert_allclose(wavenumbers, np.array(read["[FREQ]"], float), rtol=1e-5)


def test_intensities_come_before_the_normal_coordinates_or_not_at_all(vibrations, read, tmp_path):
    """Open Babel overlooks them after these."""
    order = list(read)
    assert order.index("[INT]") < order.index("[FR-COORD]") < order.index("[FR-NORM-COORD]")
    write_molden(tmp_path / "b.molden", replace(vibrations, intensities=None), "b")
    assert "[INT]" not in sections(tmp_path / "b.molden")
    assert sections(tmp_path / "b.molden")["[TITLE]"] == [" b"]
