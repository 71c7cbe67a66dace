"""A study that is told to stop, as Slurm does when its time is up."""

import os
import signal
import subprocess
import time
from pathlib import Path

import mlflow
import pytest

from tests.integration.test_study import command

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.thorough]


def runs(study):
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{study.parent}/mlflow.db")
    return client.search_runs([client.get_experiment_by_name("palirs").experiment_id])


def started(study, signs):
    process = subprocess.Popen(
        command(study),
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not any(study.glob(signs)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    return process


def test_sigterm_ends_it_at_once_and_is_shown_as_killed_and_sigkill_too_when_the_next_one_looks(
    tmp_path,
):
    study = tmp_path / "study"
    first = started(study, "iterations/000.partial/potential-0.jsonl")
    first.terminate()
    said = first.communicate(timeout=30)[1]
    assert first.returncode == 143
    assert (
        "palirs: stopped by SIGTERM; what was done is kept, the same command goes on from there"
        in said
    )
    assert "Traceback" not in said
    assert not (study / "lock").exists()
    assert [run.info.status for run in runs(study)] == ["KILLED"]

    second = started(study, "iterations/000/metrics.json")
    os.killpg(second.pid, signal.SIGKILL)
    second.communicate()
    assert [run.info.status for run in runs(study)] == ["RUNNING"], "it could not say so"
    third = started(tmp_path / "other", "labels.db")
    third.terminate()
    third.communicate(timeout=60)
    assert {run.info.run_name: run.info.status for run in runs(study)} == {
        "study": "KILLED",
        "other": "KILLED",
    }
