"""Whose study a directory is, and how it may grow."""

import json

import pytest
from ase.build import molecule

from palirs import keys
from palirs.recipes import PalirsError
from palirs.study.identity import claim, growth, identity, molecules_of


def named(name):
    atoms = molecule(name)
    atoms.info[keys.MOLECULE] = name
    return atoms


def whole(**changed):
    values = {
        key: {"x": 1}
        for key in ("engine", "model", "pretraining", "initial", "selector", "committee")
    }
    values |= {
        "training": {"backend": "auto", "rate": 0.1},
        "sampler": {"temperatures": [300.0, 500.0], "replicas": 2},
        "seed": 1,
    }
    values |= {"molecules": {"complexes": False}, "learning": {"split": "groups"}}
    for key, value in changed.items():
        group, _, name = key.partition("__")
        values[group] = {**values[group], name: value} if name else value
    return values


def settings(*molecules, **changed):
    return identity(whole(**changed), [named(name) for name in molecules])


@pytest.fixture
def study(tmp_path):
    claim(tmp_path, settings("H2O", "CH4"), "study", True, 0)
    return tmp_path


def test_the_same_settings_go_on(study):
    written = (study / "identity.json").read_text()
    claim(study, settings("H2O", "CH4"), "spectra", True, 3)
    claim(study, settings("CH4", "H2O", training__backend="native"), "spectra", False, 3)
    assert (study / "identity.json").read_text() == written
    assert molecules_of(study) == ["H2O", "CH4"]
    assert growth(study) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (settings("H2O", "CH4", seed=2), "seed: 1 -> 2"),
        (settings("H2O"), "molecule CH4"),
        (settings("H2O", "CH4", "NH3", seed=2), "seed: 1 -> 2"),
        (settings("H2O", "CH4", sampler__temperatures=[300.0, 700.0]), "sampler.temperatures"),
        (settings("H2O", "CH4", sampler__replicas=1), "sampler.replicas: 2 -> 1"),
        (settings("H2O", "CH4", training__rate=0.2), "training.rate"),
    ],
)
def test_other_settings_are_refused(study, changed, told):
    with pytest.raises(PalirsError, match=told):
        claim(study, changed, "study", True, 1)
    assert molecules_of(study) == ["H2O", "CH4"]


def test_a_molecule_of_the_same_name_with_other_atoms_is_refused(study):
    mine = {**settings("H2O", "CH4"), "molecule H2O": settings("NH3")["molecule NH3"]}
    with pytest.raises(PalirsError, match="molecule H2O"):
        claim(study, mine, "study", True, 1)


def test_a_configuration_from_before_a_setting_existed_is_the_same_study(study):
    values = json.loads((study / "identity.json").read_text())
    del values["molecules.complexes"]
    (study / "identity.json").write_text(json.dumps(values))
    old = identity({**whole(), "molecules": {}}, [named("H2O"), named("CH4")])
    claim(study, old, "analyse", False, 1)


def test_a_study_grows_and_says_when(study):
    claim(study, settings("H2O", "CH4", "NH3"), "active_learning", True, 2)
    claim(
        study,
        settings("H2O", "CH4", "NH3", sampler__temperatures=[300.0, 500.0, 700.0]),
        "study",
        True,
        5,
    )
    assert molecules_of(study) == ["H2O", "CH4", "NH3"]
    assert growth(study) == [
        "NH3 after 2 iterations",
        "sampler.temperatures=[300.0, 500.0, 700.0] after 5 iterations",
    ]
    with pytest.raises(PalirsError, match="molecule NH3"):
        claim(study, settings("H2O", "CH4"), "study", True, 5)


def test_only_tasks_that_learn_let_it_grow(study):
    more = settings("H2O", "CH4", "NH3")
    with pytest.raises(PalirsError, match=r"does not have NH3.*task=active_learning"):
        claim(study, more, "spectra", True, 2)
    claim(study, more, "study", False, 2)
    assert "NH3" not in json.dumps(molecules_of(study)), "who only reads writes nothing"
