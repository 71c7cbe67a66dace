"""Every entry of ``conf/task`` is a function that declares what it is."""

import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from palirs import tasks
from palirs.settings import Learning
from palirs.tasks import spectral

FILES = sorted((Path(__file__).parents[2] / "conf/task").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_entry_names_a_declared_task_and_gives_all_its_arguments(file):
    config = OmegaConf.load(file)
    module, _, name = config.pop("_target_").rpartition(".")
    assert module == "palirs.tasks"
    assert tasks.declared(name).name == name
    assert config.pop("_partial_") is True
    session, *arguments = inspect.signature(getattr(tasks, name)).parameters
    assert session == "session"
    assert arguments == list(config)


def test_declarations_do_not_contradict_each_other():
    declared = [tasks.declared(OmegaConf.load(file)._target_.rpartition(".")[2]) for file in FILES]
    for task in declared:
        assert not (task.reads_only and task.grows)
        assert not (task.reads_only and task.engine), "labels would be refused"
        assert task.lock or not task.grows, "a study grows in the hands of one program"
    assert {task.name for task in declared if task.grows} == {"study", "active_learning"}


def test_production_by_ring_polymers_advises_to_explore_with_them(caplog):
    def said(beads, explored=None):
        caplog.clear()
        settings = SimpleNamespace(learning=Learning())
        spectral._warn_of_exploration(settings, SimpleNamespace(beads=beads), explored)
        return caplog.text

    assert "sampler.nuclei=ring_polymer task=active_learning" in said(32)
    assert said(None) == said(32, explored=16.0) == ""
