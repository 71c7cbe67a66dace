"""Production: long MD whose dipoles become spectra, and its files."""

from palirs.production.pace import duration, seconds_per_step
from palirs.production.results import Run, check_enough, densities_of, spectrum_of
from palirs.production.simulation import Source, jobs_of, simulate, steps_left
from palirs.production.starts import Starts

__all__ = [
    "Run",
    "Source",
    "Starts",
    "check_enough",
    "densities_of",
    "duration",
    "jobs_of",
    "seconds_per_step",
    "simulate",
    "spectrum_of",
    "steps_left",
]
