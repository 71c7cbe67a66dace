"""A trained committee and its dipole model as one thing to take home: a molecule goes in, its infrared spectrum comes out."""

from palirs.predictor.bundle import Predictor, open_predictor
from palirs.predictor.prediction import Prediction, predict

__all__ = ["Prediction", "Predictor", "open_predictor", "predict"]
