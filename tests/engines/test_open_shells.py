"""Open shells by PySCF: restricted or unrestricted, and states whose unpaired electrons turn."""

import numpy as np
import pytest
from ase import Atoms

from palirs.engines import EngineFailure, Properties, PySCF
from palirs.engines.contract import contract
from palirs.labels.record import label_key
from palirs.labels.store import LabelStore
from palirs.molecules import Molecules

SMALL = {"basis": "sto-3g", "density_fitting": False}
UHF, ROHF = (
    PySCF(functional="hf", open_shell=kind, **SMALL) for kind in ("unrestricted", "restricted")
)
ROKS = PySCF(functional="pbe", open_shell="restricted", **SMALL)
WATER = Atoms("OH2", positions=[[0, 0, 0], [0.76, 0, 0.59], [-0.76, 0, 0.59]])


def methyl() -> Atoms:
    return Molecules(smiles=("[CH3] methyl",)).load()[0]


@pytest.mark.parametrize(
    "engine",
    [ROHF, pytest.param(ROKS, marks=pytest.mark.thorough)],
    ids=["ROHF", "ROKS"],
)
def test_restricted_open_shells_keep_the_contract(engine):
    failed = [str(each) for each in contract(engine, methyl()) if not each.passed]
    assert not failed


@pytest.mark.parametrize("functional", ["hf", "pbe"])
def test_restricted_open_shells_are_those_of_a_plain_script(functional):
    """Shared orbitals cost energy, and ⟨S²⟩ is exact: CN is contaminated by the quartet."""
    from pyscf import dft, gto, scf

    atoms = Atoms("CN", [[0, 0, 0], [0, 0, 1.17]], info={"molecule": "CN", "multiplicity": 2})
    mol = gto.M(atom="C 0 0 0; N 0 0 1.17", basis="sto-3g", spin=1, verbose=0)
    method = scf.ROHF(mol) if functional == "hf" else dft.ROKS(mol, xc=functional)
    method.kernel()
    engine = PySCF(functional=functional, open_shell="restricted", **SMALL)
    assert engine.calculate([atoms])[0].energy == pytest.approx(method.e_tot * 27.211386, abs=1e-3)


def test_restricted_and_unrestricted_labels_are_told_apart_where_they_differ(tmp_path):
    """What is unrestricted is not named, so that labels from before the setting are found."""
    assert UHF.fingerprint == PySCF(functional="hf", **SMALL).fingerprint
    assert "open_shell" not in UHF.identity
    ion = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"charge": -1, "multiplicity": 1})
    for closed in (WATER, ion):
        assert label_key(ROHF, closed) == label_key(UHF, closed)
        assert ROHF.identity_for(closed) == UHF.identity
    assert label_key(ROHF, methyl()) != label_key(UHF, methyl())
    store = LabelStore(tmp_path / "labels.db")
    for number, (engine, atoms) in enumerate([(UHF, WATER), (UHF, methyl()), (ROHF, methyl())]):
        store.put(engine, atoms, Properties(float(number), np.zeros((len(atoms), 3)), np.zeros(3)))
    energies = {
        engine: [label.energy for _, label, _ in store.select(engine)] for engine in (UHF, ROHF)
    }
    assert energies == {UHF: [0.0, 1.0], ROHF: [0.0, 2.0]}


def _always_unstable(monkeypatch, angle: float) -> None:
    """Have PySCF find every solution unstable against a turn of the two highest β orbitals."""
    from pyscf.scf import uhf

    def stability(self, return_status):
        alpha, beta = (orbitals.copy() for orbitals in self.mo_coeff)
        highest = int(self.mo_occ[1].sum()) - 1
        pair = beta[:, [highest, highest + 1]]
        cosine, sine = np.cos(angle), np.sin(angle)
        beta[:, [highest, highest + 1]] = pair @ np.array([[cosine, -sine], [sine, cosine]])
        return (alpha, beta), None, False, None

    monkeypatch.setattr(uhf.UHF, "stability", stability)


def test_a_hole_that_turns_about_the_axis_is_one_state(monkeypatch):
    """Hydroxyl, ²Π: with a functional the noise of the grid makes the turn look like downhill."""
    hydroxyl = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"multiplicity": 2})
    expected = UHF.calculate([hydroxyl])[0]
    _always_unstable(monkeypatch, 0.5)
    turned = UHF.calculate([hydroxyl])[0]
    assert turned.energy == pytest.approx(expected.energy, abs=1e-6)
    assert turned.forces == pytest.approx(expected.forces, abs=1e-4)
    _always_unstable(monkeypatch, 0.0)
    with pytest.raises(EngineFailure, match="no stable solution"):  # it is where it was
        UHF.calculate([hydroxyl])
