"""Langevin dynamics of harmonic oscillators, to know what spectra should be."""

import numpy as np

from palirs.units import BOLTZMANN, EV_PER_AMU_A2_FS2, SPEED_OF_LIGHT


def langevin(
    wavenumbers, trajectories, picoseconds, seed, timestep=0.5, friction=1.0, temperature=300.0
):
    """Positions [Å] and velocities [Å/fs] of oscillators of 1 amu by BAOAB, after each step.

    Shape ``[trajectories, steps, oscillators]``; they start in equilibrium.
    """
    rng = np.random.default_rng(seed)
    omega = 2 * np.pi * SPEED_OF_LIGHT * np.atleast_1d(wavenumbers).astype(float)
    heat = BOLTZMANN * temperature / EV_PER_AMU_A2_FS2
    position, velocity = rng.normal(size=(2, trajectories, len(omega))) * np.sqrt(heat)
    position /= omega
    steps, kept = round(1e3 * picoseconds / timestep), np.exp(-friction * 1e-3 * timestep)
    positions = np.zeros((trajectories, steps, len(omega)))
    velocities = np.zeros_like(positions)
    for step in range(steps):
        velocity -= 0.5 * timestep * omega**2 * position
        position += 0.5 * timestep * velocity
        velocity = kept * velocity + np.sqrt((1 - kept**2) * heat) * rng.normal(size=velocity.shape)
        position += 0.5 * timestep * velocity
        velocity -= 0.5 * timestep * omega**2 * position
        positions[:, step], velocities[:, step] = position, velocity
    return positions, velocities
