"""Which conformers trajectories start from, and how they count."""

import numpy as np
import pytest

from palirs.production import ConformerEnsemble
from palirs.spectra import Strata, infrared_spectrum
from palirs.vibrations import Harmonic


def starts(shares, weighted):
    from ase.build import molecule

    water = molecule("H2O")
    return ConformerEnsemble(
        Harmonic(water, np.zeros(3), np.zeros((3, 3, 3))),
        (water,) * len(shares),
        tuple(shares),
        weighted,
    )


def test_replicas_are_shared_out_in_proportion_and_more_change_none_before():
    one = starts((0.2, 0.5, 0.3), weighted=False)
    many = one.conformer_of(1000)
    assert np.bincount(many) == pytest.approx([200, 500, 300], abs=1)
    assert all(one.conformer_of(count) == many[:count] for count in range(40))
    assert many[0] == 1


def test_with_weights_each_conformer_that_is_not_rare_has_a_trajectory():
    chosen = starts((0.94, 0.03, 0.025, 0.005), weighted=True).conformer_of(6)
    assert sorted(chosen) == [0, 0, 0, 0, 1, 2]


def noise(seed, scale):
    return scale * np.cumsum(np.random.default_rng(seed).normal(size=(8, 6000, 3)), axis=1)


def test_a_weighted_spectrum_is_the_weighted_mean_of_those_of_the_kinds():
    first, second = noise(1, 1.0), noise(2, 3.0)
    members = (0,) * 8 + (1,) * 8
    both = infrared_spectrum(
        np.concatenate([first, second]), 1.0, strata=Strata(members, (0.9, 0.1))
    )
    one, other = (infrared_spectrum(part, 1.0) for part in (first, second))
    np.testing.assert_allclose(
        both.intensity, 0.9 * one.intensity + 0.1 * other.intensity, rtol=1e-9
    )
    np.testing.assert_allclose(both.error, np.hypot(0.9 * one.error, 0.1 * other.error), rtol=1e-9)


def test_the_error_of_few_trajectories_of_each_kind_is_that_of_their_means():
    """Three of one kind and two of the other.

    Each variance has one less than there are in its denominator.
    """
    first, second = noise(1, 1.0)[:3], noise(2, 3.0)[:2]
    both = infrared_spectrum(
        np.concatenate([first, second]), 1.0, strata=Strata((0, 0, 0, 1, 1), (0.7, 0.3))
    )
    one, other = (infrared_spectrum(part, 1.0) for part in (first, second))
    np.testing.assert_allclose(both.error, np.hypot(0.7 * one.error, 0.3 * other.error), rtol=1e-9)


def test_one_stretch_of_a_kind_says_nothing_of_its_error():
    values = np.concatenate([noise(1, 1.0)[:3], noise(2, 3.0)[:1]])
    some = infrared_spectrum(values, 1.0, strata=Strata((0, 0, 0, 1), (0.7, 0.3)))
    assert np.isnan(some.error).all() and some.blocks is None


def test_shares_as_many_as_trajectories_change_nothing_but_the_error():
    """Stratified, the difference between the kinds is no part of the error."""
    values = np.concatenate([noise(1, 1.0), noise(2, 3.0)])
    plain = infrared_spectrum(values, 1.0)
    same = infrared_spectrum(values, 1.0, strata=Strata((0,) * 8 + (1,) * 8, (0.5, 0.5)))
    np.testing.assert_allclose(plain.intensity, same.intensity, rtol=1e-9)
    assert (same.error < plain.error).mean() > 0.9


def test_kinds_without_a_trajectory_are_left_out():
    values = noise(1, 1.0)
    some = infrared_spectrum(values, 1.0, strata=Strata((2,) * 8, (0.5, 0.3, 0.2)))
    np.testing.assert_allclose(some.intensity, infrared_spectrum(values, 1.0).intensity, rtol=1e-12)
