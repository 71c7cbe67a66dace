"""The whole study through ``run.py``, killed on the way."""

import json
import os
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
from palirs.mace import load
from palirs.spectra.files import read_csv

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.slow]


def command(study, *more):
    store = f"tracker.uri=sqlite:///{study.parent}/mlflow.db"
    return [sys.executable, "run.py", "experiment=tiny", f"study={study}", store, "committee.size=2", *more]


def run(study, *more):
    return subprocess.run(command(study, *more), cwd=ROOT, capture_output=True, text=True, timeout=600)


def kill_when(study, condition, timeout=300):
    """Start the study in a process group of its own and kill all of it, workers too, as soon as the condition holds."""
    process = subprocess.Popen(command(study), cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + timeout
    while not condition():
        assert process.poll() is None, "the study ended before it could be killed"
        assert time.time() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A study that was killed while labelling, in the middle of a training and after an exploration, and then ended."""
    study = tmp_path_factory.mktemp("killed") / "study"
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
    done = run(study)
    return study, counts, done


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
    computed = [json.loads((study / f"iterations/00{i}/metrics.json").read_text())["metrics"]["labels.computed"] for i in (0, 1)]
    assert max(computed) < len(rows), "the last run found most labels in the store"


def test_a_killed_study_gives_the_same_as_one_that_was_not(killed, tmp_path):
    """Same seed, same data, same weights, same frames, same spectrum."""
    study, _, _ = killed
    done = run(tmp_path / "study")
    assert done.returncode == 0, done.stderr
    for name in ("iterations/001/train.xyz", "iterations/001/test.xyz", "iterations/001/sampling.xyz"):
        assert (study / name).read_text() == (tmp_path / "study" / name).read_text(), name
    for name in ("iterations/001/potential-0.safetensors", "iterations/001/potential-1.safetensors"):
        assert (study / name).read_bytes() == (tmp_path / "study" / name).read_bytes(), name
    ours, theirs = (read_csv(place / "spectra" / "methanol-300K-predicted.csv") for place in (study, tmp_path / "study"))
    np.testing.assert_allclose(ours.intensity, theirs.intensity, rtol=1e-9, atol=1e-12)


def test_the_study_directory_and_the_run_hold_what_the_design_names(killed):
    study, _, _ = killed
    for name in ("config.yaml", "labels.db", "report.html", "figures/learning_curves.png", "figures/energy_distribution.png"):
        assert (study / name).is_file(), name
    frames = read(study / "iterations/001/train.xyz", index=":")
    assert {keys.ENERGY, keys.DIPOLE, keys.MOLECULE, keys.ORIGIN} <= set(frames[0].info)
    assert keys.FORCES in frames[0].arrays
    assert len(load(study)) == 2
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{study.parent}/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name("palirs").experiment_id])
    assert len(found) == 1, "four starts of one study are one run"
    metrics = found[0].data.metrics
    named = ["harmonic.mae_cm1", "harmonic.rmse_cm1", "energy.mae_meV", "energy.rmse_meV", "forces.mae_meV_per_A", "forces.rmse_meV_per_A"]
    named += ["dipole.mae_mD", "dipole.rmse_mD", "committee.force_std_max_eV_per_A", "dataset.size", "labels.computed", "labels.failed"]
    named += ["spectrum.methanol.pcc_ml_ref", "spectrum.methanol.wd_ml_ref", "time.training_s", "time.production_s"]
    assert set(named) <= set(metrics)
    assert [entry.step for entry in client.get_metric_history(found[0].info.run_id, "harmonic.mae_cm1")] == [0, 1]
    top = {item.path for item in client.list_artifacts(found[0].info.run_id)}
    assert {"config.yaml", "dataset", "figures", "models", "report.html", "spectra"} <= top


def test_a_later_stage_of_an_existing_study(killed, shared):
    study, _, _ = killed
    done = run(study, "task=spectra", "temperature=500", f"spectrum.experiment={shared / 'experiment' / 'methanol.jdx'}")
    assert done.returncode == 0, done.stderr
    assert (study / "spectra" / "methanol-500K-predicted.csv").is_file()
    assert "pcc_ml_exp" in done.stderr


def test_a_study_named_by_its_directory_keeps_its_settings(killed):
    """No preset, no committee size: they are the study's own; only what is said changes."""
    study, _, _ = killed
    arguments = ["task=spectra", f"study={study}", "temperature=400", "spectrum.max_lag=150", "tracker=none"]
    done = subprocess.run([sys.executable, "run.py", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    resolved = (study / "config.yaml").read_text()
    for line in ("max_lag: 150", "size: 2", "length: 0.5"):
        assert line in resolved
    assert (study / "spectra" / "methanol-400K-predicted.csv").is_file()


def test_other_settings_are_not_mixed_in(killed):
    study, _, _ = killed
    done = run(study, "seed=7")
    assert done.returncode == 1
    assert "seed: 1 -> 7" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stage_that_comes_too_early_says_what_is_missing(tmp_path):
    for task in ("dipole", "spectra", "analyse"):
        done = run(tmp_path / "empty", f"task={task}")
        assert done.returncode == 1
        assert "run task=active_learning" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_sweep_is_told_apart(tmp_path):
    done = subprocess.run(
        [
            sys.executable, "run.py", "-m", "experiment=tiny", "committee.size=1,2", f"study={tmp_path}/sweep", "task=active_learning",
            f"tracker.uri=sqlite:///{tmp_path}/mlflow.db", "learning.iterations=1", "training.potential.updates=20",
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(place.name for place in (tmp_path / "sweep").iterdir()) == ["committee.size=1", "committee.size=2"]
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name("palirs").experiment_id])
    children = [run for run in found if "mlflow.parentRunId" in run.data.tags]
    assert {run.data.params["committee.size"] for run in children} == {"1", "2"}
    assert len({run.data.tags["mlflow.parentRunId"] for run in children}) == 1
