"""Optima, harmonic frequencies, normal modes and infrared intensities of molecules."""

from palirs.vibrations.analysis import (
    Harmonic,
    Source,
    SourceCalculator,
    count_modes,
    finite_differences,
    harmonic,
    infrared_intensities,
    internal_directions,
    minimum,
    normal_modes,
    optimise,
    vibrational_space,
)
from palirs.vibrations.lockstep import together

__all__ = [
    "Harmonic",
    "Source",
    "SourceCalculator",
    "count_modes",
    "finite_differences",
    "harmonic",
    "infrared_intensities",
    "internal_directions",
    "minimum",
    "normal_modes",
    "optimise",
    "together",
    "vibrational_space",
]
