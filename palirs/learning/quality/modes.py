"""Derivatives along the normal modes by committee and dipole model, against the engine's.

They are taken at the engine's optimum, so a mode whose derivatives no model has learnt is a test of
curvature and polarity that owes nothing to the geometry.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from palirs import keys
from palirs.geometry.electrons import about_centre_of_mass
from palirs.learning.modes import held_out_modes, mode_derivatives
from palirs.learning.quality.frequencies import STRONG
from palirs.mace.models.committee import Committee
from palirs.mace.models.dipole import DipoleModel
from palirs.mace.training.derivatives import FRACTION, displaced
from palirs.vibrations import Harmonic

CURVATURE, WAVENUMBER = "harmonic.held_out_curvature", "harmonic.held_out_mae_cm1"
INTENSITY = "harmonic.held_out_intensity"
"""Metrics of the modes that were held out; those of one molecule have its name behind them."""


def not_learnt(metrics: Mapping[str, float], key: str) -> float:
    """Return a metric; of frequencies, that of the modes held out where the others are learnt."""
    instead = WAVENUMBER if key == "harmonic.mae_cm1" else key
    return metrics.get(instead, metrics.get(key, np.nan))


def frequencies_in_words(metrics: Mapping[str, float]) -> str:
    """Return how far harmonic frequencies are off, and which of them were learnt."""
    text = f"within {metrics['harmonic.mae_cm1']:.1f} cm⁻¹ of the engine's on average"
    if WAVENUMBER not in metrics:
        return f"harmonic frequencies {text}"
    return (
        f"harmonic frequencies, learnt with the engine's Hessian but for the modes held out, {text}"
        f" ({metrics[WAVENUMBER]:.1f} cm⁻¹ for these)"
    )


def wavenumber_errors(committee: Committee, references: Sequence[Harmonic]) -> dict[str, float]:
    """Return mean absolute errors of the modes held out, by potentials in float64.

    The curvature is ω², its error relative; that of the wavenumber follows from it [cm⁻¹].
    """
    curvatures, wavenumbers = {}, {}
    for reference in references:
        if held_out := held_out_modes(reference):
            ratio = _curvatures(committee, reference, held_out)
            true = reference.frequencies[held_out]
            name = str(reference.atoms.info[keys.MOLECULE])
            curvatures[name] = ratio - 1
            wavenumbers[name] = true * (np.sign(ratio) * np.sqrt(np.abs(ratio)) - 1)
    return _means(CURVATURE, curvatures) | _means(WAVENUMBER, wavenumbers)


def intensity_errors(dipole: DipoleModel, references: Sequence[Harmonic]) -> dict[str, float]:
    """Return mean relative errors of the intensities of strong modes that are held out."""
    errors = {}
    for reference in references:
        if reference.intensities is None or reference.dipole_derivatives is None:
            continue
        held_out = held_out_modes(reference)
        if strong := [number for number in held_out if reference.intensities[number] > STRONG]:
            name = str(reference.atoms.info[keys.MOLECULE])
            errors[name] = _intensities(dipole, reference, strong) - 1
    return _means(INTENSITY, errors)


def _means(key: str, errors: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return mean absolute errors over all modes, and over those of each molecule."""
    if not errors:
        return {}
    means = {f"{key}.{name}": float(np.abs(values).mean()) for name, values in errors.items()}
    return {key: float(np.abs(np.concatenate(list(errors.values()))).mean()), **means}


def _curvatures(committee: Committee, reference: Harmonic, modes: Sequence[int]) -> np.ndarray:
    """Return ω² of modes by the committee over that by the engine, ``[modes]``."""
    every = mode_derivatives(reference)
    derivatives = [every[number] for number in modes]
    predicted = committee.double().evaluate(displaced(derivatives)).forces
    forces = np.array([each.mean(axis=0) for each in predicted])
    changes = (forces[::2] - forces[1::2]) / (2 * FRACTION)
    steps = np.array([derivative.step for derivative in derivatives])
    expected = np.array([derivative.forces for derivative in derivatives])
    return (changes * steps).sum(axis=(1, 2)) / (expected * steps).sum(axis=(1, 2))


def _intensities(dipole: DipoleModel, reference: Harmonic, modes: Sequence[int]) -> np.ndarray:
    """Return the intensities of modes by the dipole model over those by the engine."""
    every = mode_derivatives(reference)
    derivatives = [every[number] for number in modes]
    dipoles = dipole.evaluate(displaced(derivatives)).mean(axis=0)
    changes = (dipoles[::2] - dipoles[1::2]) / (2 * FRACTION)
    expected = np.array([derivative.dipole for derivative in derivatives], dtype=float)
    steps = np.array([derivative.step for derivative in derivatives])
    own, true = (about_centre_of_mass(reference.atoms, steps, each) for each in (changes, expected))
    return (own**2).sum(axis=1) / (true**2).sum(axis=1)
