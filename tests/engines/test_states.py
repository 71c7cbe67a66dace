"""ASE calculators that are told charge and multiplicity."""

import functools

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.gaussian import Gaussian
from tblite.ase import TBLite as Calculation

from palirs.engines import ASE, TBLite, from_ase
from palirs.engines.contract import contract
from palirs.executors import SerialExecutor
from palirs.labels.labeller import Labeller
from palirs.labels.store import LabelStore
from palirs.molecules import Molecules
from palirs.recipes import PalirsError
from tests.toy import PairSprings

XTB = functools.partial(Calculation, accuracy=0.01, verbosity=0, cache_api=False)
BY_ARGUMENT = {"charge": "charge", "multiplicity": "multiplicity"}


def engine_of(calculator, **fields) -> ASE:
    return ASE(calculator_of=calculator, **fields)


def read(smiles: str) -> Atoms:
    return Molecules(smiles=(smiles,)).load()[0]


def bent(smiles: str) -> Atoms:
    atoms = read(smiles)
    atoms.positions += np.random.default_rng(0).normal(0, 0.05, atoms.positions.shape)
    return atoms


def test_a_calculator_that_is_told_the_state_gives_what_the_engine_of_its_own_gives():
    frames = [bent("[NH4+]"), bent("[CH3]"), bent("O"), bent("[NH4+]")]
    for atoms in frames:
        atoms.positions += 3.0
    ours, theirs = (
        engine.calculate(frames) for engine in (engine_of(XTB, states=BY_ARGUMENT), TBLite())
    )
    for one, other in zip(ours, theirs, strict=True):
        assert one.energy == pytest.approx(other.energy, abs=1e-6)
        np.testing.assert_allclose(one.forces, other.forces, atol=1e-6)
        np.testing.assert_allclose(one.dipole, other.dipole, atol=1e-6)


def test_the_contract_holds_for_an_ion_by_an_ase_calculator():
    failed = [
        str(each)
        for each in contract(engine_of(XTB, states=BY_ARGUMENT), read("[NH4+]"))
        if not each.passed
    ]
    assert not failed


class ByStructure(PairSprings):
    """Takes its state from the structure, or as arguments; the energy says what came."""

    made = 0

    def __init__(self, charge=0, uhf=0, dft=None, directory="."):
        super().__init__()
        self.state, self.dft = (charge, uhf), dft or {}
        type(self).made += 1

    def calculate(self, atoms=None, *arguments, **options):
        super().calculate(atoms, *arguments, **options)
        info = {key: value for key, value in atoms.info.items() if key in ("total", "spin")}
        charge, unpaired = (info["total"], info["spin"] - 1) if info else self.state
        unpaired = self.dft.get("mult", unpaired + 1) - 1
        self.results["energy"] = 10.0 * charge + unpaired + 100.0 * self.dft.get("grid", 0)


@pytest.mark.parametrize(
    ("states", "given", "made"),
    [
        ({"charge": "charge", "unpaired": "uhf"}, {}, 2),
        ({"charge": "info.total", "multiplicity": "info.spin"}, {}, 1),
        ({"charge": "charge", "multiplicity": "dft.mult"}, {"dft": {"grid": 0}}, 2),
        ({"charge": "charge", "multiplicity": "dft.mult"}, {"dft": {"grid": 3}}, 2),
    ],
)
@pytest.mark.parametrize("own_directory", [False, True])
def test_state_goes_where_the_calculator_takes_it(monkeypatch, states, given, made, own_directory):
    """One calculator for each state that is told as arguments, kept for the next frame."""
    monkeypatch.setattr(ByStructure, "made", 0)
    maker = functools.partial(ByStructure, **given)
    engine = engine_of(maker, states=states, own_directory=own_directory)
    radical, ion = read("[CH3]"), read("[NH4+]")
    energies = [label.energy for label in engine.calculate([radical, ion, radical, ion])]
    shift = 100.0 * given.get("dft", {}).get("grid", 0)
    assert energies == pytest.approx([shift + 1.0, shift + 10.0] * 2)
    assert ByStructure.made == (4 if own_directory else made)


def test_a_worker_keeps_the_calculators(monkeypatch, tmp_path):
    monkeypatch.setattr(ByStructure, "made", 0)
    engine = engine_of(ByStructure, states={"charge": "charge", "unpaired": "uhf"})
    labeller = Labeller(engine, LabelStore(tmp_path / "labels.db"), SerialExecutor())
    labels = labeller.calculate([bent("[CH3]"), bent("[NH4+]"), read("[CH3]"), read("[NH4+]")])
    assert [label.energy for label in labels] == pytest.approx([1.0, 10.0, 1.0, 10.0])
    assert ByStructure.made == 2


@pytest.mark.parametrize(
    ("states", "smiles", "says"),
    [
        ({}, "[NH4+] x", r"'x' \(charge \+1, singlet\).*takes its charge.*engine\.states\.charge="),
        ({}, "[CH3] x", r"takes its multiplicity.*engine\.states\.multiplicity=<place>"),
        ({"charge": "charge"}, "[CH3] x", r"takes its multiplicity"),
        ({"unpaired": "uhf"}, "[NH4+] x", r"takes its charge"),
        ({"charge": "charge"}, "[NH4+] x", None),
        ({"unpaired": "uhf"}, "[CH3] x", None),
        ({}, "O", None),
    ],
)
def test_a_state_that_the_calculator_would_not_be_told_is_refused(states, smiles, says):
    engine = engine_of(ByStructure, states=states)
    if says is None:
        engine.check(read(smiles))
        return
    with pytest.raises(PalirsError, match=says):
        engine.check(read(smiles))


@pytest.mark.parametrize(
    ("maker", "states", "says"),
    [
        (PairSprings, {"charge": "charge"}, "engine.states.charge = charge: .* no argument charge"),
        (PairSprings, {"spin": "uhf"}, "engine.states.spin: it is none of charge, multiplicity"),
        (PairSprings, {"charge": "info."}, "engine.states.charge = 'info.': give an argument"),
        (XTB, {"charge": "a", "unpaired": "a"}, "engine.states: two of them have one place"),
        (
            functools.partial(ByStructure, dft={"mult": 2}),
            {"multiplicity": "dft.mult"},
            r"engine\.calculator\.dft\.mult = 2 would be that of all",
        ),
        (
            functools.partial(Gaussian, charge=1),
            {"charge": "charge"},
            r"engine\.calculator\.charge = 1",
        ),
    ],
)
def test_mistakes_in_states_are_found_before_anything_runs(maker, states, says):
    with pytest.raises(PalirsError, match=says):
        engine_of(maker, states=states, own_directory=False)


def test_an_argument_that_the_class_refuses_is_found_when_it_is_made():
    class Strict(Calculator):
        def __init__(self, **options):
            if options.get("chrg"):
                raise ValueError("no chrg")
            super().__init__()
            self.implemented_properties = ["energy", "forces", "dipole"]

    engine_of(Strict).prepare()
    with pytest.raises(PalirsError, match=r"cannot be made with these arguments.*no chrg"):
        engine_of(Strict, states={"charge": "chrg"}).prepare()


def test_states_are_told_apart_in_labels_and_their_absence_is_as_before():
    plain, told = engine_of(XTB), engine_of(XTB, states=BY_ARGUMENT)
    assert not {"states", "dipole_origin"} & set(plain.identity)
    assert told.fingerprint != plain.fingerprint
    assert told.fingerprint != engine_of(XTB, states={"charge": "charge"}).fingerprint
    assert (
        told.fingerprint
        != engine_of(XTB, states=BY_ARGUMENT, dipole_origin="centre_of_mass").fingerprint
    )
    nothing = {"charge": None, "multiplicity": None, "unpaired": None}
    assert from_ase(XTB, states=nothing).fingerprint == plain.fingerprint


class AboutItsCentre(Calculation):
    """Gives the dipole of an ion about the centre of mass, or that of the nuclear charges."""

    def calculate(self, atoms=None, *arguments, **options):
        super().calculate(atoms, *arguments, **options)
        centre = self.atoms.get_center_of_mass()
        if self.about == "nuclear_charge":
            centre = self.atoms.numbers @ self.atoms.positions / self.atoms.numbers.sum()
        self.results["dipole"] = self.results["dipole"] - self.parameters["charge"] * centre


@pytest.mark.parametrize("about", ["centre_of_mass", "nuclear_charge"])
def test_dipoles_of_ions_about_other_origins_are_converted(monkeypatch, about):
    monkeypatch.setattr(AboutItsCentre, "about", about, raising=False)
    made = functools.partial(AboutItsCentre, **XTB.keywords)
    ion = bent("O=C[O-]")
    ion.positions += 3.0
    expected = TBLite().calculate([ion])[0].dipole
    found = engine_of(made, states=BY_ARGUMENT, dipole_origin=about).calculate([ion])[0].dipole
    assert found == pytest.approx(expected, abs=1e-6)
    wrong = engine_of(made, states=BY_ARGUMENT).calculate([ion])[0].dipole
    assert np.abs(wrong - expected).max() > 1.0
