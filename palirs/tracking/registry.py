"""Models in MLflow: getting one from a registry or a run."""

from pathlib import Path

from palirs.recipes import PalirsError


def download(uri: str) -> Path:
    """Return a local copy of an MLflow model: ``models:/<name>/<version>``, ``runs:/<id>/<path>``.

    Where it is looked for is what MLflow's own variables say (``MLFLOW_TRACKING_URI``), else
    ``mlflow.db`` in this directory.

    Raises
    ------
    PalirsError
        If MLflow does not find it.
    """
    import os

    import mlflow

    store = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    try:
        return Path(mlflow.artifacts.download_artifacts(uri, tracking_uri=store))
    except Exception as error:  # whatever the server or its client raises
        raise PalirsError(
            f"model = {uri!r}: MLflow at {store} does not give it ({error}); MLFLOW_TRACKING_URI "
            "says where to look"
        ) from error
