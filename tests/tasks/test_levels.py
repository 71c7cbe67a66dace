"""Anharmonic levels of a study: what is kept, and what is calculated again."""

import json
import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from palirs.engines import TBLite
from palirs.molecules import Molecules
from palirs.recipes import PalirsError
from palirs.results.tables import read_table
from palirs.study.isotopologues import assigned, requested
from palirs.tasks import levels
from palirs.vibrations import minimum
from palirs.vibrations.anharmonic import calculation, files
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


def in_study(engine, directory):
    """Return what the levels of a study need of it."""
    own = session(engine)
    own.labeller.computed, own.labeller.seconds = 0, 0.0
    own.directory = directory
    own.journal = SimpleNamespace(stage=lambda *args, **counters: nullcontext())
    return own


def folders(directory):
    place = directory / "anharmonic" / "H2O-engine" / files.ISOTOPOLOGUES
    return sorted(each.name for each in place.glob("*"))


def test_isotopologues_need_no_force_and_stay_with_other_thresholds(water, tmp_path):
    own = in_study(TBLite(), tmp_path)
    levels.anharmonic_levels(own, [water], "engine", SETTINGS)
    paid = own.labeller.count
    masses = assigned(requested(["[2H]O", "[2H]O[2H] heavy"]), [water])
    levels.anharmonic_levels(own, [water], "engine", SETTINGS, None, masses)
    assert folders(tmp_path) == ["D1", "heavy"]
    place = tmp_path / "anharmonic" / "H2O-engine"
    before = read_table(place / files.ISOTOPOLOGUES / "D1" / "levels.csv")
    assert [row["parent"] for row in before if "motion" in row] == ["ν1", "ν2", "ν3"]
    assert not any("four different" in str(row.get("caveat")) for row in before), "has 3 modes"
    levels.anharmonic_levels(own, [water], "engine", SETTINGS, Resonances(gap=0.0))
    assert folders(tmp_path) == ["D1", "heavy"], "those of before"
    summary = json.loads((place / files.ISOTOPOLOGUES / "D1" / "summary.json").read_text())
    assert summary["resonances"]["gap"] == 0.0
    assert summary["isotopologue_of"] == "H2O"
    assert own.labeller.count == paid
    levels.anharmonic_levels(own, [water], "engine", {**SETTINGS, "step": 0.1})
    assert folders(tmp_path) == ["D1", "heavy"], "with force fields of other steps"
    shutil.rmtree(place)  # as by a task that was killed while it replaced them
    levels.anharmonic_levels(own, [water], "engine", SETTINGS)
    assert folders(tmp_path) == ["D1", "heavy"], "what was asked for is not forgotten"
    levels.anharmonic_levels(own, [water], "engine", SETTINGS, None, {"H2O": {}})
    assert folders(tmp_path) == []


def test_constants_of_four_modes_are_calculated_when_asked_for_and_then_kept(
    tmp_path, caplog, monkeypatch
):
    asked, original = [], calculation.anharmonic

    def watched(*args, **settings):
        asked.append(settings["complete"])
        return original(*args, **settings)

    monkeypatch.setattr(calculation, "anharmonic", watched)
    cyanide = minimum(Molecules(names=("HCN",)).load()[0], TBLite())
    own = in_study(TBLite(), tmp_path)
    masses = assigned(requested(["[2H]C#N"]), [cyanide])
    levels.anharmonic_levels(own, [cyanide], "engine", SETTINGS, None, masses)
    assert "task.couplings=all calculates them, some 8 structures" in caplog.text
    file = tmp_path / "anharmonic/HCN-engine" / files.ISOTOPOLOGUES / "D2" / "levels.csv"
    assert all("four different modes" in str(row["caveat"]) for row in read_table(file))
    caplog.clear()
    complete = {**SETTINGS, "complete": True}
    levels.anharmonic_levels(own, [cyanide], "engine", complete, None, masses)
    paid = own.labeller.count
    levels.anharmonic_levels(own, [cyanide], "engine", SETTINGS)
    assert own.labeller.count == paid
    assert not any("four different" in str(row.get("caveat")) for row in read_table(file))
    assert "couplings" not in caplog.text
    assert asked == [False, True]


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["[2H]OC"], r"'\[2H\]OC' is no isotopologue of a molecule of the study; it has H2O \(H2O"),
        (["O"], "has the masses of H2O itself"),
        (["[2H]O", "H2O:1=2"], "two isotopologues D1"),
        (["[2H"], "cannot read the SMILES"),
        (["[2H]O a/b"], "a/b"),
        ("[2H]O", "it is a list"),
    ],
)
def test_isotopologues_that_cannot_be_made_are_told(water, texts, says):
    with pytest.raises(PalirsError, match=says) as told:
        assigned(requested(texts), [water])
    assert str(told.value).startswith("task.isotopologues")


def test_bad_couplings_are_told():
    settings = {"by": "engine", "step": 0.15, "extrapolate": True, "gap": 200.0, "shift": 1.0}
    with pytest.raises(PalirsError, match=r"task\.couplings = 'some': auto or all"):
        levels.anharmonic(SimpleNamespace(), **settings, couplings="some")
