"""Recordings for a GPU: the same numbers as MACE's own, without sums in random order."""

from typing import Any

import numpy as np
import pytest
import torch

from palirs.mace.forces import fused, static
from palirs.mace.forces.rewriting import summands
from palirs.mace.forces.static import StaticForces, alike
from palirs.mace.models.committee import Committee
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Architecture
from palirs.molecules import table
from tests.mace.compiled.test_kernel import potentials

SCATTERED = ("scatter", "index_add", "index_put", "index_reduce")


@pytest.fixture(scope="module")
def models() -> Committee:
    return potentials(
        Architecture(channels=4, max_L=1, max_ell=2, radial_mlp=(8,), dtype="float64")
    )


@pytest.fixture
def uncompiled(monkeypatch):
    """Recordings as they are: torch's compiler takes a minute, and needs no test of ours."""
    monkeypatch.setattr(fused, "_ready", {})
    monkeypatch.setattr(fused, "_compiled", lambda module: module)


def places(molecules: list[Any], seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    x = np.concatenate([atoms.positions for atoms in molecules])
    return torch.tensor(x + rng.normal(0, 0.05, x.shape))


def test_a_rewritten_recording_gives_what_mace_gives_for_every_member(
    models, molecules, uncompiled
):
    graph = models.graph([atoms.numbers for atoms in molecules])
    evaluate = fused.together(models.members, graph, places(molecules))
    for seed in (1, 2):
        x = places(molecules, seed)
        for new, own in zip(evaluate(x), models.interaction(graph, x), strict=True):
            torch.testing.assert_close(new, own, rtol=0, atol=1e-11)


def test_nothing_is_scattered_and_little_is_multiplied_by_libraries(models, molecules):
    graph = models.graph([atoms.numbers for atoms in molecules])
    _, rest = fused.recorded(models.members[0], graph, places(molecules))
    names = [str(node.target) for node in rest.graph.nodes if node.op == "call_function"]
    assert not [name for name in names if any(word in name for word in SCATTERED)]
    for node in rest.graph.nodes:
        if node.target is torch.ops.aten.mm.default:
            left, right = (argument.meta["val"].shape for argument in node.args)
            assert right[0] > 1, (left, right)


def test_members_share_a_recording_unless_they_differ_in_more_than_weights(
    models, molecules, uncompiled
):
    for number, recordings in ((0, 1), (0, 1), (1, 2)):
        graph = models.graph([molecules[number].numbers])
        fused.together(models.members, graph, places([molecules[number]]))
        assert len(fused._ready) == recordings


def test_committees_of_other_elements_or_cutoffs_have_forces_of_their_own(uncompiled):
    """Methanol, once with oxygen as the last of four elements, once as the last but one."""
    methanol = table()["methanol"]
    for elements, cutoff in (((1, 6, 7, 8), 5.0), ((1, 6, 8, 9), 5.0), ((1, 6, 8, 9), 2.0)):
        shape = PotentialShape(
            architecture=Architecture(
                channels=4, max_ell=1, radial_mlp=(8,), cutoff=cutoff, dtype="float64"
            ),
            elements=elements,
            atomic_energies=(0.0,) * 4,
            scale=1.0,
            mean_neighbours=4.0,
        )
        committee = Committee.of([(shape, shape.build())])
        graph, x = committee.graph([methanol.numbers]), places([methanol])
        energy, forces = fused.together(committee.members, graph, x)(x)
        own_energy, own_forces = committee.interaction(graph, x)
        torch.testing.assert_close(energy, own_energy, rtol=0, atol=1e-11)
        torch.testing.assert_close(forces, own_forces, rtol=0, atol=1e-11)


def test_a_nan_stays_in_its_molecule(models, molecules, uncompiled):
    numbers = [atoms.numbers for atoms in molecules[:2]]
    x = places(molecules[:2])
    x[0] = torch.nan
    evaluate = fused.together(models.members, models.graph(numbers), x)
    energy, forces = evaluate(x)
    assert bool(energy[:, 0].isnan().all())
    assert not bool(energy[:, 1].isnan().any())
    assert not bool(forces[:, len(numbers[0]) :].isnan().any())


def test_summands_are_those_of_the_row_in_order():
    rows = torch.tensor([2, 0, 2, 2, 0])
    table, there = summands(rows, 4)
    assert table.tolist()[2] == [0, 2, 3]
    assert table.tolist()[0][:2] == [1, 4]
    assert there.sum(dim=1).tolist() == [2, 0, 3, 0]


def test_parts_are_alike_and_complete():
    numbers = [(6, 1, 1), (8, 1)] * 30 + [(7, 7)]
    parts = alike(numbers, 30)
    assert sorted(i for part in parts for i in part) == list(range(61))
    assert len({tuple(numbers[i] for i in part) for part in parts}) <= 2
    assert alike(numbers, 1000) == [list(range(61))]
    assert sorted(map(len, alike([(1,) * 9] * 3, 2))) == [1, 1, 1]


@pytest.mark.parametrize("most", [25, 200])
def test_a_batch_in_parts_gives_what_it_gives_at_once(models, molecules, monkeypatch, most):
    copies = [atoms for atoms in molecules for _ in range(3)]  # parts take one of each
    numbers, x = [atoms.numbers for atoms in copies], places(copies)
    whole = StaticForces(models, numbers, False)(x)
    monkeypatch.setattr(static, "BATCH_ATOMS", most)
    parts = StaticForces(models, numbers, False)
    for a, b in zip(parts(x), whole, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)
    some = parts.only([1, 3]).only([1])
    energy, forces = some(x[parts.atoms([3])])
    torch.testing.assert_close(energy, whole[0][:, [3]], rtol=0, atol=1e-11)
    torch.testing.assert_close(forces, whole[1][:, parts.atoms([3])], rtol=0, atol=1e-11)
