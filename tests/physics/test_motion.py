"""Many steps in one call of compiled code are the steps of ``langevin``, one after the other."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from palirs.dynamics import CommitteeField, Noise, initial_state, langevin
from palirs.dynamics.integrators import Langevin
from palirs.dynamics.motion import cut
from palirs.mace.models.committee import Committee
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Evaluation
from palirs.molecules import Molecules
from palirs.randomness import stream

SYSTEM = ("positions", "velocities", "forces", "energy", "heat", "members")


@pytest.fixture(scope="module")
def committee(small):
    shape = PotentialShape(
        architecture=replace(small, cutoff=4.0),
        elements=(1, 6, 7, 8),
        atomic_energies=(-13.0, -1030.0, -1485.0, -2042.0),
        scale=0.05,
        mean_neighbours=4.0,
    )
    members = []
    for seed in range(3):
        torch.manual_seed(seed)
        members.append((shape, shape.build()))
    return Committee.of(members)


@pytest.fixture
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def begin(committee, molecules, numbers=None):
    """Return what a run needs; each molecule has the stream of its number."""
    numbers = range(len(molecules)) if numbers is None else numbers
    field = CommitteeField(committee.evaluator([atoms.numbers for atoms in molecules]))
    noise = Noise([stream(1, number) for number in numbers], [len(atoms) for atoms in molecules])
    temperature = torch.tensor([200.0 + 50 * number for number in numbers], dtype=torch.float64)
    return initial_state(molecules, field, temperature, noise), field, noise, temperature


@pytest.mark.parametrize("threads", [1, 2, 3], indirect=True)
@pytest.mark.parametrize("friction", [0.0, 1.0])
@pytest.mark.parametrize("which", [range(1), range(5), range(24)])
def test_every_step_is_the_same_to_the_last_bit(committee, which, friction, threads):
    """Over more than one block of noise, in two stretches, at moments that do not divide them."""
    molecules = [
        atoms
        for number, atoms in enumerate(Molecules(names=("organics24",)).load())
        if number in which
    ]
    (state, field, noise, temperature), kept = begin(committee, molecules), {}
    assert field.motion is not None
    for step in range(1, 101):
        state = langevin(state, field, noise, 0.5, friction, temperature)
        if step % 7 == 3:
            kept[step] = state
    moved, field, noise, temperature = begin(committee, molecules)
    moves = Langevin(0.5, friction, temperature)
    moved, _, first = moves.run(moved, None, field, noise, 80, range(3, 81, 7))
    moved, _, second = moves.run(moved, None, field, noise, 20, range(80 // 7 * 7 + 10 - 80, 21, 7))
    assert float(moved.heat.abs().max()) > 0 or friction == 0
    for name in SYSTEM:
        np.testing.assert_array_equal(getattr(moved, name), getattr(state, name), err_msg=name)
    assert len(first) + len(second) == len(kept)
    for number, one in enumerate(kept.values()):
        track, place = (first, number) if number < len(first) else (second, number - len(first))
        for name in ("positions", "velocities", "energy", "members"):
            np.testing.assert_array_equal(
                getattr(track, name)[place], getattr(one, name), err_msg=name
            )


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
def test_a_molecule_moves_the_same_in_any_company(committee, threads):
    molecules = Molecules(names=("organics24",)).load()
    state, field, noise, temperature = begin(committee, molecules)
    together, _, _ = Langevin(0.5, 1.0, temperature).run(state, None, field, noise, 30, range(0))
    pieces = together.positions.split(together.counts)
    for number in (0, 7, 23):
        state, field, noise, temperature = begin(
            committee, molecules[number : number + 1], [number]
        )
        alone, _, _ = Langevin(0.5, 1.0, temperature).run(state, None, field, noise, 30, range(0))
        np.testing.assert_array_equal(alone.positions, pieces[number])


def test_numbers_that_are_none_stay_with_their_molecule(committee):
    molecules = Molecules(names=("organics24",)).load()[:4]
    state, field, noise, temperature = begin(committee, molecules)
    moves = Langevin(0.5, 1.0, temperature)
    good, _, _ = moves.run(state, None, field, noise, 30, range(0))
    for bad in (np.nan, np.inf, 1e200):
        state, field, noise, temperature = begin(committee, molecules)
        state.positions[state.system == 1] *= bad
        found, _, _ = moves.run(state, None, field, noise, 30, range(0))
        others = state.system != 1
        np.testing.assert_array_equal(found.positions[others], good.positions[others])


def test_without_compiled_code_every_step_comes_back(committee):
    """The same trajectory to rounding."""
    molecules = Molecules(names=("organics24",)).load()[:2]
    found = []
    for backend in ("native", "eager"):
        state, _, noise, temperature = begin(committee, molecules)
        field = CommitteeField(
            committee.evaluator([atoms.numbers for atoms in molecules], Evaluation(backend=backend))
        )
        assert (field.motion is None) == (backend == "eager")
        _, _, track = Langevin(0.5, 1.0, temperature).run(
            state, None, field, noise, 12, range(4, 13, 4)
        )
        found.append(track)
    assert len(found[0]) == len(found[1]) == 3
    np.testing.assert_allclose(found[0].positions, found[1].positions, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found[0].members, found[1].members, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    "counts", [(6,), (3,) * 5, (6,) * 20, (60,) * 3, (3, 60, 3, 3, 12, 30) * 7, (200, 3, 3)]
)
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_each_thread_gets_as_many_blocks(counts, threads):
    parts = cut(counts, threads)
    assert [number for part in parts for number in part] == list(range(len(counts)))
    assert all(len(part) for part in parts)
    if len(set(counts)) == 1 and len(counts) >= threads:
        sizes = [sum(counts[number] for number in part) for part in parts]
        assert len(parts) % threads == 0 or max(len(part) for part in parts) == 1
        assert max(sizes) - min(sizes) <= counts[0]
        assert max(sizes) <= 48 + counts[0]
