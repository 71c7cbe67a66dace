"""What a budget of labels leaves, and how it is shared out."""

from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms

from palirs import keys
from palirs.learning.loop import _wanted
from palirs.learning.quality.learning_curve import LearningCurve
from palirs.learning.state import LearningState, within_budget
from palirs.recipes import PalirsError
from palirs.settings import Learning

UNKNOWN = LearningCurve(np.zeros(0), np.zeros(0))


def frames(**counts):
    return [
        Atoms("H", info={keys.MOLECULE: name, "number": number})
        for name, count in counts.items()
        for number in range(count)
    ]


def test_a_budget_is_shared_out_evenly_and_the_best_frames_come_first():
    chosen = within_budget(frames(a=6, b=2, c=6), 8)
    names = [(atoms.info[keys.MOLECULE], atoms.info["number"]) for atoms in chosen]
    assert names == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("c", 0), ("c", 1), ("c", 2)]
    assert within_budget(frames(a=3), 9) == frames(a=3)


def wanted(budget, state, count=20):
    setup = SimpleNamespace(
        learning=Learning(budget=budget),
        paid=38,
        training=SimpleNamespace(test_fraction=0.2),
        references=[None],
    )
    return _wanted(frames(a=count), set(), state, setup, UNKNOWN)


def test_no_label_is_paid_for_beyond_the_budget():
    used = LearningState(2, frames(a=52), [])
    assert len(wanted(100, used)) == 10
    assert len(wanted(None, used)) == 20
    assert used.finished(Learning(budget=90), 38)
    assert not used.finished(Learning(budget=91), 38)
    assert used.finished(Learning(budget=130), 80), "another molecule's Hessian came to it"
    first = LearningState(0, [], [])
    assert len(wanted(55, first)) == 17, "relaxation and Hessian have taken 38"
    assert not first.finished(Learning(budget=20), 38), "the error says why"


def test_a_budget_that_leaves_nothing_to_learn_from_is_refused():
    with pytest.raises(PalirsError, match=r"learning\.budget = 40: .* took 38 labels.*least 53"):
        wanted(40, LearningState(0, [], []))
    assert len(wanted(53, LearningState(0, [], []))) == 15
    assert len(wanted(40, LearningState(0, [], []), count=2)) == 2, "no more were asked for"
