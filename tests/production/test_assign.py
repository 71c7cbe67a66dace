"""The table of bands: what a band is called, and who is named beside it."""

import numpy as np
import pytest
from ase.build import molecule

from palirs import keys
from palirs.engines import TBLite
from palirs.production import assign
from palirs.report.band_tables import in_words, mode_table
from palirs.spectra import Spectrum
from palirs.spectra.assignment import assignment
from palirs.vibrations import minimum

GRID = np.arange(0.0, 5000.0, 2.0)


@pytest.fixture(scope="module")
def formaldehyde():
    atoms = molecule("H2CO")
    atoms.info[keys.MOLECULE] = "formaldehyde"
    return minimum(atoms, TBLite())


def broadened(frequencies, intensities, width=15.0):
    lines = np.exp(-0.5 * ((GRID - frequencies[:, None]) / width) ** 2) / (
        width * np.sqrt(2 * np.pi)
    )
    return Spectrum(GRID, intensities @ lines)


def test_a_band_is_called_by_what_gives_most_of_it():
    assert assignment(["a", "b"], np.array([9.0, 1.0])) == ("a", pytest.approx(0.9))
    assert assignment(["a", "b"], np.array([5.0, 4.0])) == ("a; b", pytest.approx(1.0))
    assert assignment(["a", "a", "b"], np.array([4.0, 4.0, 2.0])) == ("a", pytest.approx(0.8))
    assert assignment(["X symmetric stretch", "X antisymmetric stretch"], np.array([5.0, 4.0])) == (
        "X stretch",
        pytest.approx(1.0),
    )
    assert (
        assignment(["X symmetric stretch", "X antisymmetric stretch"], np.array([9.0, 1.0]))[0]
        == "X symmetric stretch"
    )
    assert assignment(["a"], np.array([0.0])) == ("", 0.0)


def test_the_harmonic_spectrum_is_assigned_to_its_own_modes(formaldehyde):
    shown = broadened(formaldehyde.frequencies, formaldehyde.intensities)
    experiment = broadened(np.array([1249.0, 1746.0, 2800.0]), np.array([10.0, 60.0, 100.0]))
    rows = assign(
        {"predicted": shown, "experiment": experiment}, (500.0, 4000.0), formaldehyde, None, None
    )
    named = {row["assignment"]: row for row in rows}
    assert {"CH₂ rock", "C=O stretch"} <= set(named)
    row = named["C=O stretch"]
    assert row["position_cm1"] == pytest.approx(1806, abs=2)
    assert row["area_km_per_mol"] == pytest.approx(150.9, rel=0.02)
    assert row["harmonic_area_km_per_mol"] == pytest.approx(150.9, rel=0.02)
    assert row["engine_harmonic_cm1"] == pytest.approx(1806, abs=1)
    assert row["experiment_cm1"] == pytest.approx(1746, abs=1)
    assert in_words(rows)[0]["experiment"] == "1249"


def test_the_motion_of_modes_decides_where_it_is_known(formaldehyde):
    """The mode at 1203 cm⁻¹ moves at 1806 in this MD, and that at 1806 at 1203."""
    lines = np.array(
        [broadened(np.array([one]), np.array([1.0])).intensity for one in formaldehyde.frequencies]
    )
    lines[[1, 3]] = lines[[3, 1]]
    shown = Spectrum(GRID, formaldehyde.intensities @ lines)
    rows = assign({"predicted": shown}, (500.0, 4000.0), formaldehyde, None, (GRID, lines))
    assert {row["assignment"] for row in rows if row["position_cm1"] < 1300} >= {"C=O stretch"}


def test_a_band_that_no_mode_explains_is_said(formaldehyde):
    overtone = broadened(
        np.append(formaldehyde.frequencies, 2200.0), np.append(formaldehyde.intensities, 40.0)
    )
    rows = assign({"predicted": overtone}, (500.0, 4000.0), formaldehyde, None, None)
    (row,) = [row for row in rows if abs(row["position_cm1"] - 2200) < 5]
    assert row["assignment"].startswith("no fundamental")
    assert sum(str(row["assignment"]).startswith("no fundamental") for row in rows) == 1


def test_a_row_for_each_mode(formaldehyde):
    rows = mode_table(formaldehyde, formaldehyde)
    assert len(rows) == 6
    assert rows[3]["motion"].startswith("C=O stretch 8")
    assert rows[3]["engine_cm1"] == rows[3]["committee_cm1"]
    assert rows[3]["engine_km_per_mol"] == rows[3]["committee_km_per_mol"]
    assert "committee_cm1" not in mode_table(formaldehyde, None)[0]
