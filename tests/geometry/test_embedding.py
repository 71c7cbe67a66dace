"""The process that embeds: its limits, its silence, and the isomers that it names."""

import logging
import signal
import subprocess
import sys

import psutil
import pytest

from palirs.geometry import embedding
from palirs.geometry.embedding import canonical_of
from palirs.geometry.smiles import canonical, conformers
from palirs.recipes import PalirsError

CYCLOPHANE = "C1CC2=CC=C(CCC3=CC=C1C=C3)C=C2"
"""[2.2]Paracyclophane, whose bent rings RDKit does not find."""


def test_a_molecule_without_geometry_is_given_up(monkeypatch):
    monkeypatch.setattr(embedding, "PATIENCE", 1.0)
    with pytest.raises(
        PalirsError, match=r"within 1 s of CPU time, no geometry of the SMILES .*files=\[my.xyz\]"
    ):
        conformers(f"{CYCLOPHANE} cyclophane")


def test_one_that_takes_too_long_is_given_up_and_a_word_comes_before(monkeypatch, caplog):
    monkeypatch.setattr(embedding, "SILENT", 0.2)
    monkeypatch.setattr(embedding, "LONGEST", 1.0)
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(PalirsError, match="does not come to an end within 1 s"),
    ):
        conformers(f"{CYCLOPHANE} cyclophane")
    assert "cyclophane: RDKit has been making geometries" in caplog.text


def test_an_interrupt_ends_program_and_process():
    program = (
        "import logging; logging.basicConfig(level=logging.INFO)\n"
        "from palirs.geometry import embedding, smiles\n"
        "embedding.SILENT = 0.5\n"
        f"smiles.conformers('{CYCLOPHANE} x')\n"
        "print('went on')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert any("has been making geometries" in line for line in process.stderr)
        children = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert children
    assert process.returncode == -signal.SIGINT
    assert "went on" not in out
    assert errors.strip().endswith("KeyboardInterrupt")
    assert not psutil.wait_procs(children, timeout=60)[1]


@pytest.mark.parametrize("smiles", ["[AlH3] alane", "Cl[Sn](Cl)(Cl)Cl x", "CC=C=CC x", "O=C=O x"])
def test_rdkit_prints_nothing(smiles, capfd):
    conformers(smiles)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "smiles",
    [
        "C1C2CC3CC1CC(C2)C3",
        "C1CC2CCC1C2",
        "C1CC2CCC1CC2",
        "C12C3C4C1C5C2C3C45",
        "CN=[N+]=[N-]",
        "N=C=O",
        "CC(F)Cl",
        "C1N2CN3CN1CN(C2)C3",
        "C=N",
    ],
)
def test_nothing_is_said_of_stereochemistry_where_there_is_one_isomer(smiles, caplog):
    """Adamantane, norbornane, bicyclooctane, cubane, azide, isocyanic acid, and others.

    Two mirror images, urotropine, methanimine.
    """
    with caplog.at_level(logging.WARNING):
        conformers(f"{smiles} x")
    assert not caplog.records


@pytest.mark.parametrize(
    ("smiles", "isomers"),
    [
        ("CC=CC", {r"C/C=C/C", r"C/C=C\C"}),
        ("N=N", {r"[H]/N=N/[H]", r"[H]/N=N\[H]"}),
        ("CC=N", {r"[H]/N=C/C", r"[H]/N=C\C"}),
        ("FC1CC(F)C1", {"F[C@H]1C[C@@H](F)C1", "F[C@H]1C[C@H](F)C1"}),
        ("C[C@H](F)C(Cl)Br", {"C[C@H](F)[C@H](Cl)Br", "C[C@H](F)[C@@H](Cl)Br"}),
    ],
)
def test_isomers_that_a_smiles_leaves_open_are_named(smiles, isomers, caplog):
    with caplog.at_level(logging.WARNING):
        conformers(f"{smiles} x")
    (record,) = caplog.records
    _, taken, other, *_ = (str(part) for part in record.args)
    assert {taken, other.split()[0]} == isomers
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        (atoms,) = conformers(f"{taken} x")
    assert not caplog.records, "what is named leaves nothing open"
    assert canonical_of(atoms) == canonical_of(conformers(f"{smiles} x")[0])


def test_bonds_of_many_distributions_are_not_looked_for_without_end(monkeypatch):
    (atoms,) = conformers("C[N+](=O)[O-] x")
    assert canonical_of(atoms) == "C[N+](=O)[O-]"
    monkeypatch.setattr(embedding, "ORDERS", 1)
    assert canonical_of(atoms) is None


@pytest.mark.parametrize(
    "smiles", ["[NH4+]", "[OH-]", "CC(=O)[O-]", "C[CH+]C", "[CH3]", "C[O]", "[CH2]C[CH2]"]
)
def test_bonds_of_ions_and_radicals_are_those_of_their_smiles(smiles):
    (atoms,) = conformers(smiles)
    assert canonical_of(atoms) == canonical(smiles)
