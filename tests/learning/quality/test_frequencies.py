import numpy as np
import pytest
from ase.build import molecule

from palirs import keys
from palirs.engines.tblite import TBLite
from palirs.learning.quality import frequencies
from palirs.learning.quality.convergence import HarmonicErrors
from palirs.learning.quality.frequencies import (
    FrequencyComparison,
    IntensityComparison,
    compare_frequencies,
    intensities_in_words,
    own_vibrations,
)
from palirs.settings import Learning
from palirs.vibrations import minimum
from palirs.vibrations.matching import displacement, overlap


class AsCommittee(TBLite):
    """An engine in the place of a committee."""

    def double(self):
        return self


@pytest.fixture(scope="module")
def water():
    atoms = molecule("H2O")
    atoms.info[keys.MOLECULE] = "water"
    return minimum(atoms, TBLite())


def test_a_committee_as_good_as_the_engine_has_its_frequencies(water):
    found = compare_frequencies(AsCommittee(), [water])
    assert found.metrics()["harmonic.mae_cm1"] < 0.5
    assert found.metrics()["harmonic.failed"] == 0
    other = compare_frequencies(AsCommittee(method="GFN1-xTB"), [water]).metrics()
    assert other["harmonic.mae_cm1"] > 10


def test_a_molecule_without_an_optimum_has_failed_and_the_loop_goes_on(water, monkeypatch):
    """It is not counted with the frequencies of the engine's geometry, as if it had converged."""
    monkeypatch.setattr(frequencies, "STEPS", 1)
    found = compare_frequencies(AsCommittee(method="GFN1-xTB"), [water])
    metrics = found.metrics()
    assert metrics["harmonic.failed"] == 1
    assert np.isnan(metrics["harmonic.mae_cm1"])
    assert "water: the committee finds no optimum within 1 steps" in found.remarks()
    assert not HarmonicErrors.from_metrics(metrics).converged(Learning(harmonic_mae=1e4))


def test_an_optimum_elsewhere_has_failed(water, monkeypatch):
    monkeypatch.setattr(frequencies, "ELSEWHERE", 1e-4)
    found = compare_frequencies(AsCommittee(method="GFN1-xTB"), [water])
    assert "is another one" in found.failed["water"]
    assert not found.predicted


def test_another_minimum_is_not_the_optimum():
    """Trans and cis formic acid have frequencies of their own; neither is wrong."""
    cis = molecule("HCOOH")
    cis.info[keys.MOLECULE] = "formic acid"
    known = minimum(cis, TBLite())
    elsewhere = known.atoms.copy()
    elsewhere.positions[cis.symbols.indices()["H"][0]] += [0.4, 0.4, 0.4]
    assert displacement(elsewhere, known.atoms) > frequencies.ELSEWHERE
    turned = known.atoms.copy()
    turned.rotate(50, (1, 2, 3))
    assert displacement(turned, known.atoms) < 1e-6


def test_remarks_name_lost_modes_and_the_worst():
    reference = {"a": np.array([100.0, 1000.0]), "b": np.array([200.0, 3000.0])}
    found = FrequencyComparison(
        reference, {"a": np.array([-30.0, 1001.0]), "b": np.array([199.0, 3009.0])}
    )
    assert found.remarks() == [
        "a: lost mode 100 cm⁻¹ (now imaginary); furthest off 100 → -30 cm⁻¹",
        "b: furthest off 3000 → 3009 cm⁻¹",
    ]
    assert found.metrics()["harmonic.mae_cm1"] == pytest.approx((130 + 1 + 1 + 9) / 4)


def test_a_source_has_its_own_intensities(water):
    mine = own_vibrations(AsCommittee(), None, [water])["water"]
    np.testing.assert_allclose(mine.intensities, water.intensities, rtol=1e-3, atol=0.02)
    np.testing.assert_allclose(overlap(water, water), np.eye(3), atol=1e-9)


def test_another_source_has_others_in_the_order_of_the_first(water):
    """GFN1 against GFN2: the bend stays the strongest mode, its intensity does not."""
    theirs = own_vibrations(AsCommittee(method="GFN1-xTB"), None, [water])["water"].intensities
    assert theirs.argmax() == water.intensities.argmax()
    assert abs(theirs.max() / water.intensities.max() - 1) > 0.02


def test_errors_by_molecule_and_of_strong_modes():
    found = IntensityComparison(
        {"a": np.array([100.0, 1.0]), "b": np.array([50.0])},
        {"a": np.array([90.0, 3.0]), "b": np.array([55.0])},
    ).metrics()
    assert found["harmonic.intensity_mae_km_per_mol"] == pytest.approx(17 / 3)
    assert found["harmonic.intensity_relative"] == pytest.approx(0.1)
    assert found["harmonic.intensity_mae_km_per_mol.a"] == pytest.approx(6)
    assert IntensityComparison().metrics() == {}


def test_where_no_mode_is_strong_there_is_no_relative_error_to_tell():
    found = IntensityComparison({"a": np.array([0.0, 1.0])}, {"a": np.array([0.5, 1.5])}).metrics()
    assert intensities_in_words(found) == "MAE 0.5 km/mol, no mode is stronger than 5 km/mol"
    found = IntensityComparison({"a": np.array([100.0])}, {"a": np.array([90.0])}).metrics()
    assert intensities_in_words(found) == "MAE 10.0 km/mol, strong modes off by 10 % on average"
