"""Members that start from a cheap engine's labels."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import molecule

from palirs import keys
from palirs.engines import TBLite
from palirs.executors import SerialExecutor
from palirs.labels import Labeller, LabelStore
from palirs.learning.completed import complete_iterations
from palirs.learning.pretraining import pretrain, start_geometry
from palirs.learning.state import LearningSetup
from palirs.mace import MACEModel, export_mace, load
from palirs.mace.models.files import load_dipole_model
from palirs.mace.settings import Architecture, Training
from palirs.mace.training.committees import starting_point, train_committee
from palirs.molecules import read_frames
from palirs.recipes import PalirsError
from palirs.sampling import InitialSamples, ThermalSamples
from palirs.selection import Selector
from palirs.settings import Learning, Models, Pretraining, Sampler
from palirs.study.references import vibrations_by
from palirs.units import MILLIDEBYE

SMALL = Architecture(channels=8, max_ell=1, correlation=2, max_L=0)
HOW = Pretraining(
    engine=TBLite(method="GFN1-xTB"), frames=60, training=Training(updates=600, learning_rate=0.02)
)
SAMPLER = Sampler(temperatures=(300.0, 600.0), replicas=2, length=0.2)


@pytest.fixture(scope="module")
def cheap(tmp_path_factory):
    """Water by GFN1: its labeller and vibrations."""
    water = molecule("H2O")
    water.info[keys.MOLECULE] = "water"
    labeller = Labeller(
        HOW.engine, LabelStore(tmp_path_factory.mktemp("cheap") / "labels.db"), SerialExecutor()
    )
    return labeller, vibrations_by(labeller, [water])


def run(place, cheap, how=HOW):
    thermal = InitialSamples(thermal=ThermalSamples())
    setup = LearningSetup(
        place, 1, 2, Learning(), SMALL, Training(), thermal, SAMPLER, Selector(), cheap[1]
    )
    pretrain(setup, how, Models(SMALL, SMALL), 1, cheap[0], SerialExecutor(), SerialExecutor())


@pytest.fixture(scope="module")
def made(cheap, tmp_path_factory):
    """Two potentials and a dipole model that have learnt from GFN1; their directory."""
    place = tmp_path_factory.mktemp("pretraining")
    run(place, cheap)
    return place


def test_models_have_learnt_the_cheap_engine(cheap, made):
    labeller, (known,) = cheap
    rng = np.random.default_rng(5)
    frames = [known.atoms.copy() for _ in range(20)]
    for atoms in frames:
        atoms.positions += rng.normal(scale=0.03, size=(3, 3))
    labelled = labeller.label(frames)
    forces = np.array([atoms.arrays[keys.FORCES] for atoms in labelled])
    errors = np.abs(
        np.array(
            load(complete_iterations(made)[-1] / "potential-0.safetensors")
            .evaluate(labelled)
            .forces
        )[:, 0]
        - forces
    ).mean()
    assert errors < 0.15 * np.abs(forces).mean()
    dipoles = np.array([atoms.info[keys.DIPOLE] for atoms in labelled])
    assert (
        np.abs(
            load_dipole_model([complete_iterations(made)[-1] / "dipole-0.safetensors"]).evaluate(
                labelled
            )[0]
            - dipoles
        ).mean()
        * MILLIDEBYE
        < 60
    )
    last = complete_iterations(made)[-1]
    assert last.name == "001", "thermal samples, then exploration"
    assert {atoms.info[keys.ORIGIN] for atoms in read_frames(last / "train.xyz")} == {
        "optimum",
        "thermal",
        "quantum",
        "exploration",
    }
    assert (last / "potential-0.safetensors").read_bytes() != (
        last / "potential-1.safetensors"
    ).read_bytes(), "members differ"


def test_what_is_there_is_not_made_again(cheap, made):
    before = {file: file.stat().st_mtime_ns for file in made.rglob("*.safetensors")}
    asked = set(cheap[0].asked)
    run(made, cheap)
    assert {file: file.stat().st_mtime_ns for file in made.rglob("*.safetensors")} == before
    assert cheap[0].asked == asked, "no label was wanted"


def test_a_foundation_model_is_the_cheap_engine(made, tmp_path):
    """A member and the dipole model, as MACE's own files: each label is what they say."""
    last = complete_iterations(made)[-1]
    weights = {name: last / f"{name}-0.safetensors" for name in ("potential", "dipole")}
    files = {name: str(tmp_path / f"{name}.model") for name in weights}
    for name, file in files.items():
        export_mace(weights[name], file)
    engine = MACEModel(file=files["potential"], dipoles=files["dipole"])
    how = replace(HOW, engine=engine, iterations=1, training=Training(updates=100))
    labeller = Labeller(engine, LabelStore(tmp_path / "labels.db"), SerialExecutor())
    water = molecule("H2O")
    water.info[keys.MOLECULE] = "water"
    engine.prepare()
    engine.check(water)
    run(tmp_path / "made", (labeller, vibrations_by(labeller, [water])), how)
    (made_here,) = complete_iterations(tmp_path / "made")
    frames = read_frames(made_here / "train.xyz")
    assert len(frames) >= 15 and labeller.failed == 0
    energies = np.ravel(load(weights["potential"]).evaluate(frames).energy)
    expected = [atoms.info[keys.ENERGY] for atoms in frames]
    np.testing.assert_allclose(energies, expected, atol=1e-4)  # members are in single precision
    dipoles = load_dipole_model([weights["dipole"]]).evaluate(frames)[0]
    expected = np.array([atoms.info[keys.DIPOLE] for atoms in frames])
    np.testing.assert_allclose(dipoles, expected, atol=1e-5)
    assert (made_here / "potential-1.safetensors").exists()
    assert (made_here / "dipole-0.safetensors").exists()


def test_a_few_labels_of_the_other_engine_are_worth_more(cheap, made, tmp_path):
    """Ten labels of GFN2: from GFN1's weights the forces are far better than from scratch."""
    labeller = Labeller(TBLite(), LabelStore(tmp_path / "labels.db"), SerialExecutor())
    (known,), rng = cheap[1], np.random.default_rng(3)
    frames = [known.atoms.copy() for _ in range(30)]
    for atoms in frames:
        atoms.positions += rng.normal(scale=0.03, size=(3, 3))
    labelled = labeller.label(frames)
    how = Training(updates=300, learning_rate=0.003, validation_fraction=0.2)
    found = {}
    for name, start in (("scratch", None), ("pretrained", complete_iterations(made)[-1])):
        (tmp_path / name).mkdir()
        one = train_committee(
            tmp_path / name, labelled[:10], 1, SMALL, how, 1, 0, SerialExecutor(), None, start
        )
        forces = np.array([atoms.arrays[keys.FORCES] for atoms in labelled[10:]])
        found[name] = np.abs(np.array(one.evaluate(labelled[10:]).forces)[:, 0] - forces).mean()
    assert found["pretrained"] < 0.4 * found["scratch"], found


def test_where_a_member_starts(tmp_path):
    scratch, previous = Training(), Training(start="previous")
    first = tmp_path / "potential-1.safetensors"
    assert starting_point(scratch, tmp_path, None, 1) is None
    assert starting_point(scratch, tmp_path, first, 1) == first
    assert starting_point(previous, None, first, 1) == first
    assert (
        starting_point(previous, tmp_path / "000", first, 1)
        == tmp_path / "000" / "potential-1.safetensors"
    )
    with pytest.raises(PalirsError, match="no such file"):
        starting_point(Training(start="gone.safetensors"), None, None, 0)


def test_the_relaxation_starts_at_the_cheap_optimum_unless_it_is_another_conformer(cheap):
    (known,) = cheap[1]
    start = known.atoms.copy()
    start.positions += 0.1 * np.random.default_rng(0).normal(size=(3, 3))
    np.testing.assert_array_equal(start_geometry(start, known).positions, known.atoms.positions)
    far = start.copy()
    far.positions[0] += 3.0
    assert start_geometry(far, replace(known)) is far
