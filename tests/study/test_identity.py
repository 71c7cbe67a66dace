"""Whose study a directory is, and how it may grow."""

import json
from typing import get_args, get_type_hints

import pytest
from ase.build import molecule

from palirs import keys
from palirs.recipes import InStudy, PalirsError
from palirs.settings import StudySettings
from palirs.settings.existing import declaration, kept_groups, values_before
from palirs.study.identity import check_identity, growth, identity, molecules_of


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
        "training": {"potential": {"backend": "auto", "rate": 0.1}},
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
    check_identity(tmp_path, settings("H2O", "CH4"), True, True, 0)
    return tmp_path


def test_the_same_settings_go_on(study):
    written = (study / "identity.json").read_text()
    check_identity(study, settings("H2O", "CH4"), False, True, 3)
    check_identity(
        study,
        settings("CH4", "H2O", training__potential={"backend": "native", "rate": 0.1}),
        False,
        False,
        3,
    )
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
        (
            settings("H2O", "CH4", training__potential={"backend": "auto", "rate": 0.2}),
            "training.potential.rate: 0.1 -> 0.2",
        ),
        (settings("H2O", "CH4", learning__split="frames"), "learning.split: groups -> frames"),
    ],
)
def test_other_settings_are_refused(study, changed, told):
    with pytest.raises(PalirsError, match=told):
        check_identity(study, changed, True, True, 1)
    assert molecules_of(study) == ["H2O", "CH4"]


def test_a_molecule_of_the_same_name_with_other_atoms_is_refused(study):
    mine = {**settings("H2O", "CH4"), "molecule H2O": settings("NH3")["molecule NH3"]}
    with pytest.raises(PalirsError, match="molecule H2O"):
        check_identity(study, mine, True, True, 1)


def test_a_configuration_from_before_a_setting_existed_is_the_same_study(study):
    values = json.loads((study / "identity.json").read_text())
    del values["molecules.complexes"]
    (study / "identity.json").write_text(json.dumps(values))
    old = identity({**whole(), "molecules": {}}, [named("H2O"), named("CH4")])
    check_identity(study, old, False, False, 1)


@pytest.mark.parametrize("group", ["engine", "pretraining"])
def test_settings_of_some_engines_only_have_a_value_before_they_existed(group, tmp_path):
    def now(**more):
        inner = {"basis": "def2-svpd", **more}
        return settings("H2O", **{group: inner if group == "engine" else {"engine": inner}})

    check_identity(tmp_path, now(), True, True, 0)
    check_identity(tmp_path, now(open_shell="unrestricted"), False, True, 1)
    check_identity(tmp_path, now(), False, True, 1)
    with pytest.raises(PalirsError, match=r"engine\.open_shell: unrestricted -> restricted"):
        check_identity(tmp_path, now(open_shell="restricted"), True, True, 1)


@pytest.mark.parametrize("key", ["engine.file", "pretraining.engine.file"])
def test_a_model_file_of_other_content_is_another_study(key, tmp_path):
    file = tmp_path / "a.model"
    file.write_bytes(b"one")

    def now():
        inner = {"file": str(file)}
        return settings("H2O", **{key.split(".")[0]: inner if key[0] == "e" else {"engine": inner}})

    check_identity(tmp_path, now(), True, True, 0)
    file.write_bytes(b"two")
    with pytest.raises(PalirsError, match=rf"{key} \(content\): sha256:\w+ -> sha256:"):
        check_identity(tmp_path, now(), True, True, 1)
    file.unlink()  # for what only reads the study it need not be there
    check_identity(tmp_path, now(), False, True, 1)
    file.write_bytes(b"two")
    with pytest.raises(PalirsError, match="content"):
        check_identity(tmp_path, now(), True, True, 1)


def test_a_study_made_before_contents_were_written_down_goes_on(tmp_path):
    file = tmp_path / "a.model"
    before = settings("H2O", engine={"file": str(file)})
    check_identity(tmp_path, before, True, True, 0)
    file.write_bytes(b"one")
    now = settings("H2O", engine={"file": str(file)})
    assert now != before
    check_identity(tmp_path, now, True, True, 1)


def test_a_study_made_when_groups_were_called_stretches_is_the_same(study):
    values = json.loads((study / "identity.json").read_text())
    (study / "identity.json").write_text(json.dumps(values | {"learning.split": "stretches"}))
    check_identity(study, settings("H2O", "CH4"), False, True, 1)
    old = settings("H2O", "CH4", learning__split="stretches")
    check_identity(study, old, False, False, 1)
    del values["learning.split"]
    (study / "identity.json").write_text(json.dumps(values))
    with pytest.raises(PalirsError, match=r"learning\.split: frames -> groups"):
        check_identity(study, settings("H2O", "CH4"), False, True, 1)


def test_settings_declare_what_they_mean_for_an_existing_study():
    assert declaration("training.potential.device").meaning is InStudy.MAY_CHANGE
    assert declaration("training.potential.learning_rate").meaning is InStudy.IDENTITY
    assert declaration("pretraining.training.device").meaning is InStudy.MAY_CHANGE
    assert declaration("training.dipole.atomic_energies.H").meaning is InStudy.IDENTITY
    assert declaration("sampler.replicas").meaning is InStudy.GROWS
    assert declaration("molecules.names").meaning is InStudy.MAY_CHANGE
    assert {"executor", "tracker", "evaluation", "temperature"}.isdisjoint(kept_groups())
    undeclared = [
        name
        for name, annotation in get_type_hints(StudySettings, include_extras=True).items()
        if not any(isinstance(mark, InStudy) for mark in get_args(annotation))
    ]
    assert not undeclared, "each says it for itself"


def test_a_study_grows_and_says_when(study):
    check_identity(study, settings("H2O", "CH4", "NH3"), True, True, 2)
    check_identity(
        study,
        settings("H2O", "CH4", "NH3", sampler__temperatures=[300.0, 500.0, 700.0]),
        True,
        True,
        5,
    )
    assert molecules_of(study) == ["H2O", "CH4", "NH3"]
    assert growth(study) == [
        "NH3 after 2 iterations",
        "sampler.temperatures=[300.0, 500.0, 700.0] after 5 iterations",
    ]
    with pytest.raises(PalirsError, match="molecule NH3"):
        check_identity(study, settings("H2O", "CH4"), True, True, 5)


def test_a_classical_exploration_goes_on_with_ring_polymers_and_not_back(study):
    """Also where the study was made before there were any."""
    rings = {"temperatures": [300.0, 500.0], "replicas": 2, "nuclei": "ring_polymer", "beads": 16}
    check_identity(study, settings("H2O", "CH4", sampler=rings), True, True, 2)
    assert growth(study) == ["sampler.nuclei=ring_polymer after 2 iterations"]
    more, fewer, back = (
        {**rings, **c} for c in ({"beads": 32}, {"beads": 8}, {"nuclei": "classical"})
    )
    for changed, told in ((fewer, "beads: 16 -> 8"), (back, "ring_polymer -> classical")):
        with pytest.raises(PalirsError, match=told):
            check_identity(study, settings("H2O", "CH4", sampler=changed), True, True, 2)
    with pytest.raises(PalirsError, match=r"does not have sampler.beads=32"):
        check_identity(study, settings("H2O", "CH4", sampler=more), False, True, 2)
    check_identity(study, settings("H2O", "CH4", sampler=more), True, True, 3)


def test_beads_that_nothing_was_done_with_yet_are_no_setting_of_the_study(study):
    """A classical study may begin with fewer beads than the default of the setting."""
    own = {"temperatures": [300.0, 500.0], "replicas": 2, "beads": 8}
    rings = settings("H2O", "CH4", sampler=own | {"nuclei": "ring_polymer"})
    check_identity(study, rings, True, True, 1)
    fewer = settings("H2O", "CH4", sampler=own | {"nuclei": "ring_polymer", "beads": 4})
    with pytest.raises(PalirsError, match="beads"):
        check_identity(study, fewer, True, True, 2)


def test_only_tasks_that_learn_let_it_grow(study):
    more = settings("H2O", "CH4", "NH3")
    with pytest.raises(PalirsError, match=r"does not have NH3.*task=active_learning"):
        check_identity(study, more, False, True, 2)
    check_identity(study, more, True, False, 2)
    assert "NH3" not in json.dumps(molecules_of(study)), "who only reads writes nothing"


def test_settings_that_did_not_exist_have_the_value_that_amounts_to_them_at_any_depth():
    assert values_before("learning") == {"split": "frames", "patience": None, "confirm": 0}
    assert values_before("initial") == {"conformers": 0}
    assert values_before("sampler") == {"nuclei": "classical", "beads": 16}
    training = {"potential": {"derivatives": 0.0}, "dipole": {"derivatives": 0.0}}
    assert values_before("training") == training
    early = {"training": {"derivatives": 0.0}, "distribution": "classical"}
    assert values_before("pretraining") == early
    assert values_before("seed") == {}
