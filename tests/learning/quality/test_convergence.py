"""When active learning has converged."""

from dataclasses import replace

import numpy as np

from palirs.learning.quality.convergence import HarmonicErrors, converged_molecules
from palirs.learning.quality.frequencies import FrequencyComparison, IntensityComparison
from palirs.settings import Learning

EXPECTED = {"a": 5.0, "b": 5.0, "c": 5.0}
"""Errors of forces [meV/Å]."""


def test_a_molecule_that_has_converged_gets_no_more_labels():
    errors = HarmonicErrors(5.5, {"a": 2.0, "b": 9.0}, 0)

    def converged(expected, errors=errors, **goals):
        return converged_molecules(expected, errors, Learning(**{"forces_mae": 10.0, **goals}))

    assert converged(EXPECTED) == {"a"}, "b has not converged, c has failed"
    assert converged(EXPECTED, harmonic_mae=10.0) == {"a", "b"}
    assert converged({**EXPECTED, "a": 20.0}) == set()
    assert converged({"a": np.inf}) == set()
    assert converged({"a": np.inf}, forces_mae=None) == {"a"}, "no goal for its forces"
    assert converged({}) == set()
    assert converged(EXPECTED, converge="together") == set()
    near = replace(errors, frequency=4.0)
    assert converged(EXPECTED, near, converge="together") == {"a", "b", "c"}
    assert converged({**EXPECTED, "a": 50.0}, near, converge="together") == set(), "20 on average"
    assert converged(EXPECTED, near, converge="together", forces_mae=None) == set(), (
        "as published: the loop ends by itself"
    )


def test_each_molecule_or_their_average():
    errors = HarmonicErrors(4.0, {"a": 2.0, "b": 6.0}, 0)
    assert errors.converged(Learning(converge="together"))
    assert not errors.converged(Learning(converge="each"))
    assert errors.converged(Learning(converge="each", harmonic_mae=7.0))
    lenient = Learning(converge="together", harmonic_mae=7.0)
    assert not replace(errors, failed=1).converged(lenient)
    assert not HarmonicErrors().converged(lenient), "before the first iteration"


def test_intensities_count_where_they_have_a_goal():
    errors = HarmonicErrors(2.0, {"a": 2.0, "b": 2.0}, 0, 0.06, {"a": 0.03, "b": 0.09})
    asked = Learning(intensities=0.05)
    assert errors.converged(Learning())
    assert not errors.converged(asked)
    assert errors.converged(replace(asked, intensities=0.1))
    assert not errors.converged(replace(asked, converge="together"))
    assert errors.converged(replace(asked, converge="together", intensities=0.07))
    unknown = replace(errors, intensity=np.inf, intensities={})
    assert not unknown.converged(asked), "an iteration that did not compare them"
    assert converged_molecules(EXPECTED, errors, replace(asked, forces_mae=10.0)) == {"a"}


def test_errors_are_those_of_the_comparison():
    rng = np.random.default_rng(0)
    modes = {name: np.sort(rng.uniform(500, 3000, 6)) for name in ("a", "b.c", "lost")}
    frequencies = FrequencyComparison(
        modes,
        {name: modes[name] + rng.normal(size=6) for name in ("a", "b.c")},
        {"lost": "the committee finds no optimum"},
    )
    intensities = IntensityComparison(
        {"a": np.array([50.0, 3.0]), "b.c": np.array([1.0, 2.0])},
        {"a": np.array([60.0, 3.0]), "b.c": np.array([1.5, 2.0])},
    )
    alone = HarmonicErrors.from_metrics(frequencies.metrics())
    assert alone.frequency == frequencies.mae()
    assert alone.frequencies == {name: frequencies.mae(name) for name in ("a", "b.c")}
    assert alone.intensity == np.inf, "not compared"
    written = HarmonicErrors.from_metrics(frequencies.metrics() | intensities.metrics())
    assert written.intensities == {"a": 0.2, "b.c": 0.0}, "no mode of b.c is strong"
    assert written.intensity == 0.2
    assert written.failed == 1


def test_modes_that_were_learnt_do_not_hide_the_error_of_those_held_out():
    metrics = {"harmonic.mae_cm1": 0.4, "harmonic.mae_cm1.a": 0.3, "harmonic.mae_cm1.b": 0.5}
    metrics |= {"harmonic.failed": 0.0, "harmonic.intensity_mae_km_per_mol.a": 1.0}
    metrics |= {"harmonic.intensity_relative": 0.01, "harmonic.intensity_relative.a": 0.01}
    errors = {"harmonic.held_out_mae_cm1": 10.0, "harmonic.held_out_intensity": 0.3}
    errors |= {"harmonic.held_out_mae_cm1.a": 15.0, "harmonic.held_out_mae_cm1.b": 0.2}
    errors |= {"harmonic.held_out_intensity.a": 0.3}
    held_out = HarmonicErrors.from_metrics(metrics | errors)
    assert held_out.frequencies == {"a": 15.0, "b": 0.5}
    assert held_out.frequency == 10.0
    assert held_out.intensities == {"a": 0.3}
    assert held_out.molecule_converged("b", Learning())
    assert not held_out.molecule_converged("a", Learning(harmonic_mae=10.0))
    unknown = HarmonicErrors.from_metrics(metrics | {"harmonic.held_out_mae_cm1.b": np.nan})
    assert not unknown.molecule_converged("b", Learning(harmonic_mae=10.0))
