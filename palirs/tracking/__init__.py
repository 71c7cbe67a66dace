"""Experiment tracking: where metrics and files go. It may be late or absent; computing goes on."""

from palirs.tracking.base import Off, Silent, Tracker
from palirs.tracking.mlflow_push import MLflow
from palirs.tracking.registry import download

__all__ = ["MLflow", "Off", "Silent", "Tracker", "download"]
