"""Modules that are copied instead of built again."""

from dataclasses import replace

import torch
from ase.build import molecule

from palirs.mace.models.graphs import graph
from palirs.mace.models.potential import PotentialShape
from palirs.mace.models.shape import copy_module
from palirs.mace.settings import Architecture

SHAPE = PotentialShape(
    architecture=Architecture(channels=4, max_L=1, max_ell=2, correlation=2, cutoff=4.0),
    elements=(1, 8),
    atomic_energies=(-13.0, -2042.0),
    scale=1.3,
    mean_neighbours=2.0,
)


def forces(module):
    water = molecule("H2O")
    inputs = graph([water.numbers], SHAPE.elements, next(module.parameters()).dtype)
    positions = torch.tensor(water.positions, dtype=next(module.parameters()).dtype)
    return module(inputs.inputs(positions.requires_grad_(True)))["forces"].detach()


def test_a_loaded_copy_is_a_built_module_to_the_last_bit():
    built, copy = SHAPE.build(), SHAPE.unfilled()
    copy.load_state_dict(built.state_dict())
    assert torch.equal(forces(built), forces(copy))
    assert {name for name, _ in built.named_buffers()} == {name for name, _ in copy.named_buffers()}


def test_copies_share_no_tensors():
    first, second = SHAPE.unfilled(), SHAPE.unfilled()
    before = forces(second)
    with torch.no_grad():
        for tensor in (*first.parameters(), *first.buffers()):
            tensor.zero_()
    assert torch.equal(forces(second), before)
    assert torch.equal(forces(SHAPE.unfilled()), before)
    first.double().train()
    assert not any(tensor.dtype == torch.float64 for tensor in second.parameters())


def test_a_copy_is_whole():
    """Submodules that occur twice occur twice, and what needs no gradient needs none."""
    shared = torch.nn.Linear(2, 2)
    shared.bias.requires_grad_(False)
    copy = copy_module(torch.nn.Sequential(shared, shared))
    assert copy[0] is copy[1] and copy[0] is not shared
    assert copy[0].weight.requires_grad and not copy[0].bias.requires_grad


def test_copies_use_no_random_numbers():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    replace(SHAPE, scale=1.7).unfilled()  # nobody has built this one yet
    assert torch.equal(torch.rand(3), expected)
