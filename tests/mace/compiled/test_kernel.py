"""Compiled code against MACE itself, for weights and sizes of all kinds."""

import numpy as np
import pytest
import torch
from mace.calculators import MACECalculator

from palirs.mace.compiled import Kernel
from palirs.mace.forces.native import Native
from palirs.mace.models.committee import Committee
from palirs.mace.models.dipole import DipoleModel, DipoleShape
from palirs.mace.models.graphs import graph
from palirs.mace.models.potential import PotentialShape
from palirs.mace.models.predictor import Predictor
from palirs.mace.settings import Architecture, Evaluation
from palirs.vibrations import finite_differences, internal_directions

ELEMENTS = (1, 6, 7, 8)


def potentials(architecture: Architecture, members: int = 1) -> Committee:
    shape = PotentialShape(
        architecture=architecture,
        elements=ELEMENTS,
        atomic_energies=(-13.0, -1030.0, -1485.0, -2042.0),
        scale=1.7,
        mean_neighbours=4.0,
    )
    torch.manual_seed(0)
    return Committee.of([(shape, shape.build()) for _ in range(members)])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-5)])
def test_all_of_organics24_in_one_batch_is_what_maces_calculator_gives(molecules, dtype, tolerance):
    committee = potentials(
        Architecture(channels=16, max_ell=3, correlation=2, cutoff=3.0, dtype=dtype), members=2
    )
    energy, forces = committee.evaluator(
        [a.numbers for a in molecules], Evaluation(backend="native")
    )(torch.tensor(np.concatenate([a.positions for a in molecules])))
    pieces = forces.split([len(a) for a in molecules], dim=1)
    for member in range(2):
        calculator = MACECalculator(
            models=[committee.members[member]], device="cpu", default_dtype=dtype
        )
        for number, atoms in enumerate(molecules):
            work = atoms.copy()
            work.calc = calculator
            np.testing.assert_allclose(
                pieces[number][member].numpy(), work.get_forces(), rtol=0, atol=tolerance
            )
            e0 = sum(committee.shapes[0].atomic_energies[ELEMENTS.index(z)] for z in atoms.numbers)
            interaction = calculator.results["energy"] - e0
            resolution = np.spacing(
                abs(e0), dtype=np.float32 if dtype == "float32" else np.float64
            )  # of MACE's own total energy
            assert float(energy[member, number]) - e0 == pytest.approx(
                interaction, abs=tolerance + 8 * float(resolution)
            )


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(
            channels=5, max_L=0, max_ell=1, correlation=1, radial_mlp=(9,), bessel=5, cutoff=4.0
        ),
        Architecture(
            channels=4, max_L=1, max_ell=2, correlation=3, radial_mlp=(16, 24), cutoff=2.5
        ),
        Architecture(
            channels=6, max_L=2, max_ell=3, correlation=2, layers=3, radial_mlp=(16, 16), cutoff=5.0
        ),
        Architecture(channels=3, max_L=1, max_ell=4, correlation=2, bessel=10, cutoff=3.0),
        Architecture(
            channels=3,
            max_L=2,
            max_ell=2,
            correlation=3,
            radial_mlp=(8,),
            cutoff=3.0,
            residual_first=True,
        ),
    ],
    ids=lambda a: f"{a.channels}-{a.max_L}-{a.max_ell}-{a.correlation}-{a.layers}",
)
@pytest.mark.parametrize(("radial", "tolerance"), [("network", 1e-10), ("table", 1e-7)])
def test_every_architecture_is_maces(molecules, architecture, radial, tolerance):
    from dataclasses import replace

    committee = potentials(replace(architecture, dtype="float64"))
    some = molecules[::5]
    x = torch.tensor(np.concatenate([a.positions for a in some]))
    expected = committee.forces(committee.graph([a.numbers for a in some]), x)
    found = Native(committee, Kernel(committee.members, radial), [a.numbers for a in some])(x)
    assert float(expected[1].abs().max()) > 1e-3
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=tolerance)
    torch.testing.assert_close(found[1], expected[1], rtol=0, atol=tolerance)


def test_a_molecule_gives_the_same_bits_in_any_batch(molecules):
    committee = potentials(
        Architecture(channels=16, max_ell=2, correlation=3, dtype="float32"), members=3
    )
    x = [torch.tensor(a.positions) for a in molecules]
    energy, forces = committee.evaluator([a.numbers for a in molecules])(torch.cat(x))
    for number in (0, 7, 23):
        alone = committee.evaluator([molecules[number].numbers])(x[number])
        assert torch.equal(alone[0][:, 0], energy[:, number])
        assert torch.equal(alone[1], forces.split([len(a) for a in molecules], dim=1)[number])


def test_threads_change_nothing(molecules):
    committee = potentials(Architecture(channels=8, max_ell=2, dtype="float32"), members=3)
    x = torch.tensor(np.concatenate([a.positions for a in molecules]))
    numbers = [a.numbers for a in molecules]
    one = committee.evaluator(numbers)(x)
    torch.set_num_threads(2)
    try:
        two = committee.evaluator(numbers)(x)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])


def test_what_is_no_number_stays_so_and_stays_at_home(molecules):
    committee = potentials(Architecture(channels=4, max_ell=2, radial_mlp=(16,), dtype="float32"))
    pair = molecules[:2]
    x = torch.tensor(np.concatenate([a.positions for a in pair]))
    good = committee.evaluator([a.numbers for a in pair])(x)
    bad = x.clone()
    bad[0, 0] = float("nan")
    energy, forces = committee.evaluator([a.numbers for a in pair])(bad)
    assert not torch.isfinite(forces[0, : len(pair[0])]).all()
    assert not torch.isfinite(energy[0, 0])
    assert torch.equal(energy[:, 1], good[0][:, 1])
    assert torch.equal(forces[:, len(pair[0]) :], good[1][:, len(pair[0]) :])


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(channels=8),
        Architecture(channels=4, max_L=2, layers=3),
        Architecture(channels=4, max_L=0),
    ],
)
def test_compiled_dipoles_are_those_of_the_network(molecules, architecture):
    from dataclasses import replace

    torch.manual_seed(0)
    shape = DipoleShape(
        architecture=replace(architecture, dtype="float64", cutoff=3.0),
        elements=ELEMENTS,
        scale=0.4,
        mean_neighbours=4.0,
    )
    model = DipoleModel((shape, shape.build()))
    assert model.kernel is not None
    inputs = graph([a.numbers for a in molecules], ELEMENTS, torch.float64).inputs(
        torch.tensor(np.concatenate([a.positions for a in molecules]))
    )
    np.testing.assert_allclose(
        model.evaluate(molecules)[0], model.networks[0](inputs).numpy(), rtol=0, atol=1e-11
    )


def test_members_of_unlike_architecture_have_room(molecules):
    """Which one needs most memory depends on how many pairs there are for an atom."""
    flat = Architecture(channels=128, max_L=0, max_ell=2, radial_mlp=(8,), dtype="float32")
    deep = Architecture(channels=32, dtype="float32")
    both = [potentials(flat).members[0], potentials(deep).members[0]]
    kernel = Kernel(both)
    for counts in ((10,), (3,) * 16):
        batch = kernel.batch(np.zeros(sum(counts), dtype=np.int32), counts)
        alone = [
            Kernel([one]).batch(np.zeros(sum(counts), dtype=np.int32), counts)._memory_size
            for one in both
        ]
        assert batch._memory_size >= max(alone)


def test_infrared_intensities_of_the_models_are_derivatives_of_their_dipoles(molecules):
    """All displacements go through one batch; one column of the result is checked by hand."""
    committee = potentials(Architecture(channels=4, max_ell=2, radial_mlp=(8,), dtype="float64"))
    shape = DipoleShape(
        architecture=committee.shapes[0].architecture,
        elements=ELEMENTS,
        scale=0.4,
        mean_neighbours=4.0,
    )
    predictor = Predictor(committee, DipoleModel((shape, shape.build())))
    atoms = molecules[2]
    hessian, gradient = finite_differences(atoms, predictor)
    assert gradient is not None
    direction = (
        internal_directions(atoms)[:, 4] / np.repeat(np.sqrt(atoms.get_masses()), 3)
    ).reshape(-1, 3)
    moved = [atoms.copy() for _ in range(2)]
    for copy, sign in zip(moved, (1, -1), strict=True):
        copy.positions += 2e-3 * sign * direction
    up, down = predictor.dipole.evaluate(moved)[0]
    np.testing.assert_allclose(gradient.T @ direction.ravel(), (up - down) / 4e-3, atol=1e-5)
    first, second = (found.forces.ravel() for found in committee.calculate(moved))
    np.testing.assert_allclose(
        direction.ravel() @ hessian @ direction.ravel(),
        -direction.ravel() @ (first - second) / 4e-3,
        atol=1e-3,
    )
