"""Spectra of ring polymers of diatomic molecules, whose levels are known exactly."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.data import atomic_masses

from palirs.dynamics import Noise, RingField, initial_rings, ring_polymer
from palirs.randomness import stream
from palirs.spectra import infrared_spectrum, undo_verlet_shift
from palirs.units import (
    CM1_PER_EV,
    ENERGY,
    EV_PER_AMU_A2_FS2,
    HBAR,
    KM_PER_MOL,
    SPEED_OF_LIGHT,
)
from tests.dynamics.test_rings import STIFFNESS, Dimers, reduced_mass, run, start

CHARGE = 0.3
"""On the atoms [e]."""


class Morse:
    """O-H as a Morse oscillator, E = D (1 − exp(−a (r − r₀)))², with roughly the bond of water.

    Its levels are ω(n + ½) − ωx (n + ½)² with ωx = ω²/4D.
    """

    depth, range, length = 116.09 * ENERGY["kcal/mol"], 2.287, 0.9419  # eV, Å⁻¹, Å

    def __init__(self, count):
        self.count = count

    def __call__(self, positions):
        pairs = positions.reshape(self.count, 2, 3)
        arm = pairs[:, 1] - pairs[:, 0]
        length = torch.linalg.norm(arm, dim=1, keepdim=True)
        decay = torch.exp(-self.range * (length - self.length))
        force = 2 * self.depth * self.range * (1 - decay) * decay * arm / length
        energy = (self.depth * (1 - decay) ** 2).T
        return energy, torch.stack([force, -force], dim=1).reshape(1, -1, 3)

    def only(self, molecules):
        return Morse(len(molecules))


def levels():
    """Return the harmonic and the fundamental wavenumber of :class:`Morse` [cm⁻¹]."""
    masses = atomic_masses[[1, 8]]
    inertia = EV_PER_AMU_A2_FS2 * masses.prod() / masses.sum()
    harmonic = HBAR * Morse.range * np.sqrt(2 * Morse.depth / inertia)
    return CM1_PER_EV * harmonic, CM1_PER_EV * (harmonic - harmonic**2 / (2 * Morse.depth))


def morse(beads, trajectories, steps, friction=1.0, seed=0):
    """Return dipoles ``[trajectories, steps, 3]`` [e·Å] at 300 K, and lengths of the bond [Å]."""
    molecules = [Atoms("HO", [(0, 0, 0), (Morse.length, 0, 0)]) for _ in range(trajectories)]
    seeds = [stream(seed, "morse", number) for number in range(trajectories)]
    noise = Noise(seeds, [2 * beads] * trajectories)
    field = RingField(Morse(beads * trajectories), beads, trajectories)
    target = torch.full((trajectories,), 300.0).double()
    state, ring = initial_rings(molecules, field, target, noise)
    state, ring = run(2000, state, ring, field, noise, target)
    arms = []
    for _ in range(steps):
        state, ring = ring_polymer(state, ring, field, noise, 0.5, friction, target)
        pairs = state.positions.reshape(trajectories, 2, 3)
        arms.append((pairs[:, 1] - pairs[:, 0]).numpy())
    vectors = np.array(arms).swapaxes(0, 1)
    return CHARGE * vectors, np.linalg.norm(vectors, axis=2)


def band(dipoles, centre, reach=500.0, max_lag=1000.0):
    """Return the spectrum around a wavenumber, and its mean wavenumber there [cm⁻¹]."""
    spectrum = undo_verlet_shift(infrared_spectrum(dipoles, 0.5, max_lag=max_lag), 0.5)
    near = spectrum.within(centre - reach, centre + reach)
    return near, float((near.wavenumber * near.intensity).sum() / near.intensity.sum())


def stretch(lengths, centre):
    """Return :func:`band` of the length of a bond ``[trajectories, steps]``: no rotation."""
    return band(np.stack([lengths, *np.zeros((2, *lengths.shape))], axis=2), centre)


def test_a_harmonic_band_is_where_it_is_without_beads_and_as_strong():
    """The centroid of a harmonic bond moves like a classical atom: ν and 974.9 km/mol (∂μ/∂Q)²."""
    count, beads = 30, 6
    state, ring, field, noise, target = start(count, beads)
    assert isinstance(field._evaluator, Dimers)
    mass = reduced_mass(state)
    wavenumber = np.sqrt(STIFFNESS / mass) / (2 * np.pi * SPEED_OF_LIGHT)
    state, ring = run(400, state, ring, field, noise, target)
    dipoles = []
    for _ in range(6000):
        state, ring = run(1, state, ring, field, noise, target, friction=3.0)
        pairs = ring.beads.mean(dim=0).reshape(count, 2, 3)
        dipoles.append((CHARGE * (pairs[:, 1] - pairs[:, 0])).numpy())
    near, mean = band(np.array(dipoles).swapaxes(0, 1), wavenumber, max_lag=1500.0)
    assert mean == pytest.approx(wavenumber, abs=1.0)
    expected = 3 * KM_PER_MOL * CHARGE**2 / (mass / EV_PER_AMU_A2_FS2)
    assert near.area == pytest.approx(expected, rel=0.12)


@pytest.mark.thorough
def test_an_anharmonic_bond_vibrates_near_its_fundamental_and_not_where_a_classical_one_does():
    """The fundamental is 186 cm⁻¹ below the harmonic wavenumber, the classical band 25.

    Ring polymers are some 25 cm⁻¹ too high, the bias of the method.
    """
    harmonic, fundamental = levels()
    assert harmonic - fundamental == pytest.approx(186, abs=1)
    _, classical = stretch(morse(1, 40, 4000)[1], fundamental)
    _, rings = stretch(morse(16, 40, 4000)[1], fundamental)
    assert harmonic - 40 < classical < harmonic - 10
    assert rings == pytest.approx(fundamental + 25, abs=20)
