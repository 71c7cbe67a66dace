"""Infrared spectra from dipoles and from measured files, and their similarity."""

from palirs.spectra.compare import pearson, wasserstein
from palirs.spectra.infrared import Strata, autocorrelation, infrared_spectrum, undo_verlet_shift
from palirs.spectra.measured.reading import read_columns, read_jcamp, read_spectrum
from palirs.spectra.spectrum import Spectrum, mean_spectrum

__all__ = [
    "Spectrum",
    "Strata",
    "autocorrelation",
    "infrared_spectrum",
    "mean_spectrum",
    "pearson",
    "read_columns",
    "read_jcamp",
    "read_spectrum",
    "undo_verlet_shift",
    "wasserstein",
]
