"""Steps that stay on a device, run on the CPU by the same code.

What comes out is what the other paths give.
"""

import pytest
import torch

from palirs.dynamics import CommitteeField, Noise, initial_state
from palirs.dynamics.device import DeviceMotion
from palirs.dynamics.integrators import Langevin
from palirs.mace.forces.static import StaticForces
from palirs.mace.settings import Architecture, Evaluation
from palirs.molecules import table
from palirs.randomness import stream
from tests.mace.compiled.test_kernel import potentials

NAMES = ("methanol", "ethene", "formamide")


class OnDevice(CommitteeField):
    """Forces of a committee whose steps take the path of a GPU."""

    def __init__(self, evaluator, forces):
        super().__init__(evaluator)
        self.motion = DeviceMotion(forces)


@pytest.fixture(scope="module")
def fields():
    models = potentials(
        Architecture(channels=4, max_L=1, max_ell=2, radial_mlp=(8,), dtype="float64")
    )
    numbers = [table()[name].numbers for name in NAMES]
    stepwise = CommitteeField(models.evaluator(numbers, Evaluation(backend="eager")))
    assert stepwise.motion is None
    return stepwise, OnDevice(stepwise.evaluator, StaticForces(models, numbers, False))


def moved(field, friction: float, steps: int, parts: int = 1):
    molecules = [table()[name] for name in NAMES]
    noise = Noise(
        [stream(0, "device", name) for name in NAMES], [len(atoms) for atoms in molecules]
    )
    temperature = torch.tensor([100.0, 300.0, 500.0], dtype=torch.float64)
    state = initial_state(molecules, field, temperature, noise)
    moves, tracks = Langevin(0.5, friction, temperature), []
    for _ in range(parts):
        count = steps // parts
        state, _, track = moves.run(state, None, field, noise, count, range(1, count + 1, 3))
        tracks.append(track)
    return state, tracks


@pytest.mark.parametrize("friction", [5.0, 0.0])
def test_a_trajectory_is_that_of_the_other_path(fields, friction):
    """70 steps: more than the noise that is drawn at once."""
    (a, (one,)), (b, (other,)) = (moved(field, friction, 70) for field in fields)
    for name in ("positions", "velocities", "forces", "energy", "heat", "members"):
        torch.testing.assert_close(getattr(b, name), getattr(a, name), rtol=0, atol=1e-10)
    for name in ("positions", "velocities", "energy", "members"):
        torch.testing.assert_close(getattr(other, name), getattr(one, name), rtol=0, atol=1e-10)
    assert len(one) == 24
    assert friction == 0 or float(a.heat.abs().min()) > 0


def test_where_it_is_interrupted_does_not_matter(fields):
    (a, whole), (b, _parts) = (moved(fields[1], 5.0, 60, parts) for parts in (1, 4))
    assert torch.equal(a.positions, b.positions)
    assert torch.equal(a.heat, b.heat)
    assert len(whole[0]) == 20


def test_the_centre_of_mass_stays_at_rest(fields):
    state, _ = moved(fields[1], 50.0, 40)
    momentum = (state.masses * state.velocities).split(state.counts)
    assert max(float(each.sum(dim=0).abs().max()) for each in momentum) < 1e-12


def test_what_was_prepared_for_one_friction_does_not_serve_another(fields):
    for friction in (5.0, 500.0):
        expected, _ = moved(fields[0], friction, 3)
        state, _ = moved(fields[1], friction, 3)
        torch.testing.assert_close(state.velocities, expected.velocities, rtol=0, atol=1e-10)
