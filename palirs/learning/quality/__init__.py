"""How good the models are: errors, calibration of the spread, convergence of the learning."""
