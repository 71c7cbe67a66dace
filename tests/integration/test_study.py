"""The whole study through ``run.py``, killed on the way."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest
from ase.db import connect
from ase.io import read

from palirs import keys
from palirs.labels import structure_key
from palirs.lock import locked
from palirs.mace import load
from tests.integration.conftest import copied

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.slow]


def command(study, *more):
    store = f"tracker.uri=sqlite:///{study.parent}/mlflow.db"
    return [
        sys.executable,
        "run.py",
        "experiment=tiny",
        f"study={study}",
        store,
        "committee.size=2",
        *more,
    ]


def run(study, *more):
    return subprocess.run(
        command(study, *more), cwd=ROOT, capture_output=True, text=True, timeout=600
    )


def start(study):
    """Start the study in a process group of its own; return it and the file of what it says."""
    said = study.parent / f"said-{time.monotonic_ns()}"
    with said.open("w") as stream:
        return subprocess.Popen(
            command(study),
            cwd=ROOT,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=stream,
        ), said


def kill_when(study, condition, timeout=300):
    """Start the study in a process group of its own and kill all of it.

    Workers too, as soon as the condition holds.
    """
    process = subprocess.Popen(
        command(study),
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.time() + timeout
    while not condition():
        assert process.poll() is None, "the study ended before it could be killed"
        assert time.time() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def killed(once, tmp_path):
    """A study that was killed several times, and then ended.

    While labelling, in the middle of a training and after an exploration.
    """
    place, (counts, done) = once("killed", killed_thrice)
    return copied(place, tmp_path / "killed") / "study", counts, done


def killed_thrice(place):
    study = place / "study"
    labels = study / "labels.db"

    def rows():
        try:
            return len(connect(labels)) if labels.exists() else 0
        except Exception:  # the file is being made
            return 0

    counts = []
    kill_when(study, lambda: rows() >= 20)
    counts.append(rows())
    kill_when(study, lambda: (study / "iterations/000.partial/potential-0.jsonl").exists())
    counts.append(rows())
    kill_when(study, lambda: (study / "iterations/001.partial/sampling.npz").exists())
    counts.append(rows())
    return counts, run(study)


def test_a_killed_study_ends(killed):
    study, counts, done = killed
    assert done.returncode == 0, done.stderr
    assert counts == sorted(counts)
    assert sorted(place.name for place in (study / "iterations").iterdir()) == ["000", "001"]


def test_no_label_was_computed_twice(killed):
    study, counts, _ = killed
    rows = list(connect(study / "labels.db").select())
    structures = [structure_key(row.toatoms()) for row in rows]
    assert len(structures) == len(set(structures))
    assert counts[0] >= 20
    computed = [
        json.loads((study / f"iterations/00{i}/metrics.json").read_text())["metrics"][
            "labels.computed"
        ]
        for i in (0, 1)
    ]
    assert max(computed) < len(rows), "the last run found most labels in the store"


@pytest.fixture(scope="module")
def undisturbed(once, tmp_path_factory):
    """A study that ran through, and what it said."""
    place, done = once("undisturbed", lambda place: run(place / "study"))
    return copied(place, tmp_path_factory.mktemp("copy") / "undisturbed") / "study", done


def same(ours, theirs):
    """Same data, weights, frames, trajectories and spectra: files equal byte for byte."""
    names = [
        f"iterations/001/{name}"
        for name in ("train.xyz", "test.xyz", "sampling.xyz", "potential-0.safetensors")
    ]
    names += ["iterations/001/potential-1.safetensors", "dipole-001.safetensors"]
    names += [
        str(file.relative_to(theirs))
        for pattern in ("trajectories/*/*.dipoles", "trajectories/*/*.xyz", "spectra/*")
        for file in theirs.glob(pattern)
    ]
    assert len(names) > 14
    for name in names:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name


def test_a_killed_study_gives_the_same_as_one_that_was_not(killed, undisturbed):
    assert undisturbed[1].returncode == 0, undisturbed[1].stderr
    same(killed[0], undisturbed[0])


def test_warnings_mean_something(undisturbed):
    """A study in which nothing is wrong warns of nothing but that it is not good enough yet.

    Which ``experiment=tiny`` never is.
    """
    lines = undisturbed[1].stderr.splitlines()
    assert any(" INFO " in line for line in lines)
    suspicious = [line for line in lines if "warn" in line.lower() or " ERROR " in line]
    assert [
        line for line in suspicious if "learning.harmonic_mae=5 is not reached" not in line
    ] == []


@pytest.mark.thorough
def test_two_drivers_on_one_study(undisturbed, tmp_path):
    """Both start at about the same time, and some are killed at random moments.

    One works, the other is told, nothing is spoilt.
    """
    rng = np.random.default_rng()
    for number in range(int(os.environ.get("PALIRS_ROUNDS", "1"))):
        study, told, kills = tmp_path / str(number) / "study", 0, 0
        study.parent.mkdir()
        drivers, ended = [], False
        while not ended:
            while len(drivers) < 2:
                drivers.append(start(study))
                time.sleep(rng.uniform(0, 1.5))
            if kills < 3 and rng.uniform() < 0.1:
                victim, _ = drivers.pop(int(rng.integers(2)))
                os.killpg(victim.pid, signal.SIGKILL)
                victim.wait()
                kills += 1
            for driver, said in [pair for pair in drivers if pair[0].poll() is not None]:
                drivers.remove((driver, said))
                assert "Traceback" not in said.read_text()
                if driver.returncode == 0:
                    ended = True
                else:
                    assert re.search(
                        r"process \d+ on \S+ works here \(task=study\) since", said.read_text()
                    ), said.read_text()
                    told += 1
            time.sleep(0.5)
        for driver, _ in drivers:
            driver.wait()
        assert told > 0
        assert not (study / "lock").exists()
        same(study, undisturbed[0])


def test_the_study_directory_and_the_run_hold_what_the_design_names(killed):
    study, _, _ = killed
    for name in (
        "config.yaml",
        "labels.db",
        "report.html",
        "figures/learning_curves.png",
        "figures/energy_distribution.png",
    ):
        assert (study / name).is_file(), name
    frames = read(study / "iterations/001/train.xyz", index=":")
    assert {keys.ENERGY, keys.DIPOLE, keys.MOLECULE, keys.ORIGIN} <= set(frames[0].info)
    assert keys.FORCES in frames[0].arrays
    assert len(load(study)) == 2
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{study.parent}/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name("palirs").experiment_id])
    assert len(found) == 1, "four starts of one study are one run"
    metrics = found[0].data.metrics
    named = [
        "harmonic.mae_cm1",
        "harmonic.rmse_cm1",
        "energy.mae_meV",
        "energy.rmse_meV",
        "forces.mae_meV_per_A",
        "forces.rmse_meV_per_A",
    ]
    named += [
        "dipole.mae_mD",
        "dipole.rmse_mD",
        "committee.force_std_max_eV_per_A",
        "dataset.size",
        "labels.computed",
        "labels.failed",
    ]
    named += [
        "spectrum.methanol.pcc_ml_ref",
        "spectrum.methanol.wd_ml_ref",
        "time.training_s",
        "time.production_s",
    ]
    assert set(named) <= set(metrics)
    assert [
        entry.step for entry in client.get_metric_history(found[0].info.run_id, "harmonic.mae_cm1")
    ] == [0, 1]
    top = {item.path for item in client.list_artifacts(found[0].info.run_id)}
    assert {"config.yaml", "dataset", "figures", "models", "report.html", "spectra"} <= top


@pytest.mark.thorough
def test_a_later_stage_of_an_existing_study(killed, shared):
    study, _, _ = killed
    done = run(
        study,
        "task=spectra",
        "temperature=500",
        f"spectrum.experiment={shared / 'experiment' / 'methanol.jdx'}",
    )
    assert done.returncode == 0, done.stderr
    assert (study / "spectra" / "methanol-500K-predicted.csv").is_file()
    assert "pcc_ml_exp" in done.stderr


@pytest.mark.thorough
def test_a_study_named_by_its_directory_keeps_its_settings(killed):
    """No preset, no committee size: they are the study's own; only what is said changes."""
    study, _, _ = killed
    arguments = [
        "task=spectra",
        f"study={study}",
        "temperature=400",
        "spectrum.max_lag=150",
        "tracker=none",
    ]
    done = subprocess.run(
        [sys.executable, "run.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    resolved = (study / "config.yaml").read_text()
    for line in ("max_lag: 150", "size: 2", "length: 0.5"):
        assert line in resolved
    assert (study / "spectra" / "methanol-400K-predicted.csv").is_file()


@pytest.mark.thorough
def test_what_may_run_beside_a_program_that_works_on_the_study(killed):
    """Reading tasks go on, and leave MLflow to the other one.

    Every other task is told who works there.
    """
    study, _, _ = killed
    entries = (study / "metrics.jsonl").read_text()
    (study / "report.html").unlink()
    with locked(study, "task=study"):
        done = run(study, "task=analyse")
        assert done.returncode == 0, done.stderr
        assert f"process {os.getpid()} on" in done.stderr
        assert (study / "report.html").is_file()
        assert (study / "metrics.jsonl").read_text() == entries
        assert "at work now" in run(study, "task=check").stdout
        done = run(study, "task=spectra")
        assert done.returncode == 1
        assert re.search(
            rf"process {os.getpid()} on \S+ works here \(task=study\) since", done.stderr
        )


@pytest.mark.thorough
def test_a_study_that_was_made_before_a_setting_existed_goes_on(killed):
    study, _, _ = killed
    for file, line in (
        ("config.yaml", "  complexes: false\n"),
        ("identity.json", ' "molecules.complexes": false,\n'),
    ):
        text = (study / file).read_text()
        assert line in text
        (study / file).write_text(text.replace(line, ""))
    command = [sys.executable, "run.py", "task=analyse", f"study={study}", "tracker=none"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_looking_at_a_study_calculates_nothing(killed, tmp_path):
    study, _, _ = killed
    shutil.copytree(study, tmp_path / "sent", ignore=shutil.ignore_patterns("labels.db*"))
    command = [
        sys.executable,
        "run.py",
        "task=analyse",
        f"study={tmp_path / 'sent'}",
        "tracker=none",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "run task=harmonic" in done.stderr


@pytest.mark.thorough
def test_other_settings_are_not_mixed_in(killed):
    study, _, _ = killed
    done = run(study, "seed=7")
    assert done.returncode == 1
    assert "seed: 1 -> 7" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.thorough
def test_a_stage_that_comes_too_early_says_what_is_missing(tmp_path):
    for task in ("dipole", "spectra", "analyse"):
        done = run(tmp_path / "empty", f"task={task}")
        assert done.returncode == 1
        assert "run task=active_learning" in done.stderr
        assert "Traceback" not in done.stderr


def swept(place):
    """A sweep over the size of the committee, up to its first training."""
    done = subprocess.run(
        [
            sys.executable, "run.py", "-m", "experiment=tiny", "committee.size=1,2",
            f"study={place}/sweep", "task=active_learning",
            f"tracker.uri=sqlite:///{place}/mlflow.db", "learning.iterations=1",
            "training.potential.updates=20",
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.thorough
def test_a_sweep_is_told_apart(once):
    place, _ = once("sweep", swept)
    children = sorted(child.name for child in (place / "sweep").iterdir() if child.is_dir())
    assert children == ["committee.size=1", "committee.size=2"]
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{place}/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name("palirs").experiment_id])
    children = [run for run in found if "mlflow.parentRunId" in run.data.tags]
    assert {run.data.params["committee.size"] for run in children} == {"1", "2"}
    (parent,) = {run.data.tags["mlflow.parentRunId"] for run in children}
    assert {item.path for item in client.list_artifacts(parent)} == {
        "sweep.html",
        "sweep.csv",
        "sweep.png",
    }
    assert "sweep.html" in client.get_run(parent).data.tags["mlflow.note.content"]


@pytest.mark.thorough
def test_a_sweep_pays_for_a_label_once_and_says_so(once):
    place, _ = once("sweep", swept)
    base = place / "sweep"
    used = [float(row.split(",")[-2]) for row in (base / "sweep.csv").read_text().splitlines()[1:]]
    assert len(used) == 2
    assert not list(base.glob("*/labels.db"))
    assert len(connect(base / "labels.db")) == used[0], (
        "the second one learns from the same structures before it explores"
    )
    assert (
        f"used {sum(used):.0f} labels, of which {used[0]:.0f} were calculated"
        in (base / "sweep.html").read_text()
    )


@pytest.fixture(scope="module")
def tested(undisturbed):
    """The test set of the study that ran through."""
    small = ["task.length=0.5", "task.frames=50", "task.clusters=3", "task.per_cluster=2"]
    return undisturbed[0] / "test_set", run(undisturbed[0], "task=test_set", *small), small


@pytest.mark.thorough
def test_a_test_set_is_labelled_and_every_iteration_evaluated_on_it(tested):
    place, done, _ = tested
    assert done.returncode == 0, done.stderr
    frames = read(place / "test_set.xyz", ":")
    assert len(frames) == 6
    assert all(keys.ENERGY in atoms.info and keys.FORCES in atoms.arrays for atoms in frames)
    learnt = {
        structure_key(atoms) for atoms in read(place.parent / "iterations/001/train.xyz", ":")
    }
    assert not learnt & {structure_key(atoms) for atoms in frames}
    rows = (place / "errors.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["iteration", "0", "1"]
    assert "dipole.mae_mD" in rows[0]
    assert float(
        dict(zip(rows[0].split(","), rows[2].split(","), strict=True))["labels.used"]
    ) > len(frames)


@pytest.mark.thorough
def test_a_test_set_is_not_drawn_again(tested, undisturbed):
    place, _, small = tested
    before = (place / "test_set.xyz").stat().st_mtime_ns
    assert run(undisturbed[0], "task=test_set", *small).returncode == 0
    assert (place / "test_set.xyz").stat().st_mtime_ns == before
    other = run(undisturbed[0], "task=test_set", "task.length=0.4", *small[1:])
    assert other.returncode == 1
    assert "length: 0.5 -> 0.4" in other.stderr


@pytest.mark.thorough
def test_studies_are_compared(tested, undisturbed, tmp_path):
    done = run(
        undisturbed[0],
        "task=compare",
        f"task.studies={{tiny: '{undisturbed[0]}'}}",
        f"task.output={tmp_path}/out",
    )
    assert done.returncode == 0, done.stderr
    assert "methanol" in done.stdout
    assert (tmp_path / "out/labels.png").stat().st_size > 10_000
