"""Names, and what is none."""

import logging

import ase.io
import pytest
from ase.build import molecule

from palirs import keys
from palirs.molecules import Molecules, named
from palirs.recipes import PalirsError


@pytest.mark.parametrize(
    ("name", "formula", "instead"),
    [
        ("COS", "CH4OS", "OCS"),
        ("OCN", "CH5NO", "the SMILES"),
        ("OCO", "CH4O2", "CO2"),
        ("NNO", "H4N2O", "N2O"),
        ("NF", "H2FN", "the SMILES"),
    ],
)
def test_a_formula_that_is_read_as_a_smiles_is_warned_of(name, formula, instead, caplog):
    named(name)
    (record,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert (
        f"{name} is no known name and was read as a SMILES, which is {formula}"
        in record.getMessage()
    )
    assert instead in record.getMessage()


@pytest.mark.parametrize("name", ["CCO", "CCl", "C1CC1", "CC(C)=O", "ClC(Cl)(Cl)Cl", "FBr", "C#N"])
def test_a_smiles_is_one_without_a_warning(name, caplog):
    with caplog.at_level(logging.INFO):
        named(name)
    assert {record.levelno for record in caplog.records} == {logging.INFO}
    assert f"{name} was read as a SMILES" in caplog.text


def test_a_smiles_that_is_meant_is_not_talked_about(caplog):
    assert Molecules(smiles=("COS",)).load()
    assert not caplog.records


def test_a_tab_may_stand_before_the_name():
    assert Molecules(smiles=("C#N\tprussic",)).load()[0].info[keys.MOLECULE] == "prussic"


@pytest.mark.parametrize("names", [("Mine", "mine"), ("\u00e9", "e\u0301")])
def test_names_that_files_may_not_tell_apart_are_refused(tmp_path, names):
    frames = [molecule("H2O"), molecule("CH4")]
    for atoms, name in zip(frames, names, strict=True):
        atoms.info[keys.MOLECULE] = name
    ase.io.write(tmp_path / "two.xyz", frames, format="extxyz")
    with pytest.raises(PalirsError, match="rename one of them"):
        Molecules(files=(str(tmp_path / "two.xyz"),)).load()
