import json

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from palirs.lock import locked
from palirs.tracking import MLflow, Off, mlflow_outbox


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
    assert [(entry.step, entry.value) for entry in history] == [
        (number, values["loss"]) for number, values in epochs
    ]


def test_a_study_that_fails_is_marked(store, tmp_path):
    with pytest.raises(ZeroDivisionError), store.open(tmp_path, "x", {}, None):
        _ = 1 / 0
    assert runs(store)[1][0].info.status == "FAILED"


def test_jobs_of_a_sweep_share_a_parent(store, tmp_path):
    for size in (2, 3):
        study = tmp_path / str(size)
        study.mkdir()
        with store.open(
            study, f"size={size}", {"committee.size": size}, "committee_size"
        ) as tracker:
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
    assert [item.path for item in client.list_artifacts(found[0].info.run_id, "figures")] == [
        "figures/figure.png"
    ]


def test_no_tracking(tmp_path):
    with Off().open(tmp_path, "x", {}, None) as tracker:
        tracker.metrics({"a": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_data_sets_descriptions_and_where_a_run_comes_from(store, tmp_path):
    (tmp_path / "train.xyz").write_text("2\n\nH 0 0 0\nH 0 0 1\n")
    with store.open(
        tmp_path, "x", {"seed": 0, "model._target_": "x", "executor.workers": 2}, None
    ) as tracker:
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
    assert {run.info.run_name: run.info.status for run in runs(store)[1]} == {
        "dead": "KILLED",
        "alive": "RUNNING",
        "third": "FINISHED",
    }


def test_an_entry_that_mlflow_refuses_holds_up_nothing_and_the_run_says_so(
    store, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(mlflow_outbox, "PAUSE", 0.0)
    (tmp_path / "figure.png").write_bytes(b"picture")
    with store.open(tmp_path, "x", {}, None) as tracker:
        tracker.metrics({"first.1,3-butadiene": 1.0})
        tracker.metrics({"impossible": 1.0}, step=2**70)
        tracker.artifact(tmp_path / "figure.png", "../outside")
        tracker.metrics({"last": 2.0})
        tracker.describe("what was done")
    _, (run,) = runs(store)
    assert run.data.metrics == {"first.1_3-butadiene": 1.0, "last": 2.0}
    assert json.loads(run.data.tags["palirs.names"]) == {"1_3-butadiene": "1,3-butadiene"}
    assert run.data.tags["palirs.missing"].startswith("2: the metric impossible")
    note = run.data.tags["mlflow.note.content"]
    assert "what was done" in note and "`1_3-butadiene` for `1,3-butadiene`" in note
    assert "the artifact figure.png" in note and "tracking.jsonl" in note
    assert "lacks 2 entries" in caplog.text
    assert run.info.status == "FINISHED"


def test_of_many_metrics_only_the_refused_ones_are_left_out(store, tmp_path, monkeypatch):
    """A server with other rules than ours: half of the names are refused."""
    refusal = MlflowException("not this one", INVALID_PARAMETER_VALUE)
    send = mlflow.MlflowClient.log_batch

    def log_batch(self, run, metrics=(), **others):
        if any("odd" in metric.key for metric in metrics):
            raise refusal
        send(self, run, metrics=metrics, **others)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", log_batch)
    with store.open(tmp_path, "x", {}, None) as tracker:
        tracker.metrics(
            {f"{kind}-{number}": 1.0 for number in range(20) for kind in ("odd", "even")}
        )
    _, (run,) = runs(store)
    assert set(run.data.metrics) == {f"even-{number}" for number in range(20)}
    assert "odd-7 (not this one)" in run.data.tags["palirs.missing"]


def test_what_failed_arrives_later_and_the_run_no_longer_says_that_it_is_missing(
    store, tmp_path, monkeypatch
):
    (tmp_path / "figure.png").write_bytes(b"picture")
    send = mlflow.MlflowClient.log_artifact
    monkeypatch.setattr(mlflow.MlflowClient, "log_artifact", _fails)
    with store.open(tmp_path, "x", {}, None) as tracker:
        tracker.artifact(tmp_path / "figure.png")
        tracker.artifact(tmp_path / "figure.png", "figures")
        tracker.metrics({"a": 1.0})
    client, (run,) = runs(store)
    assert run.data.tags["palirs.missing"].startswith("2: ")
    assert "disk is full" in run.data.tags["palirs.missing"]
    assert run.data.metrics == {"a": 1.0}
    monkeypatch.setattr(mlflow.MlflowClient, "log_artifact", send)
    with store.open(tmp_path, "x", {}, None):
        pass
    client, (run,) = runs(store)
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == [
        "figure.png",
        "figures",
    ]
    assert "palirs.missing" not in run.data.tags
    assert "missing" not in run.data.tags.get("mlflow.note.content", "")


def _fails(*_):
    raise OSError("disk is full")


def test_a_server_that_is_away_when_a_study_goes_on_keeps_its_run(store, tmp_path, monkeypatch):
    """Only a server that says so makes a run gone."""
    with store.open(tmp_path, "x", {}, None) as tracker:
        tracker.metrics({"a": 1.0})
    _, (run,) = runs(store)
    with monkeypatch.context() as away:
        away.setattr(mlflow.MlflowClient, "update_run", _away)
        with store.open(tmp_path, "x", {}, None) as tracker:
            tracker.metrics({"a": 2.0}, step=1)
    with store.open(tmp_path, "x", {}, None):
        pass
    client, found = runs(store)
    assert [one.info.run_id for one in found] == [run.info.run_id]
    assert len(client.get_metric_history(run.info.run_id, "a")) == 2


def _away(*_, **__):
    raise MlflowException("API request failed with exception ConnectionError")
