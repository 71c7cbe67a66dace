"""Langevin dynamics of harmonic oscillators, to know what spectra should be."""

import numpy as np
from scipy.signal import lfilter

from palirs.units import BOLTZMANN, EV_PER_AMU_A2_FS2, SPEED_OF_LIGHT


def langevin(
    wavenumbers, trajectories, picoseconds, seed, timestep=0.5, friction=1.0, temperature=300.0
):
    """Positions [Å] and velocities [Å/fs] of oscillators of 1 amu by BAOAB, after each step.

    Shape ``[trajectories, steps, oscillators]``; they start in equilibrium. A step is linear in
    y = (x, v), y' = A y + B ξ, so y″ = (tr A) y′ − (det A) y + B ξ′ + (A − tr A) B ξ.
    """
    rng = np.random.default_rng(seed)
    omegas = 2 * np.pi * SPEED_OF_LIGHT * np.atleast_1d(wavenumbers).astype(float)
    heat = BOLTZMANN * temperature / EV_PER_AMU_A2_FS2
    first = rng.normal(size=(2, trajectories, len(omegas))) * np.sqrt(heat)
    first[0] /= omegas
    steps, kept = round(1e3 * picoseconds / timestep), np.exp(-friction * 1e-3 * timestep)
    noise = rng.normal(size=(steps, trajectories, len(omegas)))
    found = np.zeros((2, trajectories, steps, len(omegas)))
    for number, omega in enumerate(omegas):
        kick = np.array([[1, 0], [-0.5 * timestep * omega**2, 1]])
        drift = np.array([[1, 0.5 * timestep], [0, 1]])
        move = kick @ drift @ np.diag([1, kept]) @ drift @ kick
        width = kick @ drift @ np.array([0, np.sqrt((1 - kept**2) * heat)])
        trace, determinant = np.trace(move), np.linalg.det(move)
        later = (move - trace * np.eye(2)) @ width
        start = first[:, :, number]
        before = np.linalg.solve(move, start)
        for part in range(2):
            held = [trace * start[part] - determinant * before[part], -determinant * start[part]]
            found[part, :, :, number] = lfilter(
                [width[part], later[part]],
                [1, -trace, determinant],
                noise[:, :, number].T,
                zi=np.array(held).T,
            )[0]
    return found[0], found[1]
