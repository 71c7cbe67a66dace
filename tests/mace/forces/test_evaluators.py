"""Ways to evaluate a batch that moves: which is chosen, and that all say the same."""

import numpy as np
import pytest
import torch

from palirs.mace.compiled import CompilerError, Kernel, compiler
from palirs.mace.forces.static import Static
from palirs.mace.models.committee import Committee
from palirs.mace.settings import Architecture, Evaluation
from palirs.recipes import PalirsError
from tests.mace.compiled.test_kernel import potentials


def test_a_recording_replays_the_same_numbers_at_other_geometries(committee, frames):
    batch = committee.graph([frames[0].numbers, frames[25].numbers])
    start = torch.tensor(np.concatenate([frames[0].positions, frames[25].positions]))
    replay = committee.evaluator(
        [frames[0].numbers, frames[25].numbers], Evaluation(backend="recorded")
    )
    for scale in (1.0, 1.1, 3.0):  # at three times the size most pairs have left the cutoff
        expected, found = committee.forces(batch, start * scale), replay(start * scale)
        torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-10)
        torch.testing.assert_close(found[1], expected[1], rtol=0, atol=1e-10)


def test_without_a_compiler_the_slower_path_is_taken_and_told(molecules, monkeypatch, caplog):
    monkeypatch.setattr(compiler.shutil, "which", lambda name: None)
    compiler.library.cache_clear()
    committee = potentials(Architecture(channels=4, max_ell=1, radial_mlp=(8,)))
    with caplog.at_level("WARNING"):
        assert isinstance(committee.evaluator([molecules[0].numbers]), Static)
    assert "no C compiler" in caplog.text
    with pytest.raises(PalirsError, match=r"evaluation\.backend"):
        committee.evaluator([molecules[0].numbers], Evaluation(backend="native"))
    with pytest.raises(CompilerError):
        Kernel(committee.members)


def test_what_does_not_fit_the_memory_is_cut(molecules, monkeypatch, caplog):
    """A device with room for 40 atoms: batches are halved until they fit, with the same numbers.

    One molecule too large is an error.
    """
    committee = potentials(Architecture(channels=4, max_ell=1, radial_mlp=(8,), dtype="float64"))
    numbers = [a.numbers for a in molecules]
    x = torch.tensor(np.concatenate([a.positions for a in molecules]))
    expected = committee.forces(committee.graph(numbers), x)
    whole = Committee.interaction

    def limited(room):
        def interaction(self, batch, positions):
            if len(positions) > room:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return whole(self, batch, positions)

        return interaction

    monkeypatch.setattr(Committee, "interaction", limited(40))
    with caplog.at_level("WARNING"):
        found = committee.evaluator(numbers, Evaluation(backend="eager"))(x)
    assert "out of memory" in caplog.text
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-10)
    torch.testing.assert_close(found[1], expected[1], rtol=0, atol=1e-10)
    monkeypatch.setattr(Committee, "interaction", limited(3))
    with pytest.raises(PalirsError, match="memory for one molecule"):
        committee.evaluator(numbers, Evaluation(backend="eager"))(x)


def test_a_device_that_is_not_there_is_an_error(molecules):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(PalirsError, match=r"evaluation\.device"):
        potentials(Architecture(channels=4)).evaluator(
            [molecules[0].numbers], Evaluation(device="cuda")
        )
