"""Radial weights from a table against the network, over all distances."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from palirs.engines import Properties
from palirs.mace.compiled import Kernel
from palirs.mace.compiled.layout import program
from palirs.mace.compiled.radial import networks, table
from palirs.mace.models.committee import Committee
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Architecture, Evaluation
from palirs.vibrations import harmonic

PROMISED = {"float32": 1e-6, "float64": 1e-9}
"""Errors of radial weights, relative to the largest."""
SIZES = {
    "16": Architecture(channels=16, max_ell=2, correlation=3),
    "3 Å": Architecture(channels=8, max_ell=3, radial_mlp=(24, 16), bessel=5, cutoff=3.0),
}


def module(size: str, dtype: str = "float64"):
    torch.manual_seed(3)
    shape = PotentialShape(
        architecture=replace(SIZES[size], dtype=dtype),
        elements=(1, 6, 8),
        atomic_energies=(0.0, 0.0, 0.0),
        scale=1.5,
        mean_neighbours=3.0,
    )
    return shape, shape.build()


@pytest.mark.parametrize("size", SIZES)
def test_derivatives_by_the_distance_are_those_of_the_network(size):
    one = program(module(size)[1])
    step = 1e-4
    middle = np.concatenate(
        [np.linspace(2 * step, 0.3, 40), np.linspace(0.3, one.cutoff - 2 * step, 60)]
    )
    there = networks(one, middle)
    for before, at, after in zip(
        networks(one, middle - step), there, networks(one, middle + step), strict=True
    ):
        scale = np.abs(at).max(axis=(1, 2))
        np.testing.assert_allclose(
            (after[0] - before[0]) / (2 * step), at[1], rtol=0, atol=1e-6 * scale[1]
        )
        np.testing.assert_allclose(
            (after[1] - before[1]) / (2 * step), at[2], rtol=0, atol=1e-6 * scale[2]
        )
    assert all(
        np.abs(layer[:, -1]).max() == 0 for layer in networks(one, np.array([1.0, one.cutoff]))
    ), "nothing is left at the cutoff"


@pytest.mark.parametrize("dtype", PROMISED)
@pytest.mark.parametrize("size", SIZES)
def test_two_atoms_feel_the_table_as_the_network_at_any_distance(size, dtype):
    """Energies and forces of pairs from next to nothing to beyond the cutoff.

    Between the knots too.
    """
    kernels = [Kernel([module(size, dtype)[1]], radial) for radial in ("table", "network")]
    cutoff = SIZES[size].cutoff
    r = np.concatenate(
        [
            np.random.default_rng(0).uniform(0.01, cutoff, 3000),
            cutoff + np.array([-1e-3, -1e-6, -1e-12, 0.0, 1e-6, 1.0]),
        ]
    )
    positions = np.stack([np.zeros((len(r), 3)), r[:, None] * [0.48, 0.6, 0.64]], axis=1).reshape(
        -1, 3
    )
    (energy, forces), (expected, pull) = (
        kernel.batch(np.tile([0, 2], len(r)).astype(np.int32), (2,) * len(r)).forces(positions)
        for kernel in kernels
    )
    slack = 10 * PROMISED[dtype]  # a contraction of third order, of two layers
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(energy, expected, rtol=0, atol=slack * np.abs(expected).max())
    np.testing.assert_allclose(forces, pull, rtol=0, atol=100 * slack * np.abs(pull).max())
    assert (forces.reshape(len(r), -1)[r > cutoff + 1e-9] == 0).all()


def test_forces_are_the_exact_derivative_of_the_energies(molecules):
    """Of the table's, between knots and across them, which needs no network."""
    kernel = Kernel([module("16")[1]])
    methanol = next(atoms for atoms in molecules if atoms.get_chemical_formula() == "CH4O")
    species = np.searchsorted([1, 6, 8], methanol.numbers).astype(np.int32)
    step, rng = 1e-5, np.random.default_rng(0)
    for _ in range(20):
        x = methanol.positions + rng.normal(0, 0.1, methanol.positions.shape)
        direction = rng.normal(0, 1, methanol.positions.shape)
        energy, _ = kernel.batch(np.tile(species, 2), (6, 6)).forces(
            np.concatenate([x - step * direction, x + step * direction])
        )
        _, forces = kernel.batch(species, (6,)).forces(x)
        assert float(energy[0, 0] - energy[0, 1]) / (2 * step) == pytest.approx(
            float((forces[0] * direction).sum()), abs=1e-7
        )


def test_energies_and_forces_go_smoothly_through_knots():
    one = module("16")[1]
    _, knots = table(program(one))
    kernel, width, gap = Kernel([one]), SIZES["16"].cutoff / knots, 1e-9
    at = width * np.arange(1, knots)
    r = np.stack([at - gap, at + gap], axis=1).ravel()
    positions = np.stack([np.zeros((len(r), 3)), r[:, None] * [0.0, 0.0, 1.0]], axis=1).reshape(
        -1, 3
    )
    energy, forces = kernel.batch(np.tile([0, 1], len(r)).astype(np.int32), (2,) * len(r)).forces(
        positions
    )
    pull = forces[0].reshape(-1, 2, 2, 3)[
        :, :, 0, 2
    ]  # of the first atom, below and above each knot
    np.testing.assert_allclose(
        energy[0, 1::2] - energy[0, ::2], 2 * gap * pull.mean(axis=1), rtol=0, atol=1e-11
    )
    np.testing.assert_allclose(pull[:, 0], pull[:, 1], rtol=0, atol=1e-6)


def test_a_network_that_turns_too_sharply_has_no_table_and_the_log_says_so(caplog):
    _, one = module("16")
    with torch.no_grad():
        for parameter in one.interactions[0].conv_tp_weights.parameters():
            parameter.mul_(40)
    with caplog.at_level("WARNING"):
        kernels = [Kernel([one], radial) for radial in ("table", "network")]
    assert "turns too sharply" in caplog.text
    x = np.array([[0.0, 0, 0], [0, 0, 1.1]])
    found, expected = (
        kernel.batch(np.array([0, 1], np.int32), (2,)).forces(x)[1] for kernel in kernels
    )
    np.testing.assert_array_equal(found, expected)


class By:
    """A committee as a source of forces, with one of the ways to radial weights."""

    def __init__(self, committee, radial):
        self.committee, self.radial = committee, radial

    def calculate(self, frames):
        evaluate = self.committee.evaluator(
            [atoms.numbers for atoms in frames], Evaluation(radial=self.radial)
        )
        energy, forces = evaluate(
            torch.tensor(np.concatenate([atoms.positions for atoms in frames]))
        )
        pieces = forces[0].split([len(atoms) for atoms in frames])
        return [
            Properties(float(e), piece.numpy()) for e, piece in zip(energy[0], pieces, strict=True)
        ]


def test_harmonic_frequencies_are_those_of_the_network(molecules):
    """Far within the hundredth of a wavenumber that would show in a table."""
    committee = Committee.of([module("16")])
    for atoms in [a for a in molecules if set(a.numbers) <= {1, 6, 8}][:3]:
        table_, network = (
            harmonic(atoms, By(committee, radial)).frequencies for radial in ("table", "network")
        )
        assert np.ptp(network) > 100
        np.testing.assert_allclose(table_, network, rtol=0, atol=1e-3)
