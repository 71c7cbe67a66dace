"""What the next labels will buy, and when they buy nothing."""

import numpy as np
import pytest

from palirs.learning.quality.learning_curve import LearningCurve, stalled
from palirs.settings import Learning

SIZES = np.array([20.0, 30.0, 45.0, 70.0])


def test_a_power_law_is_continued():
    curve = LearningCurve(SIZES, 400.0 / SIZES)
    value, low, high = curve.forecast(30)
    assert value == pytest.approx(4.0)
    assert low == pytest.approx(high, rel=1e-6)


@pytest.mark.parametrize("count", [3, 6])
def test_scatter_widens_the_interval_and_it_covers_as_often_as_it_says(count):
    rng = np.random.default_rng(0)
    sizes, inside, told = 20.0 + 15 * np.arange(count), 0, 0
    for _ in range(1000):
        errors = 300.0 / sizes * np.exp(0.1 * rng.normal(size=count))
        forecast = LearningCurve(sizes, errors).forecast(10)
        if forecast is not None:
            told += 1
            truth = 300.0 / (sizes[-1] + 10) * np.exp(0.1 * rng.normal())
            inside += forecast[1] < truth < forecast[2]
    assert told > 900
    assert inside / told == pytest.approx(0.68, abs=0.05)


def test_errors_that_rise_and_zeros_give_no_forecast():
    assert LearningCurve(SIZES, SIZES / 10).forecast(10) is None
    assert LearningCurve(SIZES, np.zeros(4)).forecast(10) is None
    assert LearningCurve(SIZES, np.array([20, 10, 5, np.nan])).forecast(10) is None


def test_nothing_is_said_of_two_points_or_unknown_errors():
    assert LearningCurve(SIZES[:2], 100 / SIZES[:2]).forecast(10) is None
    unknown = np.array([np.nan, 9.0, np.nan, 8.0])
    assert LearningCurve(SIZES, unknown).forecast(10) is None


def history(forces, **errors):
    """Return the metrics of iterations; an iteration's forces are told by the next one."""
    rows = []
    for number, size in enumerate(SIZES):
        row = {"dataset.size": size, "harmonic.failed": 0.0}
        if number and np.isfinite(forces[number - 1]):
            row["exploration.force_error_meV_per_A"] = forces[number - 1]
        row |= {key.replace("__", "."): values[number] for key, values in errors.items()}
        row["harmonic.mae_cm1"] = row.get("harmonic.mae_cm1", 2.0)
        rows.append(row)
    return rows


def frequencies(*values, molecule="a"):
    return {f"harmonic__mae_cm1__{molecule}": values}


@pytest.mark.parametrize(
    ("forces", "errors", "ends"),
    [
        ([20, 12, 11.9, 12.5], frequencies(2, 2, 2, 2), False),  # two iterations without gain
        ([12, 12.5, 12, 11.8], frequencies(2, 2, 2, 2), True),
        ([12, 12.5, 9.0, 12], frequencies(2, 2, 2, 2), False),
        ([9, 9, 9, 9], frequencies(6, 6.1, 5.9, 6.2), True),  # forces good, frequencies stay
        ([9, 9, 9, 9], frequencies(6, 6.1, 5.5, 6.2), False),
        ([12, 12, 12, 12], frequencies(6, 5.5, 5.2, 5.1), False),  # frequencies get better
        ([9, 9, 9, 9], frequencies(2, 2, 2, 2), False),  # nothing is missing
        ([12, np.nan, np.nan, np.nan], frequencies(2, 2, 2, 2), True),  # trajectories break
        (
            [9, 9, 9, 9],
            frequencies(0.5, 0.5, 0.5, 0.5) | frequencies(8, 8, 8, 8, molecule="b"),
            True,  # b misses its goal, though the average does not
        ),
        (
            [9, 9, 9, 9],
            frequencies(20, 20, 20, 20) | frequencies(8, 7.5, 7, 6, molecule="b"),
            False,  # b gets better, hidden in the average
        ),
    ],
)
def test_learning_has_stalled_when_nothing_that_is_missing_gets_better(forces, errors, ends):
    rows = history(forces, **errors)
    assert stalled(rows, forces[-1], Learning(patience=3)) == ends
    assert not stalled(rows, forces[-1], Learning(patience=None))


def test_intensities_count_where_they_have_a_goal():
    better = {"harmonic__intensity_mae_km_per_mol__a": (1.0,) * 4}
    better |= {"harmonic__intensity_relative__a": (0.5, 0.25, 0.125, 0.06)}
    stuck = {**better, "harmonic__intensity_relative__a": (0.2,) * 4}
    goals, forces = Learning(patience=3, intensities=0.05), [9.0] * 4
    assert not stalled(history(forces, **frequencies(6, 6, 6, 6), **better), 9.0, goals)
    assert stalled(history(forces, **frequencies(2, 2, 2, 2), **stuck), 9.0, goals)


def test_errors_belong_to_the_committee_that_was_explored_with():
    history = [
        {"dataset.size": 20.0, "harmonic.mae_cm1": 9.0},
        {"dataset.size": 30.0, "harmonic.mae_cm1": 5.0, "exploration.force_error_meV_per_A": 40.0},
        {"dataset.size": 42.0, "harmonic.mae_cm1": 4.0},
    ]
    curve = LearningCurve.of(history, 8.0)
    np.testing.assert_array_equal(curve.structures, [20, 30, 42])
    np.testing.assert_array_equal(curve.forces, [40.0, np.nan, 8.0])
    assert len(LearningCurve.of([], np.inf).forces) == 0
