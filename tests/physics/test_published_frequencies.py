"""Published harmonic frequencies and intensities.

Through our own harmonic analysis and the PySCF engine.
"""

import csv

import numpy as np
import pytest
from ase import Atoms

from palirs.engines import PySCF
from palirs.vibrations import harmonic, optimise

GEOMETRY = {
    ("water", "RHF", "cc-pVDZ"): (
        "OHH",
        [[0, 0, 0.1157], [0, 0.7488, -0.4629], [0, -0.7488, -0.4629]],
    ),
    ("water", "B3LYP", "6-31G"): (
        "OHH",
        [[0, 0, 0.1174], [-0.757, 0, -0.4696], [0.757, 0, -0.4696]],
    ),
}


@pytest.fixture(scope="module")
def published(shared):
    with open(shared / "theory" / "harmonic_references.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return lambda *what: [
        row for row in rows if (row["molecule"], row["method"], row["basis"]) == what
    ]


def engine(method, basis):
    return PySCF(
        functional="hf" if method == "RHF" else method,
        basis=basis,
        density_fitting=False,
        dispersion=None,
    )


@pytest.mark.parametrize("what", GEOMETRY, ids="/".join)
def test_water(published, what):
    rows = published(*what)
    found = harmonic(Atoms(*GEOMETRY[what]), engine(*what[1:]))
    tolerance, share = (
        (0.1, 0.005) if what[1] == "RHF" else (0.2, 0.01)
    )  # of DFT with another grid, which does not move with the atoms
    np.testing.assert_allclose(
        found.frequencies, [float(row["harmonic_cm1"]) for row in rows], atol=tolerance
    )
    np.testing.assert_allclose(
        found.intensities, [float(row["ir_km_per_mol"]) for row in rows], rtol=share
    )


def test_formaldehyde(published):
    rows = published("formaldehyde", "RHF", "6-31G* (spherical)")
    r, angle = 1.0915309601, np.deg2rad(122.1401534366)
    hydrogen = [r * np.sin(angle), 0, r * np.cos(angle)]
    atoms = Atoms(
        "OCHH", [[0, 0, 1.1843393306], [0, 0, 0], hydrogen, [-hydrogen[0], 0, hydrogen[2]]]
    )
    hf = PySCF(functional="hf", basis="6-31g*", density_fitting=False, dispersion=None)
    optimum = optimise(atoms, hf, fmax=1e-4)
    np.testing.assert_allclose(optimum.get_distance(0, 1), 1.1843393306, atol=5e-5)
    optimum.set_masses(
        [15.99491462, 12.0, 1.00782503, 1.00782503]
    )  # the published ones are of single isotopes
    np.testing.assert_allclose(
        harmonic(optimum, hf).frequencies, [float(row["harmonic_cm1"]) for row in rows], atol=0.2
    )
