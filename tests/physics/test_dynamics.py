"""The integrator on analytic forces, where statistical mechanics says what must come out."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from palirs.dynamics import EngineField, Noise, initial_state, kinetic_temperature, langevin
from palirs.dynamics.forces import ForceOutput
from palirs.engines import TBLite
from palirs.randomness import stream
from palirs.units import BOLTZMANN, EV_PER_AMU_A2_FS2, SPEED_OF_LIGHT


class Dimers:
    """Diatomic molecules held by an isotropic spring between the atoms [eV/Å²]."""

    def __init__(self, count, stiffness=30.0):
        self.count, self.stiffness = count, stiffness

    def __call__(self, positions):
        pairs = positions.reshape(self.count, 2, 3)
        arm = pairs[:, 1] - pairs[:, 0]
        force = self.stiffness * arm
        return ForceOutput(
            0.5 * self.stiffness * (arm**2).sum(dim=1),
            torch.stack([force, -force], dim=1).reshape(-1, 3),
        )


def dimers(count, field, temperature, seed=0):
    molecules = [Atoms("HO", positions=np.zeros((2, 3))) for _ in range(count)]
    noise = Noise([stream(seed, "dimer", i) for i in range(count)], [2] * count)
    target = torch.tensor(temperature, dtype=torch.float64).expand(count).clone()
    return initial_state(molecules, field, target, noise), noise, target


def test_equipartition_of_kinetic_and_potential_energy():
    """After thermalisation a spring of three components holds 3/2 k_B T.

    And the momenta have the temperature.

    BAOAB samples positions of a harmonic oscillator exactly and its momenta with 1 − x²/4, x = ωΔt
    (Leimkuhler, Matthews 2013); here 2 %."""
    count, temperature, stiffness = 600, 300.0, 30.0
    field = Dimers(count, stiffness)
    state, noise, target = dimers(count, field, temperature)
    kinetic, potential = [], []
    m = state.masses[:2, 0]
    x = 0.5 * float(torch.sqrt(stiffness * m.sum() / (m[0] * m[1] * EV_PER_AMU_A2_FS2)))
    for step in range(3000):
        state = langevin(state, field, noise, 0.5, 20.0, target)
        if step > 1000 and step % 50 == 0:
            kinetic.append(kinetic_temperature(state).mean())
            potential.append(state.energy.mean())
    assert float(torch.stack(kinetic).mean()) == pytest.approx(
        temperature * (1 - x**2 / 4), rel=0.015
    )
    assert float(torch.stack(potential).mean()) == pytest.approx(
        1.5 * BOLTZMANN * temperature, rel=0.02
    )


def test_each_trajectory_has_its_own_temperature():
    count = 300
    field = Dimers(count, stiffness=3.0)
    temperature = [100.0] * 150 + [700.0] * 150
    state, noise, target = dimers(count, field, temperature)
    found = []
    for step in range(2000):
        state = langevin(state, field, noise, 0.5, 20.0, target)
        if step > 500 and step % 50 == 0:
            found.append(kinetic_temperature(state))
    mean = torch.stack(found).mean(dim=0)
    assert float(mean[:150].mean()) == pytest.approx(100, rel=0.06)
    assert float(mean[150:].mean()) == pytest.approx(700, rel=0.06)


def test_without_friction_energy_is_conserved_to_second_order():
    """The energy error of velocity Verlet falls with the square of the time step."""
    field = Dimers(1)

    def drift(timestep):
        state, noise, target = dimers(1, field, 300.0)
        energies = []
        for _ in range(round(200 / timestep)):
            state = langevin(state, field, noise, timestep, 0.0, target)
            kinetic = 0.5 * EV_PER_AMU_A2_FS2 * (state.masses * state.velocities**2).sum()
            energies.append(float(state.energy.sum() + kinetic))
        return np.std(energies)

    assert drift(0.5) / drift(0.25) == pytest.approx(4, rel=0.1)


def test_frequency_under_verlet():
    """A harmonic line ν appears at ν (2/x) asin(x/2), x = 2πcνΔt."""
    timestep, steps, bins = 0.5, 8000, 400_000
    field = Dimers(1, stiffness=45.0)
    state, noise, target = dimers(1, field, 300.0)
    m = state.masses[:, 0]
    omega = float(torch.sqrt(45.0 * m.sum() / (m[0] * m[1] * EV_PER_AMU_A2_FS2)))
    arm = []
    for _ in range(steps):
        state = langevin(state, field, noise, timestep, 0.0, target)
        arm.append(float(state.positions[1, 0] - state.positions[0, 0]))
    transform = np.abs(np.fft.rfft(np.array(arm) * np.hanning(steps), n=bins))
    measured = np.fft.rfftfreq(bins, timestep * SPEED_OF_LIGHT)[transform.argmax()]
    x = omega * timestep
    expected = omega / (2 * np.pi * SPEED_OF_LIGHT) * (2 / x) * np.arcsin(x / 2)
    assert expected > 3000
    assert measured == pytest.approx(expected, abs=0.3)


def test_the_centre_of_mass_stays_at_rest():
    field = Dimers(3)
    state, noise, target = dimers(3, field, 500.0)
    for _ in range(500):
        state = langevin(state, field, noise, 0.5, 5.0, target)
    momentum = (state.masses * state.velocities).reshape(3, 2, 3).sum(dim=1)
    centre = (state.masses * state.positions).reshape(3, 2, 3).sum(dim=1)
    assert float(momentum.abs().max()) < 1e-12
    assert float(centre.abs().max()) < 1e-10


def test_a_trajectory_does_not_depend_on_its_batch():
    alone, batch = Dimers(1), Dimers(5)
    one, noise_one, t_one = dimers(1, alone, 300.0)
    five, noise_five, t_five = dimers(5, batch, 300.0)
    for _ in range(200):
        one = langevin(one, alone, noise_one, 0.5, 2.0, t_one)
        five = langevin(five, batch, noise_five, 0.5, 2.0, t_five)
    torch.testing.assert_close(five.positions[:2], one.positions, rtol=0, atol=1e-12)
    assert not torch.allclose(five.positions[2:4], one.positions)


def test_initial_velocities_follow_maxwell_and_boltzmann():
    count = 4000
    state, _, _ = dimers(count, Dimers(count), 300.0)
    assert float(kinetic_temperature(state).mean()) == pytest.approx(300, rel=0.03)


def test_the_engine_drives_md_and_gives_dipoles():
    atoms = molecule("H2O")
    field = EngineField(TBLite(), [atoms])
    noise = Noise([stream(0, "water")], [3])
    target = torch.tensor([300.0], dtype=torch.float64)
    state = initial_state([atoms], field, target, noise)
    start = float(
        state.energy.sum() + 0.5 * EV_PER_AMU_A2_FS2 * (state.masses * state.velocities**2).sum()
    )
    for _ in range(200):
        state = langevin(state, field, noise, 0.5, 0.0, target)
    end = float(
        state.energy.sum() + 0.5 * EV_PER_AMU_A2_FS2 * (state.masses * state.velocities**2).sum()
    )
    assert end == pytest.approx(start, abs=2e-3)
    assert state.dipole.shape == (1, 3)
