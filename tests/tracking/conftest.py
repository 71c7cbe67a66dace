"""An MLflow store for each test; making one takes its migrations ten seconds, so it is copied."""

import shutil

import mlflow
import pytest

from palirs.tracking import MLflow


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """Return the file of an MLflow store with no runs."""
    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def store(tmp_path, monkeypatch, empty_database):
    """Return the recipe of a tracker; artifacts of a SQLite store go beside it."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    return MLflow(uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="test")
