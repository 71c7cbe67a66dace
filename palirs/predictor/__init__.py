"""Predictors: a trained committee with its dipole model, from a molecule to its spectrum."""

from palirs.predictor.bundle import Predictor, open_predictor
from palirs.predictor.prediction import Prediction, predict

__all__ = ["Prediction", "Predictor", "open_predictor", "predict"]
