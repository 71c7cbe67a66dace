"""A committee in float32, as it is trained, and in float64, as its frequencies are taken."""

import numpy as np
import pytest
import torch
from ase.build import molecule

from palirs import keys
from palirs.engines import TBLite
from palirs.labels import attach
from palirs.mace.forces.native import Native
from palirs.mace.models.committee import Committee
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Architecture, Evaluation
from palirs.mace.training.checks import check_labels
from palirs.molecules import table
from palirs.recipes import PalirsError
from palirs.units import DEBYE
from palirs.vibrations import harmonic


@pytest.fixture(scope="module")
def single():
    """Members of the default's size in float32."""
    shape = PotentialShape(
        architecture=Architecture(
            channels=16, max_L=1, max_ell=2, correlation=3, cutoff=5.0, dtype="float32"
        ),
        elements=(1, 6, 8),
        atomic_energies=(-13.0, -1030.0, -2042.0),
        scale=1.3,
        mean_neighbours=4.7,
    )
    members = []
    for seed in range(2):
        torch.manual_seed(seed)
        members.append((shape, shape.build()))
    return Committee.of(members)


def test_the_float64_copy_runs_as_compiled_code_without_a_warning(single, caplog):
    """Its constants have all their digits.

    MACE's code and the compiled one agree to rounding, and the check of 1e-8 passes.
    """
    precise = single.double()
    atoms = molecule("CH3OH")
    with caplog.at_level("WARNING"):
        assert precise.kernel() is not None
        assert isinstance(precise.evaluator([atoms.numbers]), Native)
        harmonic(atoms, precise)
    assert not caplog.text
    graph, x = precise.graph([atoms.numbers]), torch.tensor(atoms.positions)
    network = Evaluation(radial="network")
    slow, fast = precise.forces(graph, x)[1], precise.evaluator([atoms.numbers], network)(x)[1]
    assert float((slow - fast).abs().max()) < 1e-12
    assert precise.shapes[0].architecture.dtype == "float64"
    assert precise.double() is precise


def test_the_float64_copy_is_the_same_committee(single):
    atoms = molecule("CH3OH")
    a, b = single.evaluate([atoms]), single.double().evaluate([atoms])
    np.testing.assert_allclose(a.forces[0], b.forces[0], atol=3e-6)
    np.testing.assert_allclose(a.energy, b.energy, atol=3e-5)


@pytest.mark.parametrize("name", ["H2O", "HF", "HCN", "CH3NO2"])
def test_dipoles_that_are_right_are_not_asked_about(name):
    assert check_labels(labelled(molecule(name), name)) == []


@pytest.mark.parametrize("name", ["methanol", "formamide", "acetonitrile", "formaldehyde"])
def test_dipoles_in_debye_are(name):
    frames = labelled(table()[name].copy(), name)
    assert check_labels(frames) == []
    for atoms in frames:
        atoms.info[keys.DIPOLE] = atoms.info[keys.DIPOLE] * DEBYE
    try:
        said = check_labels(frames)
    except PalirsError as error:  # larger than two charges at the ends of the molecule make it
        said = [str(error)]
    assert any("Debye" in line for line in said)


def labelled(atoms, name):
    rng, frames = np.random.default_rng(0), []
    for _ in range(12):
        frame = atoms.copy()
        frame.info = {keys.MOLECULE: name}
        frame.positions += rng.normal(0, 0.03, frame.positions.shape)
        frames.append(frame)
    return [
        attach(frame, label)
        for frame, label in zip(frames, TBLite().calculate(frames), strict=True)
    ]
