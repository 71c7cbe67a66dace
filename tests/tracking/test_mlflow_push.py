import json

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from palirs.lock import locked
from palirs.tracking import MLflow, Off, contents, mlflow_send


def runs(store):
    client = mlflow.MlflowClient(tracking_uri=store.uri)
    experiment = client.get_experiment_by_name(store.experiment)
    return client, client.search_runs([experiment.experiment_id]) if experiment else []


def known(run):
    """Return the metrics of a run without the one that is NaN until there is a value."""
    return {name: value for name, value in run.data.metrics.items() if value == value}


def iteration(study, number=0):
    """Make the files of a complete iteration."""
    place = study / "iterations" / f"{number:03d}"
    place.mkdir(parents=True)
    (place / "metrics.json").write_text("{}")
    for part in ("train", "test"):
        (place / f"{part}.xyz").write_text("2\nmolecule=H2\nH 0 0 0\nH 0 0 1\n" * 3)
    (place / "potential-0.safetensors").write_bytes(b"weights")
    return place


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


def test_the_epochs_of_a_training_are_logged_in_one_call_and_once(store, tmp_path, monkeypatch):
    losses = [1.0 / (1 + number) for number in range(700)]
    calls = []
    send = mlflow_send.send_metrics
    log = iteration(tmp_path) / "potential-1.jsonl"
    log.write_text("".join(f'{{"epoch": {n}, "loss": {loss}}}\n' for n, loss in enumerate(losses)))
    monkeypatch.setattr(
        mlflow_send, "send_metrics", lambda *given: calls.append(given) or send(*given)
    )
    for _ in range(2):  # the second time as a study that goes on
        with store.open(tmp_path, "methanol", {}, None):
            pass
    client, found = runs(store)
    history = client.get_metric_history(found[0].info.run_id, "training/000/loss.1")
    assert [(entry.step, entry.value) for entry in history] == list(enumerate(losses))
    assert len(calls) == 1


def test_comparisons_open_on_the_headline_whatever_is_logged_first(store, tmp_path):
    """MLflow shows first what was logged first; its value may come hours after the first curve."""
    (iteration(tmp_path) / "potential-0.jsonl").write_text('{"epoch": 0, "loss": 1.0}\n')
    with store.open(tmp_path, "x", {}, None) as tracker:
        tracker.push()
        tracker.metrics({"harmonic.mae_cm1": 3.0})
    _, (run,) = runs(store)
    assert next(iter(run.data.metrics)) == "headline/harmonic.mae_cm1"
    assert run.data.metrics["headline/harmonic.mae_cm1"] == 3.0


def test_of_two_values_of_a_step_the_later_one_counts(store, tmp_path):
    with store.open(tmp_path, "x", {}, None) as tracker:
        for value in (2.0, 1.0, 3.0, 1.5):
            tracker.metrics({"a": value})
    assert known(runs(store)[1][0]) == {"a": 1.5}


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
    (kept,) = contents.Metrics(tmp_path).lines
    assert (kept["step"], kept["values"]) == (3, {"a": 1.0})
    with store.open(tmp_path, "x", {}, None):
        pass
    client, found = runs(store)
    assert client.get_metric_history(found[0].info.run_id, "a")[0].step == 3


def test_the_files_of_a_study_arrive_once(store, tmp_path, monkeypatch):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "a.png").write_bytes(b"picture")
    (tmp_path / "config.yaml").write_text("seed: 1")
    iteration(tmp_path)
    (tmp_path / "dipole-000.safetensors").write_bytes(b"weights")
    sent, send = [], mlflow.MlflowClient.log_artifact
    monkeypatch.setattr(
        mlflow.MlflowClient, "log_artifact", lambda *given: sent.append(given[2]) or send(*given)
    )
    for _ in range(2):
        with store.open(tmp_path, "x", {}, None) as tracker:
            tracker.push()
    client, (run,) = runs(store)

    def listed(folder):
        return [item.path for item in client.list_artifacts(run.info.run_id, folder)]

    assert listed(None) == ["config.yaml", "dataset", "figures", "models"]
    assert listed("figures") == ["figures/a.png"]
    assert listed("dataset") == ["dataset/test.xyz", "dataset/train.xyz"]
    assert listed("models") == ["models/dipole-000.safetensors", "models/potential-0.safetensors"]
    assert len(sent) == 6, "each once"
    (tmp_path / "figures" / "a.png").write_bytes(b"another picture")
    with store.open(tmp_path, "x", {}, None):
        pass
    assert len(sent) == 7, "what has changed, again"


def test_no_tracking(tmp_path):
    with Off().open(tmp_path, "x", {}, None) as tracker:
        tracker.metrics({"a": 1.0})
        tracker.describe("text")
    assert list(tmp_path.iterdir()) == []


def test_data_sets_descriptions_and_where_a_run_comes_from(store, tmp_path):
    place = iteration(tmp_path)
    (place / "test.xyz").unlink()
    (place / "potential-1.jsonl").write_text('{"epoch": 0, "loss": 2.0}\n')
    with store.open(
        tmp_path, "x", {"seed": 0, "model._target_": "x", "executor.workers": 2}, None
    ) as tracker:
        tracker.describe("![spectrum](get-artifact?path=a.png&run_uuid={run})")
        tracker.metrics({"harmonic.mae_cm1": 3.0})
    _, (run,) = runs(store)
    (given,) = run.inputs.dataset_inputs
    assert given.dataset.name == f"{tmp_path.name} 000 train"
    assert given.tags[0].value == "training"
    assert json.loads(given.dataset.profile) == {"structures": 3, "molecules": 1}
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
    (tmp_path / "report.html").write_text("<p>done</p>")
    monkeypatch.setattr(contents, "ARTIFACTS", {"../outside": ("report.html",)})
    with store.open(tmp_path, "x", {}, None) as tracker:
        tracker.metrics({"first.1,3-butadiene": 1.0})
        tracker.metrics({"impossible": 1.0}, step=2**70)
        tracker.metrics({"last": 2.0})
        tracker.describe("what was done")
    _, (run,) = runs(store)
    assert known(run) == {"first.1_3-butadiene": 1.0, "last": 2.0}
    assert json.loads(run.data.tags["palirs.names"]) == {"1_3-butadiene": "1,3-butadiene"}
    assert run.data.tags["palirs.missing"].startswith("2: the metric impossible")
    note = run.data.tags["mlflow.note.content"]
    assert "what was done" in note and "`1_3-butadiene` for `1,3-butadiene`" in note
    assert "the artifact report.html" in note and str(tmp_path) in note
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
    assert set(known(run)) == {f"even-{number}" for number in range(20)}
    assert "odd-7 (not this one)" in run.data.tags["palirs.missing"]


def test_what_failed_arrives_later_and_the_run_no_longer_says_that_it_is_missing(
    store, tmp_path, monkeypatch
):
    (tmp_path / "figures").mkdir()
    for name in ("report.html", "figures/a.png"):
        (tmp_path / name).write_bytes(b"content")
    send = mlflow.MlflowClient.log_artifact
    monkeypatch.setattr(mlflow.MlflowClient, "log_artifact", _fails)
    with store.open(tmp_path, "x", {}, None) as tracker:
        tracker.metrics({"a": 1.0})
    client, (run,) = runs(store)
    assert run.data.tags["palirs.missing"].startswith("2: ")
    assert "disk is full" in run.data.tags["palirs.missing"]
    assert known(run) == {"a": 1.0}
    monkeypatch.setattr(mlflow.MlflowClient, "log_artifact", send)
    with store.open(tmp_path, "x", {}, None):
        pass
    client, (run,) = runs(store)
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == [
        "figures",
        "report.html",
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


def test_what_an_earlier_version_had_sent_is_not_sent_again(store, tmp_path):
    """Its queue, ``tracking.jsonl``, becomes the metrics of the study and what its run has."""
    with store.open(tmp_path, "x", {}, None) as tracker:
        tracker.metrics({"a": 1.0})
    state = json.loads((tmp_path / "tracking.json").read_text())
    (tmp_path / "metrics.jsonl").unlink()
    queue = [
        {"kind": "metrics", "values": {"a": 1.0}, "step": 0},
        {"kind": "series", "steps": [[0, {"training.000.1.loss": 2.0}]]},
        {"kind": "artifact", "path": "gone.png", "folder": "", "changed": 0.0},
        {"kind": "metrics", "values": {"a": 2.0}, "step": 1},
    ]
    (tmp_path / "tracking.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in queue))
    old = {key: state[key] for key in ("uri", "experiment", "run")} | {"sent": 3, "missing": {}}
    (tmp_path / "tracking.json").write_text(json.dumps(old))
    log = iteration(tmp_path) / "potential-1.jsonl"
    log.write_text('{"epoch": 0, "loss": 2.0}\n{"epoch": 1, "loss": 1.0}\n')
    with store.open(tmp_path, "x", {}, None):
        pass
    client, (run,) = runs(store)
    assert run.info.run_id == state["run"]

    def steps(name):
        return [entry.step for entry in client.get_metric_history(run.info.run_id, name)]

    assert steps("a") == [0, 1]
    assert steps("training/000/loss.1") == [1], "the first one is in the run since then"
