"""The other integrators, on analytic forces."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from palirs.dynamics import (
    Noise,
    berendsen,
    chain,
    conserved,
    initial_state,
    kinetic_energy,
    kinetic_temperature,
    langevin,
    nose_hoover,
    verlet,
    without_rotation,
)
from palirs.randomness import stream
from palirs.units import BOLTZMANN
from tests.physics.test_dynamics import Dimers, dimers


def test_verlet_is_langevin_without_friction():
    field = Dimers(3)
    one, noise, target = dimers(3, field, 300.0)
    two = one
    for _ in range(100):
        one, two = verlet(one, field, 0.5), langevin(two, field, noise, 0.5, 0.0, target)
    torch.testing.assert_close(one.positions, two.positions, rtol=0, atol=1e-12)


def test_verlet_goes_back_the_way_it_came():
    from dataclasses import replace

    field = Dimers(2)
    start, _, _ = dimers(2, field, 300.0)
    state = start
    for _ in range(300):
        state = verlet(state, field, 0.5)
    state = replace(state, velocities=-state.velocities)
    for _ in range(300):
        state = verlet(state, field, 0.5)
    torch.testing.assert_close(state.positions, start.positions, rtol=0, atol=1e-10)


def test_berendsen_draws_each_trajectory_to_its_temperature():
    """The deviation decays as exp(−t/τ) while nothing else changes it: free atoms."""

    class Free:
        def __call__(self, positions):
            from palirs.dynamics.forces import ForceOutput

            return ForceOutput(torch.zeros(2, dtype=torch.float64), torch.zeros_like(positions))

    noise = Noise([stream(0, "free", i) for i in range(2)], [2, 2])
    target = torch.tensor([100.0, 700.0], dtype=torch.float64)
    state = initial_state(
        [Atoms("HO", positions=np.zeros((2, 3)))] * 2, Free(), target * 0 + 300.0, noise
    )
    before = kinetic_temperature(state) - target
    for _ in range(200):
        state = berendsen(state, Free(), 0.5, 100.0, target)
    torch.testing.assert_close(
        (kinetic_temperature(state) - target) / before,
        torch.full((2,), np.exp(-1.0)).double(),
        rtol=0.01,
        atol=0,
    )


def test_nose_hoover_conserves_its_quantity_to_second_order():
    def spread(timestep):
        field = Dimers(20)
        state, _, target = dimers(20, field, 300.0)
        thermostat, found = chain(state, target, frequency=1000.0), []
        for _ in range(round(300 / timestep)):
            state, thermostat = nose_hoover(state, thermostat, field, timestep)
            found.append(conserved(state, thermostat))
        return torch.stack(found).std(dim=0).mean()

    assert float(spread(0.5)) < 2e-3
    assert float(spread(0.5) / spread(0.25)) == pytest.approx(4, rel=0.15)


@pytest.mark.thorough
def test_nose_hoover_samples_the_canonical_ensemble():
    """Mean and variance of the kinetic energy, each trajectory at its own temperature.

    They are g/2 k_B T and g/2 (k_B T)².
    """
    count = 200
    field = Dimers(count, stiffness=5.0)
    temperature = [100.0] * 100 + [500.0] * 100
    state, _, target = dimers(count, field, temperature)
    thermostat, found = chain(state, target, frequency=1500.0, length=4), []
    for step in range(6000):
        state, thermostat = nose_hoover(state, thermostat, field, 0.5)
        if step > 1000 and step % 20 == 0:
            found.append(kinetic_energy(state))
    heat = BOLTZMANN * target
    scaled = torch.stack(found) / heat
    for part in (scaled[:, :100], scaled[:, 100:]):
        assert float(part.mean()) == pytest.approx(1.5, rel=0.05)
        assert float(part.var()) == pytest.approx(1.5, rel=0.15)


@pytest.mark.parametrize("name", ["H2O", "CO2", "CH3OH"])
def test_without_rotation_only_vibration_is_left(name):
    atoms = molecule(name)
    atoms.rotate(33, (1, 2, 3))

    class Free:
        def __call__(self, positions):
            from palirs.dynamics.forces import ForceOutput

            return ForceOutput(torch.zeros(2, dtype=torch.float64), torch.zeros_like(positions))

    noise = Noise([stream(0, "turn", i) for i in range(2)], [len(atoms)] * 2)
    state = initial_state([atoms] * 2, Free(), torch.tensor([300.0, 300.0]).double(), noise)
    still = without_rotation(state)
    arms = torch.tensor(atoms.positions - atoms.get_center_of_mass()).repeat(2, 1)
    momentum = (
        torch.linalg.cross(arms, still.masses * still.velocities).reshape(2, -1, 3).sum(dim=1)
    )
    assert float(momentum.abs().max()) < 1e-12
    assert float((still.masses * still.velocities).reshape(2, -1, 3).sum(dim=1).abs().max()) < 1e-12
    assert (kinetic_energy(still) < kinetic_energy(state)).all()
    torch.testing.assert_close(without_rotation(still).velocities, still.velocities)
