"""MACE's own files, exported and imported.

What is exported opens in MACE's calculator, what is imported gives the same numbers, and of pickles
one is warned.
"""

import json
import logging
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from ase import Atoms
from mace.calculators import MACECalculator
from mace.modules import (
    AtomicDipolesMACE,
    RealAgnosticInteractionBlock,
    RealAgnosticResidualInteractionBlock,
    ScaleShiftMACE,
)

from palirs.mace import export_mace, import_mace, load
from palirs.mace.backend import building, o3
from palirs.mace.compiled import Kernel
from palirs.mace.models.dipole import DipoleShape
from palirs.mace.models.files import header, save
from palirs.mace.models.learnt import check_start, stated, stated_by
from palirs.mace.models.potential import PotentialShape
from palirs.recipes import PalirsError

OPEN = """
import json, sys, ase.io
from mace.calculators import MACECalculator
model, kind, frames = sys.argv[1:]
calculator = MACECalculator(model, device="cpu", default_dtype="float64", model_type=kind)
found = []
for atoms in ase.io.read(frames, ":"):
    atoms.calc = calculator
    if kind == "DipoleMACE":
        found.append(atoms.get_dipole_moment().tolist())
    else:
        found.append([atoms.get_potential_energy(), atoms.get_forces().tolist()])
assert kind == "DipoleMACE" or "palirs" not in sys.modules
print("RESULT", json.dumps(found))
"""


def by_mace(model, kind, frames, tmp_path):
    """What MACE's calculator says in a process of its own, which is how users open files."""
    import ase.io

    ase.io.write(tmp_path / "frames.traj", [atoms.copy() for atoms in frames])
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(model), kind, str(tmp_path / "frames.traj")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.rpartition("RESULT")[2])


def test_an_exported_potential_is_the_same_in_maces_calculator(small, frames, tmp_path):
    shape = PotentialShape.of(frames, small)
    save(tmp_path / "a.safetensors", shape, shape.build(), stated(frames))
    export_mace(tmp_path / "a.safetensors", tmp_path / "out" / "a.model")
    ours = load(tmp_path / "a.safetensors").evaluate(frames[18:22])
    for number, (energy, forces) in enumerate(
        by_mace(tmp_path / "out" / "a.model", "MACE", frames[18:22], tmp_path)
    ):
        assert energy == pytest.approx(ours.energy[0, number], abs=1e-9)
        np.testing.assert_allclose(forces, ours.forces[number][0], atol=1e-9)


def test_an_exported_dipole_model_is_the_same_in_maces_calculator_and_comes_back(
    small, frames, tmp_path
):
    shape = DipoleShape.of(frames, small)
    save(tmp_path / "d.safetensors", shape, shape.build(), stated(frames))
    export_mace(tmp_path / "d.safetensors", tmp_path / "d.model")
    ours = load(tmp_path / "d.safetensors").evaluate(frames[18:22])[0]
    np.testing.assert_allclose(
        by_mace(tmp_path / "d.model", "DipoleMACE", frames[18:22], tmp_path), ours, atol=1e-10
    )
    assert import_mace(tmp_path / "d.model", tmp_path / "back.safetensors") == shape
    assert (tmp_path / "back.safetensors").read_bytes() == (tmp_path / "d.safetensors").read_bytes()


def stock(kind=ScaleShiftMACE, **changes):
    """A model as MACE's command builds it, with an energy shift."""
    settings = {
        "r_max": 3.5, "num_bessel": 6, "num_polynomial_cutoff": 4, "max_ell": 2,
        "num_interactions": 2, "num_elements": 4,
        "interaction_cls": RealAgnosticResidualInteractionBlock,
        "interaction_cls_first": RealAgnosticResidualInteractionBlock,
        "hidden_irreps": o3.Irreps("6x0e+6x1o"), "MLP_irreps": o3.Irreps("10x0e"),
        "avg_num_neighbors": 4.4,
        "atomic_energies": np.array([[-13.0, -1030.0, -1485.0, -2042.0]]),
        "atomic_numbers": [1, 6, 7, 8], "correlation": 3,
        "gate": torch.nn.functional.silu, "radial_MLP": [12, 20], **changes,
    }  # fmt: skip
    if kind is ScaleShiftMACE:
        settings |= {"atomic_inter_scale": 1.3, "atomic_inter_shift": 0.21} | changes
    torch.manual_seed(0)
    with building("float64"):
        return kind(**settings)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"interaction_cls_first": RealAgnosticInteractionBlock},
        {"hidden_irreps": o3.Irreps("6x0e"), "correlation": 2},
    ],
    ids=["MACE's default", "first interaction without residual", "scalars only"],
)
def test_an_imported_potential_is_what_it_was_and_runs_as_compiled_code(changes, frames, tmp_path):
    model = stock(**changes)
    torch.save(model, tmp_path / "theirs.model")
    shape = import_mace(tmp_path / "theirs.model", tmp_path / "ours.safetensors")
    assert shape.atomic_energies[0] == pytest.approx(-13.0 + 0.21)
    committee = load(tmp_path / "ours.safetensors")
    Kernel(committee.members)  # raises where it cannot be had
    found = committee.evaluate(frames[18:22])
    calculator = MACECalculator(models=[model], device="cpu", default_dtype="float64")
    for number, atoms in enumerate(frames[18:22]):
        work = atoms.copy()
        work.calc = calculator
        assert found.energy[0, number] == pytest.approx(work.get_potential_energy(), abs=1e-8)
        np.testing.assert_allclose(found.forces[number][0], work.get_forces(), atol=1e-8)


def test_an_exported_model_says_what_it_has_learnt_when_it_comes_back(small, frames, tmp_path):
    shape = PotentialShape.of(frames, small)
    ion, radical = (
        Atoms("OH", info={"charge": charge, "multiplicity": multiplicity})
        for charge, multiplicity in ((-1, 1), (0, 2))
    )
    save(tmp_path / "a.safetensors", shape, shape.build(), stated([radical, ion]))
    export_mace(tmp_path / "a.safetensors", tmp_path / "a.model")
    import_mace(tmp_path / "a.model", tmp_path / "back.safetensors")
    about = header(tmp_path / "back.safetensors")
    assert about["electrons"] == [[-1, 1], [0, 2]]
    assert check_start("x", about, [radical, ion])
    with pytest.raises(PalirsError, match=r"x: its model has learnt molecules that are"):
        check_start("x", about, [Atoms("OH2")])
    assert not check_start("x", stated_by(shape.build()), [ion]), "others do not say it"


class Bomb:
    """What a pickle can do."""

    def __reduce__(self):
        return (exec, ("import os; os.environ['PALIRS_BOMB'] = 'exploded'",))


def test_load_does_not_open_a_pickle_and_import_says_that_it_runs_code(
    tmp_path, monkeypatch, caplog
):
    import os

    monkeypatch.delenv("PALIRS_BOMB", raising=False)
    torch.save(Bomb(), tmp_path / "bomb.model")
    (tmp_path / "bomb.safetensors").write_bytes(pickle.dumps(Bomb()))
    for name in ("bomb.model", "bomb.safetensors"):
        with pytest.raises(PalirsError, match="not a safetensors file"):
            load(tmp_path / name)
    assert "PALIRS_BOMB" not in os.environ
    with caplog.at_level(logging.WARNING), pytest.raises(PalirsError, match="NoneType"):
        import_mace(tmp_path / "bomb.model", tmp_path / "out.safetensors")
    assert "runs the code in it" in caplog.text
    assert os.environ.pop("PALIRS_BOMB") == "exploded", "the bomb is a real one"
    assert not (tmp_path / "out.safetensors").exists()


def test_what_cannot_be_imported_is_refused_by_name(tmp_path):
    torch.save(stock(AtomicDipolesMACE, atomic_energies=None), tmp_path / "dipole.model")
    two_heads = {
        "heads": ["one", "two"],
        "atomic_energies": np.zeros((2, 4)),
        "atomic_inter_scale": [1.0, 1.0],
        "atomic_inter_shift": [0.0, 0.0],
    }
    torch.save(stock(**two_heads), tmp_path / "heads.model")
    torch.save(stock(pair_repulsion=True), tmp_path / "zbl.model")
    torch.save(stock(num_interactions=1), tmp_path / "one.model")
    torch.save(stock(hidden_irreps=o3.Irreps("6x0e+6x2e")), tmp_path / "even.model")
    (tmp_path / "text.model").write_text("not a model")
    for name, says in {
        "dipole": "AtomicDipolesMACE", "heads": "several heads", "zbl": "pair repulsion",
        "one": "LinearReadoutBlock", "even": "hidden irreps", "text": "cannot load",
        "absent": "no such file",
    }.items():  # fmt: skip
        with pytest.raises(PalirsError, match=says):
            import_mace(tmp_path / f"{name}.model", tmp_path / "out.safetensors")
