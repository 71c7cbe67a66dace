import numpy as np
import pytest
from ase import Atoms

from palirs import keys
from palirs.learning.quality.calibration import Calibration, calibrate


def test_the_factor_gives_the_mean_error_and_the_upper_one_covers():
    """On frames that were not used for it: errors that scatter about twice the spread."""
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.001, 0.02, size=400)
    error = 2 * spread * rng.lognormal(sigma=0.5, size=400) / np.exp(0.125)
    known = Calibration(spread[:100], error[:100])
    assert known.factor * spread[100:].mean() == pytest.approx(error[100:].mean(), rel=0.15)
    covered = np.mean(error[100:] <= known.upper(0.9) * spread[100:])
    assert 0.85 < covered < 0.96


def test_one_frame_far_out_does_not_decide():
    rng = np.random.default_rng(2)
    spread = rng.uniform(0.003, 0.01, size=30)
    error = 0.6 * spread * rng.lognormal(sigma=0.3, size=30)
    plain = Calibration(spread, error).factor
    assert Calibration(np.append(spread, 0.12), np.append(error, 0.32)).factor == pytest.approx(
        plain, rel=0.12
    )


def test_coverage_holds_on_average_over_small_sets():
    """A conformal factor covers at least its level, also when it comes from a dozen frames."""
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(2000):
        ratio = rng.lognormal(size=13)
        known = Calibration(np.ones(12), ratio[:12])
        covered.append(ratio[12] <= known.upper(0.8))
    assert np.mean(covered) == pytest.approx(0.8 + 0.05, abs=0.05)
    assert np.mean(covered) >= 0.79


def test_too_few_frames_cover_nothing_and_a_committee_of_one_has_no_factor():
    few = Calibration(np.ones(5), np.ones(5))
    assert few.upper(0.9) == np.inf
    assert set(few.metrics()) == {"committee.calibration"}
    assert Calibration(np.zeros(20), np.ones(20)).metrics().keys() == {"committee.calibration_90"}


def test_spread_and_error_of_a_committee():
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.8]], info={keys.MOLECULE: "H2"})
    atoms.arrays[keys.FORCES] = np.array([[0, 0, 1.0], [0, 0, -1.0]])

    class Two:
        def evaluate(self, frames):
            forces = np.array([[[0, 0, 1.1], [0, 0, -1.1]], [[0, 0, 1.3], [0, 0, -1.3]]])
            return type("Found", (), {"forces": [forces for _ in frames]})

    found = calibrate(Two(), [atoms, atoms])
    np.testing.assert_allclose(found.spread, 0.1)
    np.testing.assert_allclose(found.error, 0.2 / 3)
    assert found.factor == pytest.approx(2 / 3)
