"""Samples for anharmonic levels: which are labelled, and when it is enough."""

from types import SimpleNamespace

import numpy as np
import pytest

from palirs import keys
from palirs.engines import TBLite
from palirs.geometry.distinct import StructureIndex
from palirs.learning.quality.convergence import ANHARMONIC, HarmonicErrors
from palirs.learning.quality.learning_curve import stalled
from palirs.learning.quantum import quantum_frames
from palirs.molecules import Molecules
from palirs.selection import Distant, Selector
from palirs.settings import Learning
from palirs.vibrations import minimum


@pytest.fixture(scope="module")
def methanol():
    return minimum(Molecules(names=("methanol",)).load()[0], TBLite())


def drawn(committee, reference, *, frames=12, iteration=1, dataset=(), names=("methanol",)):
    """Return the frames that are labelled of one molecule."""
    setup = SimpleNamespace(
        references=(reference,),
        selector=Selector(choice=Distant(), per="molecule", frames=frames),
        temperature=300.0,
        seed=1,
    )
    state = SimpleNamespace(dataset=list(dataset), walkers=[], iteration=iteration, metrics={})
    return quantum_frames(committee, setup, state, names)


def test_half_of_the_labels_are_quantum_samples_and_some_test(committee, methanol):
    frames = drawn(committee, methanol)
    tests = [atoms for atoms in frames if atoms.info.get(keys.SPLIT) == "test"]
    assert (len(frames), len(tests)) == (7, 1)
    assert {atoms.info[keys.ORIGIN] for atoms in frames} <= {"quantum", "turned"}
    assert len({atoms.info[keys.GROUP] for atoms in frames}) == 7, "each is a group of its own"
    assert drawn(committee, methanol, names=("ethanol",)) == []


def test_draws_depend_on_the_iteration_and_nothing_else(committee, methanol):
    once, again, later = (
        np.array([atoms.positions for atoms in drawn(committee, methanol, iteration=iteration)])
        for iteration in (1, 1, 2)
    )
    np.testing.assert_array_equal(once, again)
    assert np.abs(once - later).max() > 0.01


def test_what_is_labelled_is_not_chosen_again(committee, methanol):
    first = drawn(committee, methanol)
    second = drawn(committee, methanol, dataset=first)
    index = StructureIndex(first)
    assert second and all(index.add(atoms) for atoms in second)


def test_they_are_as_wide_as_quantum_nuclei(committee, methanol):
    optimum = methanol.atoms
    bonds = [(i, j) for i in range(6) for j in range(i) if optimum.get_distance(i, j) < 1.2]
    frames = drawn(committee, methanol, frames=80)
    lengths = np.array([[atoms.get_distance(*bond) for bond in bonds] for atoms in frames])
    # X–H bonds: 0.07 Å by zero-point energy, 0.03 Å by heat at 300 K
    assert 0.05 < (lengths - lengths.mean(axis=0)).std() < 0.11


@pytest.mark.parametrize("converge", ["each", "together"])
def test_members_have_to_agree_on_the_levels(converge):
    goals = Learning(anharmonic=5.0, converge=converge)
    metrics = {"harmonic.mae_cm1": 1.0, "harmonic.mae_cm1.water": 1.0, "harmonic.failed": 0}

    def converged(**spread: float) -> bool:
        own = {f"{ANHARMONIC}.{name}": value for name, value in spread.items()}
        return HarmonicErrors.from_metrics({**metrics, **own}).converged(goals)

    assert converged(water=4.9)
    assert not converged(water=5.1)
    assert not converged(), "no level is none that is sure"
    assert HarmonicErrors.from_metrics(metrics).converged(Learning(converge=converge))


def test_a_spread_that_gets_smaller_is_no_stall():
    goals = Learning(anharmonic=5.0, patience=2)
    same = {"harmonic.mae_cm1": 1.0, "harmonic.mae_cm1.water": 1.0, "harmonic.failed": 0}
    same |= {"dataset.size": 20.0, "exploration.force_error_meV_per_A": 2.0}

    def history(*spreads: float) -> list[dict[str, float]]:
        return [{**same, f"{ANHARMONIC}.water": spread} for spread in spreads]

    assert stalled(history(20.0, 20.0, 20.0), 2.0, goals)
    assert not stalled(history(20.0, 15.0, 10.0), 2.0, goals)
