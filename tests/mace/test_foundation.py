"""Models in each of MACE's classes as an engine: MACE's own numbers, and what is refused."""

import logging
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import BaseCalculator
from mace.calculators import MACECalculator
from mace.modules import (
    MACE,
    AtomicDielectricMACE,
    AtomicDipolesMACE,
    EnergyDipolesMACE,
    RealAgnosticInteractionBlock,
    RealAgnosticResidualInteractionBlock,
    ScaleShiftMACE,
)

from palirs import keys
from palirs.engines import EngineFailure, TBLite
from palirs.mace import MACEModel, export_mace, import_mace, load
from palirs.mace.backend import building, o3
from palirs.mace.exchange import ExportedDipole
from palirs.mace.models.dipole import DipoleShape
from palirs.mace.models.files import save
from palirs.mace.pickles import class_of
from palirs.recipes import PalirsError
from palirs.units import DIPOLE

CLASSES = {
    "plain": MACE,
    "energy": ScaleShiftMACE,
    "heads": ScaleShiftMACE,
    "both": EnergyDipolesMACE,
    "dipole": AtomicDipolesMACE,
    "dielectric": AtomicDielectricMACE,
}
ISOLATED = np.array([-13.0, -1000.0, -2000.0])


def build(kind):
    """A model with random weights for H, C and O, in MACE's class."""
    irreps = {"hidden": o3.Irreps("4x0e + 4x1o"), "read-out": o3.Irreps("4x0e + 4x1o")}
    if kind == "dielectric":
        irreps = dict.fromkeys(irreps, o3.Irreps("8x0e + 8x1o + 8x2e"))
    elif kind != "both":
        irreps["read-out"] = o3.Irreps("4x1o" if kind == "dipole" else "4x0e")
    shared = {
        "r_max": 4.0,
        "num_bessel": 4,
        "num_polynomial_cutoff": 5,
        "max_ell": 2,
        "interaction_cls": RealAgnosticResidualInteractionBlock,
        "interaction_cls_first": RealAgnosticInteractionBlock,
        "num_interactions": 2,
        "num_elements": 3,
        "hidden_irreps": irreps["hidden"],
        "MLP_irreps": irreps["read-out"],
        "avg_num_neighbors": 4.0,
        "atomic_numbers": [1, 6, 8],
        "correlation": 2,
        "gate": torch.nn.functional.silu,
        "radial_MLP": [8, 8],
    }
    energies = {"dipole": None, "dielectric": None}.get(kind, ISOLATED)
    if kind == "heads":
        energies = np.stack([ISOLATED, ISOLATED + 1])
        shared |= {"heads": ["pretrained", "fine"]}
    if CLASSES[kind] is ScaleShiftMACE:
        several = kind == "heads"
        shared |= {
            "atomic_inter_scale": [1.3, 0.7] if several else 1.3,
            "atomic_inter_shift": [0.2, 0.1] if several else 0.2,
        }
    torch.manual_seed(1)
    with building("float64"):
        return CLASSES[kind](atomic_energies=energies, **shared)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    for kind in CLASSES:
        torch.save(build(kind), place / f"{kind}.model")
    return {kind: str(place / f"{kind}.model") for kind in CLASSES}


def by_mace(file, kind, atoms, **more):
    """What MACE's calculator says."""
    calculator = MACECalculator(
        models=[torch.load(file, weights_only=False)],
        model_type=kind,
        device="cpu",
        default_dtype="float64",
        **more,
    )
    calculator.calculate(atoms)
    return calculator.results


@pytest.mark.parametrize(
    ("kind", "head"),
    [("plain", None), ("energy", None), ("heads", "pretrained"), ("heads", "fine")],
)
def test_energy_and_forces_are_those_of_maces_calculator_and_the_dipole_of_gfn2(kind, head, files):
    atoms, file = molecule("CH3OH"), files[kind]
    engine = MACEModel(file=file, head=head)
    engine.prepare()
    (found,) = engine.calculate([atoms])
    expected = by_mace(file, "MACE", atoms, **({"head": head} if head else {}))
    assert found.energy == expected["energy"]
    np.testing.assert_array_equal(found.forces, expected["forces"])
    (xtb,) = TBLite().calculate([atoms])
    np.testing.assert_allclose(found.dipole, xtb.dipole, atol=1e-10)


@pytest.mark.parametrize(
    ("dipoles", "kind", "unit"),
    [
        ("model", "EnergyDipoleMACE", "Debye"),
        ("auto", "EnergyDipoleMACE", "e·Bohr"),
        ("dipole", "DipoleMACE", "Debye"),
        ("dielectric", "DipolePolarizabilityMACE", "e·Å"),
    ],
)
def test_a_dipole_comes_from_the_model_or_another_one_in_its_unit(dipoles, kind, unit, files):
    atoms = molecule("CH3OH")
    own = dipoles in ("model", "auto")
    of_dipole = files["both" if own else dipoles]
    engine = MACEModel(
        file=files["both" if own else "energy"],
        dipoles=dipoles if own else of_dipole,
        dipole_unit=unit,
    )
    (found,) = engine.calculate([atoms])
    expected = np.ravel(by_mace(of_dipole, kind, atoms)["dipole"]) * DIPOLE[unit]
    np.testing.assert_allclose(found.dipole, expected, atol=1e-12)
    assert np.abs(expected).max() > 1e-3


def test_a_dipole_model_of_ours_is_in_its_own_unit(small, frames, tmp_path, files):
    shape = DipoleShape.of(frames, small)
    save(tmp_path / "dipole.safetensors", shape, shape.build())
    export_mace(tmp_path / "dipole.safetensors", tmp_path / "own.model")
    assert isinstance(torch.load(tmp_path / "own.model", weights_only=False), ExportedDipole)
    engine = MACEModel(file=files["energy"], dipoles=str(tmp_path / "own.model"))
    (found,) = engine.calculate(frames[:1])
    expected = load(tmp_path / "dipole.safetensors").evaluate(frames[:1])[0]
    np.testing.assert_allclose(found.dipole, np.ravel(expected), atol=1e-6)


def test_labels_of_other_files_heads_and_dipoles_are_kept_apart(files, tmp_path):
    ways = [
        MACEModel(file=files["energy"]),
        MACEModel(file=files["energy"], dipoles="none"),
        MACEModel(file=files["energy"], dtype="float32"),
        MACEModel(file=files["heads"], head="fine"),
        MACEModel(file=files["heads"], head="pretrained"),
        MACEModel(file=files["energy"], dipoles=files["dipole"]),
    ]
    assert len({way.fingerprint for way in ways}) == len(ways)
    copy = tmp_path / "elsewhere.model"
    copy.write_bytes(Path(files["energy"]).read_bytes())
    assert MACEModel(file=str(copy)).fingerprint == ways[0].fingerprint
    assert MACEModel(file=files["energy"], device="cuda").fingerprint == ways[0].fingerprint
    assert not replace(ways[0], dipoles="none").gives_dipole


def test_labels_by_a_default_are_those_of_what_it_amounts_to(files):
    for kind, amounts_to in (("energy", "GFN2-xTB"), ("both", "model")):
        by_default, named = (
            MACEModel(file=files[kind], **more) for more in ({}, {"dipoles": amounts_to})
        )
        assert by_default.fingerprint == named.fingerprint
        assert by_default.sources == named.sources
    assert MACEModel(file=files["both"], dipoles="GFN2-xTB").fingerprint != named.fingerprint


def test_a_file_that_changes_during_a_run_gives_no_labels_under_the_old_key(files, tmp_path):
    file = tmp_path / "mine.model"
    file.write_bytes(Path(files["energy"]).read_bytes())
    engine = MACEModel(file=str(file), dipoles="none")
    assert engine.fingerprint
    in_worker = pickle.loads(pickle.dumps(engine))
    in_worker.calculate([molecule("H2O")])
    file.write_bytes(Path(files["heads"]).read_bytes())
    with pytest.raises(PalirsError, match=r"engine\.file = .*mine\.model: the file has changed"):
        pickle.loads(pickle.dumps(engine)).calculate([molecule("H2O")])
    again = MACEModel(file=str(file), head="fine", dipoles="none")
    assert again.fingerprint != engine.fingerprint and again.calculate([molecule("H2O")])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"file": "missing.model"}, "engine.file = missing.model: there is no such file; give"),
        (
            {"file": "energy", "dipoles": "missing.model"},
            "engine.dipoles = missing.model: there is no such file",
        ),
        ({"file": "energy", "device": "cuda:9"}, "engine.device = 'cuda:9': torch cannot use it"),
        ({"file": "heads"}, "has several, pretrained, fine; name one"),
        ({"file": "heads", "head": "other"}, "engine.head = 'other'.*pretrained, fine"),
        ({"file": "dipole"}, "a AtomicDipolesMACE, which gives no energy"),
        ({"file": "energy", "dipoles": "model"}, "a ScaleShiftMACE, which gives no dipole"),
        ({"file": "energy", "dipoles": "energy"}, "a ScaleShiftMACE, which gives no dipole"),
    ],
)
def test_what_does_not_fit_is_told_before_the_first_label(settings, says, files):
    settings = {key: files.get(value, value) for key, value in settings.items()}
    with pytest.raises(PalirsError, match=says):
        MACEModel(**settings).prepare()


def test_other_mistakes(files, tmp_path):
    with pytest.raises(PalirsError, match=r"engine\.dipoles = 'PBE': allowed are GFN2-xTB, "):
        MACEModel(file=files["energy"], dipoles="PBE")
    with pytest.raises(EngineFailure, match="has not learnt N; it knows H, C, O"):
        MACEModel(file=files["energy"]).calculate([molecule("NH3")])
    second = MACEModel(file=files["energy"], dipoles=files["dipole"])
    second.prepare()
    ammonia = molecule("NH3")
    ammonia.info[keys.MOLECULE] = "ammonia"
    with pytest.raises(PalirsError, match=r"'ammonia': engine\.file = .* learnt N; it knows H,"):
        second.check(ammonia)
    second.check(molecule("CH3OH"))
    with pytest.raises(PalirsError, match="neutral closed shells only"):
        MACEModel(file=files["energy"]).check(Atoms("OH", info={"charge": -1}))
    torch.save(torch.nn.Linear(1, 1), tmp_path / "linear.model")
    with pytest.raises(PalirsError, match="a Linear; MACE's calculator takes MACE, Scale"):
        MACEModel(file=str(tmp_path / "linear.model")).prepare()


class Spy:
    """Makes a directory when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file),)


def test_a_pickle_is_not_opened_to_look_at_it(files, tmp_path):
    """Name, class, fingerprint, elements and checks of a molecule need no code from the file."""
    torch.save(Spy(tmp_path / "opened"), tmp_path / "spy.model")
    spy = MACEModel(file=str(tmp_path / "spy.model"))
    assert spy.fingerprint and spy.name and spy.sources and class_of(spy.file) == "mkdir"
    spy.check(molecule("CH3OH"))
    assert not (tmp_path / "opened").exists()
    with pytest.raises(PalirsError):
        spy.prepare()
    assert (tmp_path / "opened").exists(), "or the test would see nothing"
    bad = tmp_path / "bad.model"
    bad.write_bytes(b"no pickle")
    engine = MACEModel(file=str(bad))
    assert engine.fingerprint and engine.name == "MACE bad"
    engine.check(molecule("CH3OH"))
    with pytest.raises(PalirsError, match="torch cannot load it"):
        engine.prepare()


def test_a_file_says_its_class(files, tmp_path):
    for kind, built in CLASSES.items():
        assert class_of(files[kind]) == built.__name__
    (tmp_path / "text.model").write_text("no archive")
    assert class_of(str(tmp_path / "text.model")) is None
    assert class_of(str(tmp_path / "none.model")) is None


def test_the_log_says_that_code_runs_and_where_dipoles_come_from(files, caplog):
    with caplog.at_level(logging.INFO):
        MACEModel(file=files["both"]).prepare()
        MACEModel(file=files["energy"]).prepare()
        MACEModel(file=files["energy"], dipoles=files["dipole"]).prepare()
    for kind in ("both", "energy", "dipole"):
        assert f"{files[kind]} is a pickle: opening it runs the code in it" in caplog.text
    assert "MACE both: dipoles from the model, in Debye" in caplog.text
    assert "MACE energy: dipoles from GFN2-xTB" in caplog.text
    assert f"MACE energy: dipoles from {files['dipole']}" in caplog.text


def test_other_calculators_keep_their_properties(files):
    """MACE's calculator adds to a list that all of ASE's classes share."""
    before = list(BaseCalculator.implemented_properties)
    MACEModel(file=files["energy"]).calculator()
    assert BaseCalculator.implemented_properties == before


def test_one_head_of_several_is_imported(files, tmp_path, caplog):
    with pytest.raises(PalirsError, match=r"give task\.head, one of pretrained, fine"):
        import_mace(files["heads"], tmp_path / "a.safetensors")
    with pytest.raises(PalirsError, match=r"task\.head = 'x'"):
        import_mace(files["heads"], tmp_path / "a.safetensors", "x")
    atoms = molecule("CH3OH")
    with caplog.at_level(logging.WARNING):
        for head in ("pretrained", "fine"):
            import_mace(files["heads"], tmp_path / f"{head}.safetensors", head)
            ours = load(tmp_path / f"{head}.safetensors").evaluate([atoms])
            theirs = by_mace(files["heads"], "MACE", atoms, head=head)
            assert float(np.ravel(ours.energy)[0]) == pytest.approx(theirs["energy"], abs=1e-9)
            np.testing.assert_allclose(np.squeeze(ours.forces[0]), theirs["forces"], atol=1e-10)
    assert "runs the code in it" in caplog.text


@pytest.mark.parametrize("kind", ["plain", "both", "dipole", "dielectric"])
def test_classes_that_are_not_imported_say_what_they_are_good_for(kind, files, tmp_path):
    with pytest.raises(PalirsError, match=r"pretraining\.engine\.dipoles"):
        import_mace(files[kind], tmp_path / "a.safetensors")
