"""Identities that hold for any weights."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from mace.calculators import MACECalculator
from scipy.spatial.transform import Rotation

from palirs.mace.models.committee import Committee, force_spread, relative_force_error
from palirs.mace.models.dipole import DipoleModel, DipoleShape
from palirs.mace.models.graphs import graph
from palirs.mace.models.potential import PotentialShape, fitted_energies
from palirs.mace.settings import Architecture, Training
from palirs.mace.training.gradients import Data, Gradients
from palirs.mace.training.objectives import DipoleObjective
from palirs.molecules import Molecules
from palirs.recipes import PalirsError


def test_static_graphs_give_what_maces_own_calculator_gives(committee, frames):
    """All pairs as edges, with a cutoff shorter than the molecule.

    Against MACE's neighbour list.
    """
    calculator = MACECalculator(
        models=[committee.members[0]], device="cpu", default_dtype="float64"
    )
    found = committee.evaluate(frames[::7])
    for number, atoms in enumerate(frames[::7]):
        assert atoms.get_all_distances().max() > committee.shapes[0].architecture.cutoff
        work = atoms.copy()
        work.calc = calculator
        assert found.energy[0, number] == pytest.approx(work.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(found.forces[number][0], work.get_forces(), atol=1e-9)


def test_a_batch_of_all_molecules_is_each_molecule_alone(small):
    molecules = Molecules(names=("organics24",)).load()
    shape = PotentialShape(
        architecture=small,
        elements=(1, 6, 7, 8),
        atomic_energies=(-10.0, -40.0, -60.0, -90.0),
        scale=1.0,
        mean_neighbours=4.0,
    )
    committee = Committee.of([(shape, shape.build())])
    together = committee.evaluate(molecules)
    for number in (0, 3, 12, 23):
        alone = committee.evaluate([molecules[number]])
        assert together.energy[0, number] == pytest.approx(alone.energy[0, 0], abs=1e-9)
        np.testing.assert_allclose(together.forces[number], alone.forces[0], atol=1e-9)


def test_forces_are_the_derivative_of_the_energy(committee, frames):
    atoms, step = frames[0], 1e-4
    forces = committee.evaluate([atoms]).forces[0]
    for atom, axis in [(0, 1), (3, 0)]:
        up, down = atoms.copy(), atoms.copy()
        up.positions[atom, axis] += step
        down.positions[atom, axis] -= step
        energy = committee.evaluate([up, down]).energy
        np.testing.assert_allclose(
            forces[:, atom, axis], -(energy[:, 0] - energy[:, 1]) / (2 * step), atol=1e-6
        )


def test_double_precision_copy_agrees(frames):
    shape = PotentialShape.of(
        frames, Architecture(channels=4, max_ell=2, radial_mlp=(16,), dtype="float32")
    )
    single = Committee.of([(shape, shape.build())])
    a, b = single.evaluate(frames[:2]), single.double().evaluate(frames[:2])
    np.testing.assert_allclose(a.energy, b.energy, atol=1e-4)
    np.testing.assert_allclose(a.forces[1], b.forces[1], atol=1e-4)


def test_spread_of_identical_members_is_zero_and_of_two_is_known():
    forces = torch.tensor([[[1.0, 0.0, 0.0]], [[3.0, 0.0, 0.0]]])
    assert float(force_spread(forces[:1].repeat(3, 1, 1))[0]) == 0
    assert float(force_spread(forces)[0]) == pytest.approx(1.0)
    assert float(relative_force_error(forces, epsilon=0.2)[0]) == pytest.approx(1 / 2.2)


def test_one_composition_does_not_spoil_the_atomic_energies(frames):
    methanol = frames[:20]
    energies = fitted_energies(methanol, (1, 6, 8))
    mean = np.mean([atoms.info["REF_energy"] for atoms in methanol])
    assert np.dot(energies, [4, 1, 1]) == pytest.approx(mean, abs=1e-6)


def test_an_unknown_element_is_named(committee, frames):
    odd = frames[0].copy()
    odd.numbers[0] = 17
    with pytest.raises(PalirsError, match=r"not \[17\]"):
        committee.evaluate([odd])


@pytest.fixture(scope="module")
def dipole(small, frames):
    torch.manual_seed(0)
    shape = DipoleShape.of(frames, small)
    return DipoleModel((shape, shape.build()))


def test_dipole_of_a_moved_molecule_is_the_same(dipole, frames):
    moved = frames[0].copy()
    moved.translate([10.0, -20.0, 30.0])
    here, there = dipole.evaluate([frames[0], moved])[0]
    np.testing.assert_allclose(here, there, atol=1e-12)
    inputs = graph([frames[0].numbers], dipole.shapes[0].elements, torch.float64).inputs(
        torch.tensor(moved.positions)
    )
    np.testing.assert_allclose(dipole.networks[0](inputs)[0].numpy(), here, atol=1e-10)


def test_dipole_turns_with_the_molecule(dipole, frames):
    rotation = Rotation.from_euler("xyz", [20, 40, 60], degrees=True).as_matrix()
    turned = frames[0].copy()
    turned.positions = frames[0].positions @ rotation.T
    here, there = dipole.evaluate([frames[0], turned])[0]
    assert np.linalg.norm(here) > 1e-4
    np.testing.assert_allclose(there, rotation @ here, atol=1e-10)


def test_a_molecule_without_dipole_has_none(dipole):
    methane = Molecules(names=("methane", "ethyne")).load()
    assert abs(dipole.evaluate(methane)).max() < 1e-10


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(channels=8),
        Architecture(channels=4, max_L=2, layers=3),
        Architecture(channels=4, max_L=0),
    ],
)
def test_every_parameter_of_the_dipole_model_is_alive(architecture, frames):
    torch.manual_seed(0)
    objective = DipoleObjective(DipoleShape.of(frames, architecture), Training())
    network = objective.shape.build()
    data = Data.of(frames, objective, next(network.parameters()).dtype)
    Gradients(network, objective, Training(backend="eager"))(data, range(len(frames)))
    for name, parameter in network.named_parameters():
        if parameter.numel() == 0:
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_models_built_in_threads_of_one_process_keep_their_precision(small, frames):
    """Precision and TorchScript are settings of the whole process while a model is built."""

    def build(dtype: str) -> set[torch.dtype]:
        return {
            parameter.dtype
            for parameter in DipoleShape.of(frames, replace(small, dtype=dtype))
            .build()
            .parameters()
        }

    wanted = ["float32", "float64"] * 6
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(build, wanted)) == [{getattr(torch, dtype)} for dtype in wanted]
    assert torch.get_default_dtype() == torch.float32


def test_importing_the_models_keeps_torch_load_safe():
    """mace sets a variable that lets torch.load run code; ours takes it back."""
    code = (
        "import os, palirs.mace.backend; print(os.environ.get('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'))"
    )
    environment = {
        key: value for key, value in os.environ.items() if key != "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "None"
    assert done.stderr == ""
