import json

import mlflow
import pytest

from palirs.lock import locked
from palirs.tracking import MLflow, Off


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # artifacts of a SQLite store go beside it
    return MLflow(uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="test")


def runs(store):
    client = mlflow.MlflowClient(tracking_uri=store.uri)
    experiment = client.get_experiment_by_name(store.experiment)
    return client, client.search_runs([experiment.experiment_id]) if experiment else []


def test_a_study_that_goes_on_goes_on_in_its_run(store, tmp_path):
    for number in range(2):
        with store.open(tmp_path, "methanol", {"seed": 1}, None) as tracker:
            tracker.metrics({"harmonic.mae_cm1": 20.0}, step=0)
            tracker.metrics({"harmonic.mae_cm1": 10.0 - number}, step=1 + number)
    client, found = runs(store)
    assert len(found) == 1
    history = client.get_metric_history(found[0].info.run_id, "harmonic.mae_cm1")
    assert [(entry.step, entry.value) for entry in history] == [(0, 20.0), (1, 10.0), (2, 9.0)]
    assert found[0].data.params["seed"] == "1"
    assert found[0].info.status == "FINISHED"


def test_the_epochs_of_a_training_are_logged_in_one_call(store, tmp_path):
    epochs = [(number, {"loss": 1.0 / (1 + number), "valid_loss": 2.0}) for number in range(700)]
    with store.open(tmp_path, "methanol", {}, None) as tracker:
        assert not tracker.series(epochs), "what comparisons open on comes first"
        tracker.metrics({"harmonic.mae_cm1": 1.0})
        assert tracker.series(epochs)
        assert tracker.series(epochs)  # as when a study goes on
    client, found = runs(store)
    history = client.get_metric_history(found[0].info.run_id, "loss")
    assert [(entry.step, entry.value) for entry in history] == [(number, values["loss"]) for number, values in epochs]


def test_a_study_that_fails_is_marked(store, tmp_path):
    with pytest.raises(ZeroDivisionError), store.open(tmp_path, "x", {}, None):
        _ = 1 / 0
    assert runs(store)[1][0].info.status == "FAILED"


def test_jobs_of_a_sweep_share_a_parent(store, tmp_path):
    for size in (2, 3):
        study = tmp_path / str(size)
        study.mkdir()
        with store.open(study, f"size={size}", {"committee.size": size}, "committee_size") as tracker:
            tracker.metrics({"x": size})
    _, found = runs(store)
    children = [run for run in found if "mlflow.parentRunId" in run.data.tags]
    assert len(found) == 3
    assert len({run.data.tags["mlflow.parentRunId"] for run in children}) == 1
    assert {run.data.params["committee.size"] for run in children} == {"2", "3"}


def test_a_dead_server_delays_logging_and_nothing_else(tmp_path, monkeypatch, store):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    dead = MLflow(uri="http://127.0.0.1:9", experiment="test")
    with dead.open(tmp_path, "x", {}, None) as tracker:
        tracker.metrics({"a": 1.0}, step=3)
    kept = [json.loads(line) for line in (tmp_path / "tracking.jsonl").read_text().splitlines()]
    assert kept == [{"kind": "metrics", "values": {"a": 1.0}, "step": 3}]
    with store.open(tmp_path, "x", {}, None):
        pass
    client, found = runs(store)
    assert client.get_metric_history(found[0].info.run_id, "a")[0].step == 3


def test_artifacts_arrive(store, tmp_path):
    (tmp_path / "figure.png").write_bytes(b"picture")
    with store.open(tmp_path, "x", {}, None) as tracker:
        tracker.artifact(tmp_path / "figure.png", "figures")
    client, found = runs(store)
    assert [item.path for item in client.list_artifacts(found[0].info.run_id, "figures")] == ["figures/figure.png"]


def test_no_tracking(tmp_path):
    with Off().open(tmp_path, "x", {}, None) as tracker:
        tracker.metrics({"a": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_data_sets_descriptions_and_where_a_run_comes_from(store, tmp_path):
    (tmp_path / "train.xyz").write_text("2\n\nH 0 0 0\nH 0 0 1\n")
    with store.open(tmp_path, "x", {"seed": 0, "model._target_": "x", "executor.workers": 2}, None) as tracker:
        tracker.dataset(tmp_path / "train.xyz", "x 000 train", "training", "{}")
        tracker.describe("![spectrum](get-artifact?path=a.png&run_uuid={run})")
        tracker.metrics({"training.000.1.loss": 2.0, "harmonic.mae_cm1": 3.0})
    _, (run,) = runs(store)
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.tags[0].value) == ("x 000 train", "training")
    assert run.info.run_id in run.data.tags["mlflow.note.content"]
    assert run.data.tags["mlflow.source.git.commit"] and run.data.tags["palirs.version"]
    named = {"headline/harmonic.mae_cm1", "training/000/loss.1", "harmonic.mae_cm1"}
    assert set(run.data.metrics) == named, "names with slashes are folded; the stable ones stay"
    assert run.data.params == {"seed": "0"}


def test_runs_that_nobody_works_on_are_ended_by_the_next_one(store, tmp_path):
    for name in ("dead", "alive"):
        (tmp_path / name).mkdir()
        with store.open(tmp_path / name, name, {}, None):
            pass
    client, found = runs(store)
    for run in found:
        client.update_run(run.info.run_id, status="RUNNING")
    with locked(tmp_path / "alive", "task=study"), store.open(tmp_path, "third", {}, None):
        pass
    assert {run.info.run_name: run.info.status for run in runs(store)[1]} == {"dead": "KILLED", "alive": "RUNNING", "third": "FINISHED"}
