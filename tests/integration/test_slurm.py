"""Labels through a real, single-node Slurm on loopback."""

import os
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import pytest
from ase.db import connect

from palirs.executors import Slurm
from palirs.executors import slurm as watch
from palirs.recipes import PalirsError
from tests.toy import frames

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "slurm.sh"
pytestmark = [pytest.mark.slow, pytest.mark.integration]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """Start Slurm for these tests; the environment that its commands need."""
    directory = (
        Path("/tmp") / f"slurm-{os.getpid()}"
    )  # short: sockets allow about a hundred characters
    with open(
        tmp_path_factory.mktemp("slurm") / "start.txt", "w+"
    ) as output:  # daemons would hold a pipe open
        done = subprocess.run(
            ["bash", str(SCRIPT), "start", str(directory)],
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output.seek(0)
        said = output.read()
    if done.returncode == 77:
        pytest.skip(said.strip().splitlines()[-1])
    assert done.returncode == 0, said
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(directory / "slurm.conf"))
        patch.setenv("PYTHONPATH", str(ROOT))
        yield
    subprocess.run(["bash", str(SCRIPT), "stop", str(directory)], check=False)


def jobs():
    return subprocess.run(
        ["squeue", "--me", "--noheader", "--format=%i %T"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()


def running():
    return [line.split()[0] for line in jobs() if line.endswith("RUNNING")]


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def test_labels_arrive_once_though_a_job_is_cancelled(slurm, tmp_path):
    structures = frames(60)
    ase.io.write(tmp_path / "frames.xyz", structures)
    command = [
        *(
            sys.executable,
            str(ROOT / "run.py"),
            "task=label",
            f"frames={tmp_path / 'frames.xyz'}",
            f"study={tmp_path / 'study'}",
        ),
        *(
            "engine=pyscf_pbe",
            "engine.functional=hf",
            "engine.basis=6-31g",
            "engine.dispersion=null",
            "engine.memory=0.5",
        ),
        *(
            "executor=slurm",
            "executor.labels.jobs=2",
            "executor.labels.cores=1",
            "executor.labels.memory=1GB",
        ),
        *("executor.labels.walltime='00:10:00'", f"executor.labels.logs={tmp_path / 'logs'}"),
    ]
    with open(tmp_path / "output.txt", "w") as output:
        driver = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=tmp_path)
    said = (tmp_path / "output.txt").read_text
    store = tmp_path / "study" / "labels.db"
    begun = lambda: store.exists() and connect(store).count() >= 8 and len(running()) == 2  # noqa: E731
    wait_for(lambda: driver.poll() is not None or begun(), 120, said())
    assert driver.poll() is None, said()
    subprocess.run(["scancel", "--signal=KILL", running()[0]], check=True)
    assert driver.wait(timeout=240) == 0, said()
    assert "60 labelled frames" in said()
    assert "0 failed" in said()
    database = connect(store)
    assert database.count() == 60
    assert len({row.label_key for row in database.select()}) == 60
    assert len(ase.io.read(tmp_path / "study" / "labelled.xyz", index=":")) == 60
    assert not list(tmp_path.glob("study/labels.db.spool/*"))
    wait_for(lambda: not jobs(), 30, "jobs are left in the queue")


def test_jobs_that_end_are_replaced_while_there_is_work(slurm, tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "PATIENCE", 2.0)
    with Slurm(
        jobs=2, cores=1, walltime="01:00:00", memory="1GB", logs=str(tmp_path)
    ).open() as executor:
        assert executor.workers == 2
        futures = [executor.submit(slowly, number) for number in range(60)]
        futures[0].result(timeout=120)
        wait_for(lambda: len(running()) == 2, 60, "two jobs should run")
        for job in running():
            subprocess.run(["scancel", job], check=True)
        assert [future.result(timeout=120) for future in futures] == list(range(60))
    wait_for(lambda: not jobs(), 30, "jobs are left in the queue")


def test_jobs_that_end_while_nobody_needs_them_do_no_harm(slurm, tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "PATIENCE", 1.0)
    with Slurm(
        jobs=1, cores=1, walltime="01:00:00", memory="1GB", logs=str(tmp_path)
    ).open() as executor:
        assert executor.submit(slowly, 1).result(timeout=120) == 1
        subprocess.run(["scancel", *running()], check=True)
        time.sleep(5)
        assert not running(), "not replaced: there is no work"
        assert executor.submit(slowly, 2).result(timeout=120) == 2


def slowly(number):
    time.sleep(0.3)
    return number


def test_jobs_that_end_at_once_are_reported_and_not_submitted_for_ever(
    slurm, tmp_path, monkeypatch
):
    monkeypatch.setattr(watch, "PATIENCE", 2.0)
    with Slurm(
        jobs=1, cores=1, walltime="01:00:00", memory="1GB", prologue=("exit 3",), logs=str(tmp_path)
    ).open() as executor:
        future = executor.submit(slowly, 1)
        with pytest.raises(PalirsError, match="do no work, 3 rounds"):
            future.result(timeout=120)


def test_what_sbatch_says_is_passed_on(slurm, tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "PATIENCE", 2.0)
    with Slurm(
        jobs=2, cores=1, partition="nowhere", memory="1GB", logs=str(tmp_path)
    ).open() as executor:
        future = executor.submit(slowly, 1)
        with pytest.raises(PalirsError, match=r"do no work.*invalid partition"):
            future.result(timeout=120)
        with pytest.raises(PalirsError, match="do no work"):
            executor.submit(slowly, 2)


def test_the_job_script_says_what_was_asked_for(tmp_path):
    recipe = Slurm(
        partition="short",
        account="chem",
        cores=8,
        workers_per_job=2,
        memory="16GB",
        walltime="1-02:00:00",
        gpus=1,
        prologue=("module load aims",),
        directives=("--constraint=icelake",),
    )
    script = recipe.script
    for line in (
        "-p short",
        "-A chem",
        "--cpus-per-task=8",
        "--mem=15G",
        "-t 1-02:00:00",
        "--gres=gpu:1",
        "--constraint=icelake",
    ):
        assert f"#SBATCH {line}" in script, script
    assert "module load aims" in script
    assert "export OMP_NUM_THREADS=4" in script
    assert "--nworkers 2" in script
