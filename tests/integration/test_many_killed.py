"""Active learning of three molecules, with pretraining, killed again and again.

At moments drawn at random.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.slow]
KILLS = int(os.environ.get("PALIRS_KILLS", "10"))
SEED = int(os.environ.get("PALIRS_KILL_SEED", "1"))
"""Of the moments; any other will do."""
SETTINGS = (
    "task=active_learning experiment=tiny pretraining=gfn1 selector=distant "
    "molecules.names=[H2O,CH3OH,HCN] committee.size=2 tracker=none "
    "pretraining.frames=24 pretraining.training.updates=200 "
    "training.potential.updates=200 training.dipole.updates=200 "
    "training.potential.save_interval=0 selector.frames=3 selector.separation=10 "
    "learning.iterations=3"
)


def start(study):
    command = [sys.executable, "run.py", *SETTINGS.split(), f"study={study}"]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def weights(study):
    return {
        str(file.relative_to(study)): file.read_bytes()
        for file in sorted(study.rglob("*"))
        if file.suffix in (".xyz", ".safetensors")
    }


def metrics(study):
    """Metrics of each iteration, without times and without what was calculated by which run."""
    found = [
        json.loads(file.read_text())["metrics"]
        for file in sorted((study / "iterations").glob("*/metrics.json"))
    ]
    return [
        {
            key: value
            for key, value in one.items()
            if not key.startswith(("time.", "labels.computed", "labels.found"))
        }
        for one in found
    ]


@pytest.mark.thorough
def test_many_kills_change_nothing(tmp_path):
    begun = time.monotonic()
    whole = start(tmp_path / "whole")
    said = whole.communicate(timeout=600)[1]
    assert whole.returncode == 0, said
    usual = time.monotonic() - begun
    moments, kills = random.Random(SEED), 0
    while kills < KILLS:
        process = start(tmp_path / "killed")
        try:
            process.wait(moments.uniform(4.0, max(8.0, 0.5 * usual)))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        said = process.communicate()[1]
        if process.returncode == 0:
            break  # it was done before it could be killed so often
        assert process.returncode == -signal.SIGKILL, said
    assert kills >= 3, "it went by too fast to be killed"
    last = start(tmp_path / "killed")
    assert last.wait(600) == 0, last.communicate()[1]
    ours, theirs = weights(tmp_path / "killed"), weights(tmp_path / "whole")
    assert list(ours) == list(theirs)
    trained = [
        name for name in ours if name.startswith("pretraining") and name.endswith(".safetensors")
    ]
    assert len(trained) == 5, "two members in each of two iterations, and a dipole model"
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")
