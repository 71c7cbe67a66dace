"""What is labelled before learning ends, and whose error then decides."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms

from palirs import keys
from palirs.learning import confirmation
from palirs.learning.completed import CONFIRMED, MEASURED, complete_iterations, read_metrics
from palirs.learning.confirmation import Confirmation, below_goal, confirm
from palirs.learning.loop import _wanted
from palirs.learning.quality.learning_curve import LearningCurve
from palirs.learning.state import LearningState
from palirs.settings import Learning, Sampler

ROOT = Path(__file__).parents[2]


def frames(molecule, count, first=0):
    info = {keys.MOLECULE: molecule, keys.ORIGIN: "md", keys.SPLIT: "test"}
    return [
        Atoms("H2", [[0, 0, 0], [0, 0, 0.7 + 0.01 * number]], info=dict(info))
        for number in range(first, first + count)
    ]


class Labeller:
    def __init__(self):
        self.paid = []

    def label(self, frames, title):
        self.paid += frames
        return list(frames)


def measured(monkeypatch, dataset, drawn, **goals):
    """Confirm two molecules with made-up errors: as many meV/Å as a molecule has frames."""
    monkeypatch.setattr(confirmation, "load_committee", lambda path: None)
    monkeypatch.setattr(confirmation, "last_iteration", lambda path: None)
    monkeypatch.setattr(confirmation, "force_error", lambda c, frames: (float(len(frames)), 0.1))
    setup = SimpleNamespace(learning=Learning(**goals), sampler=Sampler(), directory=None, paid=20)
    labeller = Labeller()
    state = LearningState(1, dataset, [])
    return confirm({"a", "b"}, drawn, setup, state, labeller), labeller.paid


def test_only_frames_that_are_missing_are_paid_for(monkeypatch):
    dataset = frames("a", 4)
    result, paid = measured(monkeypatch, dataset, frames("a", 6, 10) + frames("b", 6, 20))
    assert [atoms.info[keys.MOLECULE] for atoms in paid] == ["a"] * 2 + ["b"] * 6
    assert result.errors == {"a": (6.0, 0.1), "b": (6.0, 0.1)}
    learnt = frames("a", 6, 10)
    for atoms in learnt:
        atoms.info[keys.ORIGIN] = "exploration"
    result, paid = measured(monkeypatch, dataset, learnt)
    assert not paid, "what a selector chose is no test"
    assert result.errors == {"a": (4.0, 0.1)}


def test_no_more_than_the_budget_leaves(monkeypatch):
    drawn = frames("a", 6, 10) + frames("b", 6, 20)
    _, paid = measured(monkeypatch, frames("a", 2), drawn, budget=27)
    assert len(paid) == 5, "relaxations and Hessians took 20, two frames were labelled"


@pytest.mark.parametrize("goals", [{"confirm": 0}, {"forces_mae": None}])
def test_nothing_is_paid_where_the_expected_error_or_nothing_decides(goals, monkeypatch):
    result, paid = measured(monkeypatch, [], frames("a", 6), **goals)
    assert (paid, result) == ([], Confirmation())


def test_the_measured_error_decides_molecule_by_molecule_or_on_average():
    result = Confirmation(errors={"a": (6.0, 1.0), "b": (12.0, 1.0)})
    both = {"a", "b", "c"}
    assert result.converged(both, together=False, limit=10.0) == {"a", "c"}
    assert result.converged(both, together=True, limit=10.0) == both
    assert result.converged(both, together=True, limit=8.0) == set()
    setup = SimpleNamespace(learning=Learning(forces_mae=10.0), molecules=["a", "b", "c"])
    metrics = result.metrics() | {CONFIRMED: 1.0}
    assert not below_goal(metrics, setup)
    setup.learning = Learning(forces_mae=15.0)
    assert below_goal(metrics, setup), "c could not be measured"
    assert not below_goal(metrics | {CONFIRMED: 0.0}, setup), "learning ended as it stalled"
    setup.learning = Learning(forces_mae=10.0, converge="together")
    assert below_goal(metrics, setup)
    assert not below_goal({}, setup)
    assert result.corrected({"a": 9.0, "b": 4.0, "c": 1.0}) == [9.0, 12.0, 1.0]


def test_what_confirmation_took_is_not_spent_again():
    setup = SimpleNamespace(
        learning=Learning(budget=40),
        paid=20,
        training=SimpleNamespace(test_fraction=0.2),
        references=[None],
    )
    state, curve = LearningState(2, frames("a", 10), []), LearningCurve(np.zeros(0), np.zeros(0))
    assert len(_wanted(frames("a", 20, 20), set(), state, setup, curve)) == 10
    assert len(_wanted(frames("a", 20, 20), set(), state, setup, curve, 6)) == 4


@pytest.mark.thorough
def test_a_study_ends_with_what_it_measured_and_goes_on_with_other_goals(tmp_path):
    """No training for it; then the frames go on to test, and nothing is paid for twice."""
    study = tmp_path / "study"

    def run(*more):
        settings = f"experiment=tiny task=active_learning study={study} tracker=none "
        settings += "learning.harmonic_mae=1e4 learning.iterations=2"
        command = [sys.executable, "run.py", *settings.split(), *more]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=600)
        return complete_iterations(study)

    first, second = run("learning.forces_mae=1e5")
    before, after = read_metrics(first), read_metrics(second)
    assert MEASURED not in before
    assert after[MEASURED] == pytest.approx(after["forces.md.mae_meV_per_A"])
    new = after["labels.used"] - before["labels.used"]
    assert 3 <= new <= 6, "50 fs of MD, drawn at least 10 fs apart"
    assert not any(key.startswith("time.training") for key in after)
    for name in ("potential-0.safetensors", "potential-2.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert len(run("learning.forces_mae=1e5")) == 2
    third = run("learning.forces_mae=1")[2:]
    assert len(third) == 1, "what only confirmed is not counted as a training"
    tested = [read_metrics(place)["forces.md.mae_meV_per_A"] for place in third]
    assert np.isfinite(tested).all()
    assert MEASURED not in read_metrics(third[0])
    assert read_metrics(third[0])["labels.used"] == after["labels.used"] + 2
