"""Anharmonic levels of a study: what is kept, and what is calculated again."""

from types import SimpleNamespace

import pytest

from palirs.engines import TBLite
from palirs.molecules import Molecules
from palirs.recipes import PalirsError
from palirs.tasks import levels
from palirs.vibrations import minimum
from palirs.vibrations.anharmonic.levels import Resonances

SETTINGS = {"step": 0.15, "extrapolate": True}


class Counted:
    """An engine that counts its calculations."""

    def __init__(self, engine):
        self.engine, self.count = engine, 0

    def calculate(self, frames):
        self.count += len(frames)
        return self.engine.calculate(frames)


@pytest.fixture(scope="module")
def water():
    return minimum(Molecules(names=("H2O",)).load()[0], TBLite())


def session(engine):
    return SimpleNamespace(labeller=Counted(engine), settings=SimpleNamespace(engine=engine))


def test_forces_are_calculated_once_and_thresholds_need_none(water, tmp_path):
    place, own = tmp_path / "H2O-engine", session(TBLite())
    first = levels._result(own, water, "engine", SETTINGS, None, place)
    paid = own.labeller.count
    assert paid > 43
    again = levels._result(own, water, "engine", SETTINGS, None, place)
    other = levels._result(own, water, "engine", SETTINGS, Resonances(gap=0.0), place)
    assert own.labeller.count == paid
    assert again.levels.energies.tolist() == first.levels.energies.tolist()
    assert other.levels.fermi == ()
    levels._result(own, water, "engine", {**SETTINGS, "step": 0.1}, None, place)
    assert own.labeller.count > paid, "other steps are other forces"
    assert [each.name for each in tmp_path.iterdir()] == [place.name]


def test_another_engine_does_not_get_the_levels_of_the_first(water, tmp_path):
    place = tmp_path / "H2O-engine"
    first, other = (
        levels._result(session(TBLite(method=method)), water, "engine", SETTINGS, None, place)
        for method in ("GFN2-xTB", "GFN1-xTB")
    )
    assert abs(other.levels.energies - first.levels.energies).max() > 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"by": "me"}, "task.by = 'me': committee or engine"),
        ({"step": 1.0}, "task.step = 1: between 0.02 and 0.5"),
        ({"gap": -1.0}, "task.gap = -1: 0"),
        ({"shift": 0.0}, "task.shift = 0: above 0"),
    ],
)
def test_bad_settings_are_told_before_anything_is_calculated(wrong, says):
    settings = {"by": "engine", "step": 0.15, "extrapolate": True, "gap": 200.0, "shift": 1.0}
    with pytest.raises(PalirsError, match=says):
        levels.anharmonic(SimpleNamespace(), **{**settings, **wrong})
