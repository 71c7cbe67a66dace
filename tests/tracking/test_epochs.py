import json
import time

import mlflow
import pytest

from palirs.tracking import MLflow, epochs, following


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return MLflow(uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="test")


def test_epochs_arrive_while_the_training_runs_and_once(store, tmp_path, monkeypatch):
    """Also when the study goes on, and when a resumed training writes some epochs again."""
    monkeypatch.setattr(epochs, "PAUSE", 0.05)
    place = tmp_path / "iterations" / "000.partial"
    place.mkdir(parents=True)
    log = place / "potential-1.jsonl"
    client = mlflow.MlflowClient(tracking_uri=store.uri)

    def write(numbers):
        log.write_text(
            "".join(
                json.dumps(
                    {"epoch": e, "updates": 5 * e, "valid_loss": 1.0 / (1 + e), "seconds": 0.1}
                )
                + "\n"
                for e in numbers
            )
        )

    def arrived():
        runs = client.search_runs([client.get_experiment_by_name("test").experiment_id])
        return [
            entry.step
            for entry in client.get_metric_history(runs[0].info.run_id, "training/000/valid_loss.1")
        ]

    with store.open(tmp_path, "methanol", {}, None) as tracker, following(tmp_path, tracker):
        write(range(5))
        time.sleep(0.5)
        assert arrived() == [], "what comparisons open on comes first"
        tracker.metrics({"harmonic.mae_cm1": 1.0})
        write(range(40))
        deadline = time.time() + 20
        while len(arrived()) < 40:
            assert time.time() < deadline
            time.sleep(0.1)
        write(range(30))  # killed, and gone on with from an earlier epoch
    with store.open(tmp_path, "methanol", {}, None) as tracker, following(tmp_path, tracker):
        write(range(60))
    assert arrived() == list(range(60))


def test_a_line_that_is_not_complete_is_left_for_later(tmp_path):
    class Kept(list):
        def series(self, values):
            self.extend(values)
            return True

    kept = Kept()
    (tmp_path / "dipole-001.jsonl").write_text('{"epoch": 0, "loss": 1.0}\n{"epoch": 1, "lo')
    (tmp_path / "iterations/002.partial").mkdir(parents=True)
    (tmp_path / "iterations/002.partial/dipole-0.jsonl").write_text('{"epoch": 3, "loss": 2.0}\n')
    with following(tmp_path, kept):
        pass
    assert sorted(kept) == [
        (0, {"training.dipole-001.loss": 1.0}),
        (3, {"training.002.dipole-0.loss": 2.0}),
    ]
    assert epochs.PAUSE >= 1, "an edge: it must not take time from trainings"
