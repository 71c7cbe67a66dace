"""Production: long MD, its files, and the spectra made of it."""

from palirs.production.ensemble import ConformerEnsemble
from palirs.production.pace import seconds_per_step
from palirs.production.results import Run, check_enough
from palirs.production.simulation import Simulation, Source, folder_of
from palirs.production.spectra import (
    Production,
    assign,
    densities_of,
    spectrum_of,
    spectrum_store,
)

__all__ = [
    "ConformerEnsemble",
    "Production",
    "Run",
    "Simulation",
    "Source",
    "assign",
    "check_enough",
    "densities_of",
    "folder_of",
    "seconds_per_step",
    "spectrum_of",
    "spectrum_store",
]
