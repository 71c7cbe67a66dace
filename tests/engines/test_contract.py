"""The contract that ships with palirs, on every kind of engine.

And on engines with the mistakes that it has to find.
"""

import functools

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.units import Bohr, Debye, Hartree

from palirs import keys
from palirs.engines import ASE, EngineFailure, PySCF, TBLite
from palirs.engines.contract import contract
from palirs.mace import MACEModel
from palirs.molecules import Molecules
from palirs.recipes import PalirsError
from tests.toy import PairSprings, Toy


@pytest.fixture
def teacher_file(tmp_path):
    """A MACE model with energies and dipoles, in a file of MACE's own.

    Untrained weights are as good a function as any.
    """
    from mace import modules
    from mace.modules.models import EnergyDipolesMACE

    torch.manual_seed(0)
    model = EnergyDipolesMACE(
        r_max=4.0,
        num_bessel=6,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=modules.RealAgnosticResidualInteractionBlock,
        interaction_cls_first=modules.RealAgnosticInteractionBlock,
        num_interactions=2,
        num_elements=3,
        hidden_irreps=modules.models.o3.Irreps("8x0e + 8x1o"),
        MLP_irreps=modules.models.o3.Irreps("8x0e + 8x1o"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(3),
        avg_num_neighbors=5.0,
        atomic_numbers=[1, 6, 8],
        correlation=2,
    ).double()
    torch.save(model, tmp_path / "teacher.model")
    return str(tmp_path / "teacher.model")


@pytest.fixture
def teacher(teacher_file):
    """That model by MACE's calculator, as any ASE calculator."""
    from mace.calculators import MACECalculator

    options = {
        "model_paths": teacher_file,
        "model_type": "EnergyDipoleMACE",
        "device": "cpu",
        "default_dtype": "float64",
    }
    return ASE(calculator_of=functools.partial(MACECalculator, **options), title="MACE teacher")


@pytest.fixture
def model(teacher_file):
    """That model by engine=mace."""
    return MACEModel(file=teacher_file)


ENGINES = {
    "GFN2": TBLite(),
    "GFN1": TBLite(method="GFN1-xTB"),
    "springs": Toy(),
    "RHF": PySCF(functional="hf", basis="6-31g", density_fitting=False),
    "PBE": PySCF(basis="def2-svp"),
    "PBE without fitting": PySCF(basis="sto-3g", density_fitting=False, dispersion="d4"),
}


SLOW = "PBE without fitting"
PARAMS = [
    pytest.param(name, marks=pytest.mark.thorough) if name == SLOW else name
    for name in (*ENGINES, "teacher", "model")
]


@pytest.fixture(params=PARAMS, ids=str)
def engine(request):
    return (
        ENGINES[request.param]
        if request.param in ENGINES
        else request.getfixturevalue(request.param)
    )


def test_every_engine_fulfils_the_contract(engine):
    # DFT takes seconds per frame; every check applies to water too
    atoms = molecule("H2O" if isinstance(engine, PySCF) else "H2CO")
    findings = list(contract(engine, atoms))
    assert len(findings) >= 13
    for finding in findings:
        assert finding.passed, str(finding)


class Wrong(PairSprings):
    """Springs with one mistake each."""

    def __init__(self, mistake):
        super().__init__()
        self.mistake = mistake
        self.before = 0.0

    def calculate(self, *arguments, **options):
        super().calculate(*arguments, **options)
        found, x = self.results, self.atoms.positions
        match self.mistake:
            case "sign":
                found["forces"] = -found["forces"]
            case "hartree":
                found["energy"] /= Hartree
            case "bohr":
                found["forces"] = found["forces"] * Bohr
            case "fixed in space":
                found["energy"] += 0.01 * np.sin(x[0, 0])
            case "dipole in one direction":
                found["dipole"] = found["dipole"] * [1, 1, 0]
            case "charged":
                found["dipole"] = found["dipole"] + 0.1 * x.sum(axis=0)
            case "remembers":
                found["energy"] += 1e-3 * self.before
            case "debye":
                found["dipole"] = found["dipole"] / Debye * 20
            case "few digits":
                found["dipole"] = np.round(found["dipole"], 2)
        self.before = x[0, 0]


@pytest.mark.parametrize(
    ("mistake", "caught"),
    [
        ("sign", "−dE/dx"),
        ("hartree", "−dE/dx"),
        ("bohr", "−dE/dx"),
        ("fixed in space", "translation leaves the energy"),
        ("dipole in one direction", "dipole turns"),
        ("charged", "translation leaves the dipole"),
        ("remembers", "does not depend on the frame before"),
        ("debye", "in e·Å"),
        ("few digits", "dipole gradient"),
    ],
)
def test_the_contract_finds_mistakes(mistake, caught):
    engine = ASE(calculator_of=functools.partial(Wrong, mistake))
    failed = [finding.name for finding in contract(engine, molecule("H2CO")) if not finding.passed]
    assert any(caught in name for name in failed), failed


def test_an_engine_that_crashes_the_study_is_found():
    class Crash(Toy):
        def run(self, calculator, atoms):
            if len({tuple(position) for position in atoms.positions}) < len(atoms):
                raise MemoryError("segmentation")
            return super().run(calculator, atoms)

    last = list(contract(Crash(), molecule("H2CO")))[-1]
    assert not last.passed
    assert "MemoryError" in last.advice


def test_an_engine_without_dipole_is_checked_without():
    engine = ASE(calculator_of=PairSprings, properties=("energy", "forces"))
    findings = list(contract(engine, molecule("H2CO")))
    assert all(finding.passed for finding in findings)
    assert sum(bool(finding.skipped) for finding in findings) == 2


def test_the_fingerprint_tells_settings_apart_and_nothing_else():
    assert TBLite().fingerprint == TBLite().fingerprint
    others = [
        *ENGINES.values(),
        TBLite(accuracy=1.0),
        PySCF(),
        PySCF(grid=4),
        PySCF(functional="pbe0"),
        PySCF(auxiliary_basis="weigend"),
    ]
    assert len({engine.fingerprint for engine in others}) == len(others)
    assert PySCF(memory=1.0, max_cycles=99, guess="minao").fingerprint == PySCF().fingerprint


def test_an_impossible_structure_fails_with_a_reason():
    atoms = molecule("H2O")
    atoms.positions[1] = atoms.positions[0]
    for engine in (TBLite(), ENGINES["RHF"]):
        with pytest.raises(EngineFailure):
            engine.calculate([atoms])


def test_an_element_without_parameters_is_refused():
    atoms = molecule("H2O")
    atoms.info[keys.MOLECULE] = "uranium water"
    atoms.numbers[0] = 92
    for engine in (TBLite(), PySCF(basis="def2-svp", auxiliary_basis=None)):
        with pytest.raises(PalirsError, match=r"uranium water.*no parameters for U"):
            engine.check(atoms)
    for good in Molecules(names=("organics24",)).load():
        TBLite().check(good)
        PySCF().check(good)
