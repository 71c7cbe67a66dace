"""A real MLflow server that is killed while a study logs to it, and started again."""

import mlflow
import pytest

from palirs.tracking import MLflow, mlflow_push
from tests.integration.conftest import free_port, server

pytestmark = [pytest.mark.integration, pytest.mark.thorough]


def test_a_server_that_is_killed_midway_and_started_again_has_everything(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(mlflow_push, "PAUSE", 0.0)
    store, port = f"sqlite:///{tmp_path}/server.db", free_port()
    study = tmp_path / "study"
    study.mkdir()
    (study / "report.html").write_text("<p>done</p>")
    recipe = MLflow(uri=f"http://127.0.0.1:{port}", experiment="test")
    first = server(store, port)
    first.__enter__()
    with recipe.open(study, "study", {"seed": 1}, None) as tracker:
        for step in range(3):
            tracker.metrics({"harmonic.mae_cm1": 10.0 - step}, step)
        tracker.push()
        first.__exit__(None, None, None)
        for step in range(3, 6):
            tracker.metrics({"harmonic.mae_cm1": 10.0 - step}, step)
        tracker.push()
        assert "not reachable" in caplog.text
        second = server(store, port)
        address = second.__enter__()
    client = mlflow.MlflowClient(tracking_uri=address)
    (run,) = client.search_runs([client.get_experiment_by_name("test").experiment_id])
    history = client.get_metric_history(run.info.run_id, "harmonic.mae_cm1")
    assert [(entry.step, entry.value) for entry in history] == [
        (step, 10.0 - step) for step in range(6)
    ]
    assert run.info.status == "FINISHED"
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["report.html"]
    second.__exit__(None, None, None)
