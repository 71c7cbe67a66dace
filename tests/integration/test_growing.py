"""A finished study that gets a molecule and a temperature more, and is killed on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from palirs import keys
from palirs.molecules import read_frames
from palirs.study.identity import growth
from tests.integration.conftest import copied

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.thorough]
SETTINGS = (
    "experiment=tiny pretraining=gfn1 committee.size=2 tracker=none "
    "pretraining.frames=24 pretraining.training.updates=200 "
    "training.potential.updates=200 training.dipole.updates=200 "
    "selector.frames=3 selector.separation=10 learning.iterations=2 "
    "learning.forces_mae=null learning.harmonic_mae=0.1"
)
MORE = ("molecules.names=[H2O,HCN]", "sampler.temperatures=[300,500,900]")


def command(study, *more):
    settings = {
        key: value for key, _, value in (text.partition("=") for text in (*SETTINGS.split(), *more))
    }
    return [
        sys.executable,
        "run.py",
        *(f"{key}={value}" for key, value in settings.items()),
        f"study={study}",
    ]


def run(study, *more):
    return subprocess.run(
        command(study, *more), cwd=ROOT, capture_output=True, text=True, timeout=600
    )


def iterations(study):
    return sorted((study / "iterations").glob("[0-9][0-9][0-9]"))


def files(study):
    return {
        str(file.relative_to(study)): file.read_bytes()
        for file in sorted(study.rglob("*"))
        if file.suffix in (".xyz", ".safetensors")
    }


@pytest.fixture
def small(once, tmp_path):
    """A finished study of one molecule at two temperatures."""
    place, _ = once("small", finished)
    return copied(place, tmp_path / "small") / "study"


def finished(place):
    done = run(
        place / "study",
        "task=active_learning",
        "molecules.names=[H2O]",
        "sampler.temperatures=[300,500]",
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def grown(once, tmp_path):
    """The same after it grew."""

    def build(place):
        copied(once("small", finished)[0] / "study", place / "study")
        done = run(place / "study", "task=active_learning", *MORE)
        assert done.returncode == 0, done.stderr

    place, _ = once("grown", build)
    return copied(place, tmp_path / "grown") / "study"


def test_a_study_grows(small, grown):
    study, before = grown, files(small)
    had = len(iterations(small))
    assert growth(study) == [f"HCN; sampler.temperatures=[300, 500, 900] after {had} iterations"]
    assert {name: data for name, data in files(study).items() if name in before} == before, (
        "nothing that was finished has changed"
    )

    came = read_frames(iterations(study)[had] / "sampling.xyz")
    assert {atoms.info[keys.ORIGIN] for atoms in came if atoms.info[keys.MOLECULE] == "HCN"} == {
        "optimum",
        "quantum",
        "thermal",
    }
    explored = json.loads((iterations(study)[had] / "sampling.json").read_text())["stopped"]
    assert set(explored) == {f"H2O {kelvin} K #0" for kelvin in (300, 500, 900)}
    assert {atoms.info[keys.MOLECULE] for atoms in came} == {"H2O", "HCN"}
    later = json.loads((iterations(study)[had + 1] / "sampling.json").read_text())["stopped"]
    assert {name.partition(" #")[0] for name in later} == {
        f"{name} {kelvin} K" for name in ("H2O", "HCN") for kelvin in (300, 500, 900)
    }
    learnt = read_frames(iterations(study)[-1] / "train.xyz")
    assert {atoms.info[keys.MOLECULE] for atoms in learnt} == {"H2O", "HCN"}
    assert set(
        json.loads((iterations(study)[-1] / "metrics.json").read_text())["frequencies_cm1"]
    ) == {"H2O", "HCN"}
    trained = {
        atoms.info[keys.MOLECULE]
        for atoms in read_frames(iterations(study / "pretraining")[-1] / "train.xyz")
    }
    assert trained == {"H2O", "HCN"}, "members start from models that know both"


def test_it_grows_to_the_same_when_it_is_killed_on_the_way(small, grown):
    whole, study = grown, small
    began = len(iterations(study))
    for sign in (
        study / "pretraining" / "iterations" / "002" / "metrics.json",
        study / "iterations" / f"{began:03d}.partial" / "sampling.npz",
        study / "iterations" / f"{began + 1:03d}.partial" / "potential-0.safetensors",
    ):
        process = subprocess.Popen(
            command(study, "task=active_learning", *MORE),
            cwd=ROOT,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 300
        while not sign.exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = run(study, "task=active_learning", *MORE)
    assert done.returncode == 0, done.stderr
    ours, theirs = files(study), files(whole)
    assert list(ours) == list(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_a_study_does_not_grow_by_the_way(small):
    done = run(
        small, "task=dipole", "molecules.names=[H2O,HCN]", "sampler.temperatures=[300,500,900]"
    )
    assert done.returncode == 1
    assert "does not have HCN" in done.stderr
    assert "Traceback" not in done.stderr
