"""What is found in a study directory; curves of trainings while they run."""

import json
import time

import mlflow
import pytest

from palirs.tracking import contents, mlflow_push


def test_epochs_arrive_while_the_training_runs_and_once(store, tmp_path, monkeypatch):
    """Also when the study goes on, and when a resumed training writes some epochs again."""
    monkeypatch.setattr(mlflow_push, "INTERVAL", 0.05)
    place = tmp_path / "iterations" / "000.partial"
    place.mkdir(parents=True)
    client = mlflow.MlflowClient(tracking_uri=store.uri)

    def write(count):
        lines = [{"epoch": e, "updates": 5 * e, "loss": 1 / (1 + e)} for e in range(count)]
        (place / "potential-1.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))

    def arrived():
        (run,) = client.search_runs([client.get_experiment_by_name("test").experiment_id])
        history = client.get_metric_history(run.info.run_id, "training/000/loss.1")
        return [entry.step for entry in history]

    with store.open(tmp_path, "methanol", {}, None) as tracker:
        write(40)
        tracker.push()
        write(50)
        while len(arrived()) < 50:  # for ever, if nobody follows the log
            time.sleep(0.05)
        write(30)  # killed, and gone on with from an earlier epoch
    with store.open(tmp_path, "methanol", {}, None):
        write(60)
    assert arrived() == list(range(60))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("dipole-001.jsonl", "training.dipole-001"),
        ("iterations/002.partial/potential-1.jsonl", "training.002.1"),
        ("iterations/002/dipole-0.jsonl", "training.002.dipole-0"),
    ],
)
def test_a_line_that_is_not_complete_is_left_for_later(tmp_path, file, name):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text('{"epoch": 0, "loss": 1.0, "seconds": 3}\n{"epoch": 1, "lo')
    ((found, log),) = contents.curves(tmp_path)
    assert found == name
    assert contents.epochs(found, log, -1) == [(0, {f"{name}.loss": 1.0})]
    assert contents.epochs(found, log, 0) == []


def test_metrics_survive_a_line_that_was_cut_off_and_are_kept_once(tmp_path):
    contents.Metrics(tmp_path).add({"a": 1.0}, 0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"time": 0, "st')
    metrics = contents.Metrics(tmp_path)
    metrics.add({"a": 1.0}, 0)
    metrics.add({"a": 1.0}, 1)
    lines = contents.Metrics(tmp_path).lines
    assert [line["step"] for line in lines] == [0, 1]
    assert lines[0]["time"] < lines[1]["time"]
