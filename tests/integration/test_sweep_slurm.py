"""A sweep through submitit on a real, single-node Slurm; one of its jobs is killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import mlflow
import pytest
from ase.db import connect

from palirs.journal import Journal
from palirs.labels import structure_key
from tests.integration.test_slurm import ROOT, jobs, slurm, wait_for  # noqa: F401  a fixture

pytestmark = [pytest.mark.slow, pytest.mark.integration]


def command(place):
    how = ("timeout_min=20", "cpus_per_task=1", "mem_gb=null", f"submitit_folder={place}/jobs/%j")
    launcher = [f"hydra.launcher.{text}" for text in how]
    settings = [
        "experiment=tiny",
        "executor=serial",
        "task=active_learning",
        "learning.iterations=1",
        "training.potential.updates=20",
    ]
    swept = [
        "committee.size=1,2,3",
        "seed=1,2",
        f"study={place}/sweep",
        f"tracker.uri=sqlite:///{place}/mlflow.db",
    ]
    return [
        sys.executable,
        "run.py",
        "-m",
        "hydra/launcher=submitit_slurm",
        *launcher,
        *settings,
        *swept,
    ]


def studies(place):
    return {
        file.parent.parent.parent.name for file in place.glob("sweep/*/iterations/000/metrics.json")
    }


@pytest.mark.thorough
def test_three_by_two_with_one_job_killed(slurm, tmp_path):  # noqa: F811
    """The first call ends without one study.

    The second does that one and nothing else, and no label is calculated twice.
    """
    with (tmp_path / "first").open("w") as said:
        first = subprocess.Popen(
            command(tmp_path), cwd=ROOT, stdout=said, stderr=said, start_new_session=True
        )
    lock = tmp_path / "sweep" / "committee.size=2,seed=1" / "lock"
    wait_for(lock.exists, 240, "the job of the third study")
    owner = json.loads(lock.read_text())
    os.kill(int(owner["pid"]), signal.SIGKILL)
    wait_for(lambda: len(studies(tmp_path)) == 5, 240, "the other five")
    time.sleep(2)
    os.killpg(
        first.pid, signal.SIGTERM
    )  # where there is no accounting, submitit waits for a job that is gone
    first.wait(30)
    assert "committee.size=2,seed=1" not in studies(tmp_path)
    made = {
        name: (tmp_path / "sweep" / name / "iterations/000/metrics.json").stat().st_mtime_ns
        for name in studies(tmp_path)
    }

    done = subprocess.run(command(tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: len(studies(tmp_path)) == 6, 60, "all six")
    assert {
        name: (tmp_path / "sweep" / name / "iterations/000/metrics.json").stat().st_mtime_ns
        for name in made
    } == made
    structures = [
        structure_key(row.toatoms()) for row in connect(tmp_path / "sweep" / "labels.db").select()
    ]
    assert len(structures) == len(set(structures))
    page = (tmp_path / "sweep" / "sweep.html").read_text()
    assert len(set(re.findall(r"committee\.size=\d,seed=\d", page))) == 6
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("palirs").experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert (
        len(
            {
                run.data.tags["mlflow.parentRunId"]
                for run in runs
                if "mlflow.parentRunId" in run.data.tags
            }
        )
        == 1
    )


@pytest.mark.thorough
def test_a_job_at_its_walltime_is_submitted_again_and_goes_on(slurm, tmp_path):  # noqa: F811
    """Slurm says that two minutes are over.

    The job is submitted again by submitit, and the training goes on in its middle.
    """
    how = (
        "timeout_min=2",
        "signal_delay_s=30",
        "max_num_timeout=9",
        "cpus_per_task=1",
        "mem_gb=null",
        f"submitit_folder={tmp_path}/jobs/%j",
    )
    launcher = [f"hydra.launcher.{text}" for text in (*how, f"submitit_folder={tmp_path}/jobs/%j")]
    long = [
        "training.potential.updates=300000",
        "training.potential.patience=1.0",
        "training.potential.save_interval=2",
    ]
    settings = [
        "experiment=tiny",
        "executor=serial",
        "task=active_learning",
        "learning.iterations=1",
        "committee.size=1",
        *long,
    ]
    place = [f"study={tmp_path}/sweep", f"tracker.uri=sqlite:///{tmp_path}/mlflow.db"]
    words = [
        sys.executable,
        "run.py",
        "-m",
        "seed=1",
        "hydra/launcher=submitit_slurm",
        *launcher,
        *settings,
        *place,
    ]
    with (tmp_path / "said").open("w") as said:
        driver = subprocess.Popen(words, cwd=ROOT, stdout=said, stderr=said, start_new_session=True)
    study = tmp_path / "sweep"

    def errors():
        return "".join(file.read_text() for file in tmp_path.glob("jobs/*/*_log.err"))

    wait_for(lambda: "DUE TO JOB REQUEUE" in errors(), 240, "the signal at the walltime")
    before = len(
        (study / "iterations" / "000.partial" / "potential-0.jsonl").read_text().splitlines()
    )
    assert not (study / "iterations" / "000").exists(), "it should not have been done by then"

    def goes_on():
        """Slurm waits for two minutes before a job begins again, this test does not."""
        for job in {line.split()[0] for line in jobs() if "PENDING" in line}:
            subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=False)
        return [
            entry["complete"]
            for entry in Journal(study).read()
            if entry.get("stage") == "active_learning"
        ][-1]

    wait_for(goes_on, 500, "the study")
    os.killpg(driver.pid, signal.SIGTERM)
    driver.wait(30)
    rows = [
        json.loads(line)
        for line in (study / "iterations" / "000" / "potential-0.jsonl").read_text().splitlines()
    ]
    assert [row["epoch"] for row in rows] == list(range(len(rows))), "no epoch twice, none left out"
    assert len(rows) > before
    assert [
        entry["complete"]
        for entry in Journal(study).read()
        if entry.get("stage") == "active_learning"
    ][-2:] == [False, True]
    structures = [structure_key(row.toatoms()) for row in connect(study / "labels.db").select()]
    assert len(structures) == len(set(structures))
