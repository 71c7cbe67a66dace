"""Ring polymers on analytic forces, where path integrals of so many beads are known exactly."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

from palirs.dynamics import (
    Noise,
    RingField,
    initial_rings,
    kinetic_share,
    kinetic_temperature,
    langevin,
    ring_energy,
    ring_polymer,
    rings,
    virial_kinetic_energy,
)
from palirs.dynamics.forces import ForceOutput
from palirs.dynamics.state import initial_state
from palirs.randomness import stream
from palirs.units import BOLTZMANN, EV_PER_AMU_A2_FS2, HBAR, SPEED_OF_LIGHT

STIFFNESS = 30.0
"""Of the springs [eV/Å²]: 2900 cm⁻¹ between H and O."""


class Dimers:
    """Two members of a committee that hold diatomic molecules by springs between their atoms."""

    def __init__(self, count, stiffness=STIFFNESS):
        self.count, self.stiffness = count, stiffness

    def __call__(self, positions):
        pairs = positions.reshape(self.count, 2, 3)
        arm = pairs[:, 1] - pairs[:, 0]
        energies, forces = [], []
        for part in (0.7, 1.3):
            force = part * self.stiffness * arm
            energies.append(0.5 * part * self.stiffness * (arm**2).sum(dim=1))
            forces.append(torch.stack([force, -force], dim=1).reshape(-1, 3))
        return torch.stack(energies), torch.stack(forces)

    def only(self, molecules):
        return Dimers(len(molecules), self.stiffness)


def start(count, beads, temperature=300.0, stiffness=STIFFNESS, first=0):
    molecules = [Atoms("HO", positions=np.zeros((2, 3))) for _ in range(count)]
    noise = Noise([stream(0, "ring", first + i) for i in range(count)], [2 * beads] * count)
    field = RingField(Dimers(count * beads, stiffness), beads, count)
    target = torch.as_tensor(temperature, dtype=torch.float64).expand(count).clone()
    return *initial_rings(molecules, field, target, noise), field, noise, target


def run(steps, state, ring, field, noise, target, timestep=0.5, friction=10.0):
    for _ in range(steps):
        state, ring = ring_polymer(state, ring, field, noise, timestep, friction, target)
    return state, ring


def reduced_mass(state):
    mass = state.masses[:2, 0]
    return float(EV_PER_AMU_A2_FS2 / (1 / mass).sum())


def ring_matrix(beads, mass, temperature):
    """Return the springs of a ring between neighbouring beads, ``[beads, beads]`` [eV/Å²]."""
    shift = np.roll(np.eye(beads), 1, axis=0)
    frequency = beads * BOLTZMANN * temperature / HBAR
    return mass * frequency**2 * (2 * np.eye(beads) - shift - shift.T)


@pytest.mark.parametrize("beads", [1, 2, 3, 8, 9])
def test_modes_are_those_of_the_ring_of_springs(beads):
    matrix = rings.transform(beads)
    np.testing.assert_allclose(matrix.T @ matrix, beads * np.eye(beads), atol=1e-12)
    np.testing.assert_array_equal(matrix[:, 0], 1.0)
    omega = rings.frequencies(beads, torch.tensor([250.0]).double())[:, 0].numpy()
    springs = matrix.T @ ring_matrix(beads, 7.0, 250.0) @ matrix / beads
    if beads == 2:  # both springs join the same beads
        assert springs[1, 1] == pytest.approx(7.0 * omega[1] ** 2)
    np.testing.assert_allclose(springs, np.diag(7.0 * omega**2), atol=1e-9 * springs.max())
    values = torch.randn(beads, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(rings.modes_of(rings.beads_of(values)), values)


@pytest.mark.parametrize("beads", [4, pytest.param(16, marks=pytest.mark.thorough)])
def test_beads_have_the_energies_of_so_many_beads(beads):
    """Position and energies in a harmonic bond against the path integral of P beads.

    The beads x of a coordinate have ⟨x xᵀ⟩ = P k_B T K⁻¹, K = κ + the springs between neighbours;
    kinetic and potential energy are equal, and grow from k_B T/2 to ħω/4 · coth(βħω/2).
    """
    count, temperature = 300, 300.0
    state, ring, field, noise, target = start(count, beads, temperature)
    mass = reduced_mass(state)
    inverse = np.linalg.inv(STIFFNESS * np.eye(beads) + ring_matrix(beads, mass, temperature))
    square = beads * BOLTZMANN * temperature * inverse[0, 0]
    squares, kinetic, potential, warmth = [], [], [], []
    state, ring = run(600, state, ring, field, noise, target, timestep=0.25, friction=20.0)
    for _ in range(120):
        state, ring = run(20, state, ring, field, noise, target, timestep=0.25, friction=20.0)
        pairs = ring.beads.reshape(beads, count, 2, 3)
        squares.append(((pairs[:, :, 1] - pairs[:, :, 0]) ** 2).mean())
        kinetic.append(virial_kinetic_energy(state, ring, target).mean())
        potential.append(state.energy.mean())
        warmth.append(kinetic_temperature(state).mean())
    expected = 1.5 * STIFFNESS * square
    found = [float(torch.stack(values).mean()) for values in (squares, kinetic, potential, warmth)]
    assert found[0] == pytest.approx(square, rel=0.01)
    assert found[1] == pytest.approx(expected, rel=0.01)
    assert found[2] == pytest.approx(expected, rel=0.01)
    assert found[3] == pytest.approx(temperature, rel=0.02)
    omega = np.sqrt(STIFFNESS / mass)
    exact = 0.75 * HBAR * omega / np.tanh(0.5 * HBAR * omega / (BOLTZMANN * temperature))
    assert 1.5 * BOLTZMANN * temperature < expected < exact
    wavenumber = omega / (2 * np.pi * SPEED_OF_LIGHT)
    assert kinetic_share(beads, wavenumber, temperature) == pytest.approx(expected / exact)


def test_one_bead_is_langevin_dynamics():
    """Step for step, with the same noise."""
    state, ring, field, noise, target = start(3, 1)

    class Classical(Dimers):
        def __call__(self, positions):
            energy, members = super().__call__(positions)
            return ForceOutput(energy.mean(dim=0), members.mean(dim=0))

    molecules = [Atoms("HO", positions=np.zeros((2, 3))) for _ in range(3)]
    drawn = Noise([stream(0, "ring", i) for i in range(3)], [2] * 3)
    classical = initial_state(molecules, Classical(3), target, drawn)
    state, ring = run(200, state, ring, field, noise, target)
    for _ in range(200):
        classical = langevin(classical, Classical(3), drawn, 0.5, 10.0, target)
    torch.testing.assert_close(state.positions, classical.positions, rtol=0, atol=1e-12)
    torch.testing.assert_close(state.velocities, classical.velocities, rtol=0, atol=1e-12)
    torch.testing.assert_close(state.heat, classical.heat, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        ring_energy(state, ring, target),
        classical.energy
        + (0.5 * EV_PER_AMU_A2_FS2 * (classical.masses * classical.velocities**2).sum(dim=1))
        .reshape(3, 2)
        .sum(dim=1)
        - classical.heat,
    )


def test_the_cayley_transform_conserves_the_energy_of_a_free_ring(monkeypatch):
    """At time steps where an exact rotation would resonate and Verlet would be unstable."""
    monkeypatch.setattr(rings, "DAMPING", 0.0)
    state, ring, field, noise, target = start(4, 32, stiffness=0.0)
    assert float(rings.frequencies(32, target).max()) * 2.0 > 4
    before = ring_energy(state, ring, target)
    assert float(before.min()) > 0.1
    state, ring = run(200, state, ring, field, noise, target, timestep=2.0, friction=0.0)
    torch.testing.assert_close(ring_energy(state, ring, target), before, rtol=1e-11, atol=0)


def test_without_thermostats_the_energy_of_the_ring_is_conserved_to_second_order(monkeypatch):
    monkeypatch.setattr(rings, "DAMPING", 0.0)

    def drift(timestep):
        state, ring, field, noise, target = start(5, 6)
        energies = []
        for _ in range(round(100 / timestep)):
            state, ring = run(1, state, ring, field, noise, target, timestep, friction=0.0)
            energies.append(ring_energy(state, ring, target))
        return torch.stack(energies).std(dim=0).mean()

    assert float(drift(0.25) / drift(0.125)) == pytest.approx(4, rel=0.1)


def test_what_thermostats_give_is_counted():
    """The energy of the ring less their heat is conserved as well as without them."""
    state, ring, field, noise, target = start(5, 6)
    before, cold = ring_energy(state, ring, target), state.heat.clone()
    state, ring = run(400, state, ring, field, noise, target, timestep=0.125)
    assert float((state.heat - cold).abs().max()) > 0.05
    torch.testing.assert_close(ring_energy(state, ring, target), before, rtol=0, atol=0.01)


def test_rings_open_within_femtoseconds():
    """All beads start in one place; 50 fs later their spread is that of the ring in its bond."""
    state, ring, field, noise, target = start(400, 8)
    assert float(ring.positions[1:].abs().max()) == 0.0
    state, ring = run(100, state, ring, field, noise, target, friction=1.0)
    pairs = ring.beads.reshape(8, 400, 2, 3)
    arm = pairs[:, :, 1] - pairs[:, :, 0]
    mass = reduced_mass(state)
    inverse = np.linalg.inv(STIFFNESS * np.eye(8) + ring_matrix(8, mass, 300.0))
    square = 8 * BOLTZMANN * 300.0 * (inverse[0, 0] - inverse[0].mean())
    assert float((arm - arm.mean(dim=0)).square().mean()) == pytest.approx(square, rel=0.05)


def test_each_trajectory_has_its_own_temperature():
    target = torch.tensor([100.0] * 150 + [400.0] * 150).double()
    state, ring, field, noise, target = start(300, 4, target, stiffness=5.0)
    state, ring = run(400, state, ring, field, noise, target, friction=20.0)
    found = []
    for _ in range(60):
        state, ring = run(20, state, ring, field, noise, target, friction=20.0)
        found.append(kinetic_temperature(state))
    mean = torch.stack(found).mean(dim=0)
    assert float(mean[:150].mean()) == pytest.approx(100, rel=0.06)
    assert float(mean[150:].mean()) == pytest.approx(400, rel=0.06)


def test_the_centre_of_mass_of_the_centroids_stays_at_rest():
    state, ring, field, noise, target = start(3, 5)
    state, ring = run(300, state, ring, field, noise, target)
    momentum = (state.masses * state.velocities).reshape(3, 2, 3).sum(dim=1)
    assert float(momentum.abs().max()) < 1e-12
    torch.testing.assert_close(ring.beads.mean(dim=0), state.positions)


@pytest.mark.parametrize("beads", [3, 32])
def test_a_trajectory_does_not_depend_on_its_batch(beads):
    """To the last bit, wherever it stands and however many there are."""
    many = start(7, beads)
    state, ring = run(70, *many)
    for number in (0, 3, 6):
        alone, own = run(70, *start(1, beads, first=number))
        assert torch.equal(own.positions, ring.positions[:, 2 * number : 2 * number + 2])
        assert torch.equal(own.velocities, ring.velocities[:, 2 * number : 2 * number + 2])
        assert torch.equal(alone.heat, state.heat[number : number + 1])
        assert torch.equal(alone.energy, state.energy[number : number + 1])


def test_some_of_the_trajectories_go_on_as_they_would_have():
    state, ring, field, noise, target = start(5, 4)
    state, ring = run(30, state, ring, field, noise, target)
    kept = [1, 4]
    fewer = state.only(kept), ring.only(kept), field.only(kept), noise.only(kept), target[kept]
    some, some_rings = run(70, *fewer)
    state, ring = run(70, state, ring, field, noise, target)
    atoms = [2, 3, 8, 9]
    assert torch.equal(some_rings.positions, ring.positions[:, atoms])
    assert torch.equal(some.heat, state.heat[kept])
    assert torch.equal(some_rings.members, ring.members[:, :, atoms])


def test_rings_are_restored_from_their_values():
    state, ring, field, noise, target = start(3, 4)
    state, ring = run(10, state, ring, field, noise, target)
    again = type(ring).restored([ring.values(number) for number in range(3)], ring.counts)
    for name in ("positions", "velocities", "forces"):
        assert torch.equal(getattr(again, name), getattr(ring, name))
    position = [noise.position(number) for number in range(3)]
    resumed = Noise.resumed(position, [8] * 3)
    first, _ = run(5, state, ring, field, noise, target)
    second, _ = run(5, replace(state), again, field, resumed, target)
    assert torch.equal(first.positions, second.positions)
