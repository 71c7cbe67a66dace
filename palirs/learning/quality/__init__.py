"""How good models are: errors on labelled frames and of harmonic vibrations, calibration, convergence."""
