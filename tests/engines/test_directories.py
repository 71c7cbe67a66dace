"""Engines that write files: FHI-aims and ASE calculators.

The input of FHI-aims line by line, its reader on genuine outputs.
"""

import functools
import shlex
from pathlib import Path
from typing import ClassVar

import ase
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import BaseCalculator, Calculator
from ase.calculators.emt import EMT
from ase.calculators.gaussian import Gaussian
from ase.calculators.orca import ORCA
from ase.units import Debye, Hartree

from palirs.engines import ASE, Aims, EngineFailure, TBLite
from palirs.recipes import PalirsError
from tests.toy import PairSprings, Toy

GENUINE = Path(ase.__file__).parent / "test" / "testdata" / "aims"


@pytest.fixture
def species(tmp_path):
    """Files with the names of the licensed ones; what is in them goes into control.in untouched."""
    folder = tmp_path / "species_defaults" / "light"
    folder.mkdir(parents=True)
    for name in ("01_H", "06_C", "08_O"):
        (folder / f"{name}_default").write_text(
            f"  species        {name[3:]}\n    nucleus        {int(name[:2])}\n"
        )
    return tmp_path / "species_defaults"


def genuine(name):
    if not (GENUINE / name).exists():
        pytest.skip("this ASE came without its test data")
    return GENUINE / name


def test_the_input_of_aims_line_by_line(species, tmp_path):
    engine = Aims(
        command="false",
        species_directory=str(species),
        directory=str(tmp_path / "run"),
        control={"charge_mix_param": 0.05},
    )
    with pytest.raises(EngineFailure, match=r"files in .*H2O-"):
        engine.calculate([molecule("H2O")])
    place = next((tmp_path / "run").glob("H2O-*"))
    lines = [line.split("#")[0].split() for line in (place / "control.in").read_text().splitlines()]
    control = {line[0]: line[1:] for line in lines if line}
    for key, value in {
        "xc": "pbe",
        "spin": "none",
        "relativistic": "atomic_zora scalar",
        "vdw_correction_hirshfeld": "",
        "output": "dipole",
        "compute_forces": ".true.",
        "charge_mix_param": "0.05",
    }.items():
        assert control[key] == value.split(), key
    for key, value in {
        "charge": 0,
        "sc_accuracy_rho": 1e-6,
        "sc_accuracy_etot": 1e-6,
        "sc_accuracy_forces": 1e-5,
    }.items():
        assert float(control[key][0]) == value, key
    assert {line[1] for line in lines if line[:1] == ["species"]} == {"H", "O"}
    assert not {"k_grid", "relax_geometry"} & set(control)
    geometry = [
        line.split()
        for line in (place / "geometry.in").read_text().splitlines()
        if line.startswith("atom")
    ]
    assert [line[4] for line in geometry] == ["O", "H", "H"]
    np.testing.assert_allclose(
        [[float(x) for x in line[1:4]] for line in geometry], molecule("H2O").positions, atol=1e-10
    )


def test_a_genuine_output_of_aims_is_read(species):
    """ASE's own copy of a molecular-dynamics run of water; the last step counts.

    Energy, dipole and forces as printed there.
    """
    file = genuine("md.out")
    text = file.read_text()
    engine = Aims(command=f"cat {shlex.quote(str(file))}", species_directory=str(species))
    found = engine.calculate([Atoms("OHH", positions=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])])[
        0
    ]
    energies = [
        float(line.split()[5]) for line in text.splitlines() if "| Total energy uncorrected" in line
    ]
    dipoles = [
        line.split()[6:9] for line in text.splitlines() if "| Total dipole moment [eAng]" in line
    ]
    assert found.energy in energies
    np.testing.assert_array_equal(
        found.dipole, np.array(dipoles[energies.index(found.energy)], dtype=float)
    )
    assert 1.5 < np.linalg.norm(found.dipole) / Debye < 2.5, "water, in e·Å"
    assert found.forces.shape == (3, 3)
    assert abs(found.forces.sum(axis=0)).max() < 0.01


def test_an_output_of_aims_without_dipole_is_a_failure(species):
    file = genuine("relax.out")
    with pytest.raises(EngineFailure):
        Aims(command=f"cat {shlex.quote(str(file))}", species_directory=str(species)).calculate(
            [molecule("H2O")]
        )


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"command": ""}, "engine.command: needs a value"),
        ({"species_directory": ""}, "engine.species_directory: needs a value"),
        ({"species": "tight"}, "there is no directory .*tight"),
        ({"control": {"xc": "pbe0"}}, "engine.control.xc: engine.functional says that"),
        ({"control": {"relativistic": "none"}}, "engine.relativistic says that"),
        ({"control": {"sc_accuracy_forces": 1e-3}}, "engine.force_accuracy says that"),
        ({"control": {"species_dir": "/elsewhere"}}, "engine.species says that"),
        ({"control": {"charge": 1}}, "engine.control.charge: .*neutral"),
        ({"control": {"spin": "collinear"}}, "engine.control.spin: .*closed shells"),
        ({"control": {"compute_forces": False}}, "engine.control.compute_forces"),
        ({"control": {"output": ["hirshfeld"]}}, "engine.control.output: dipole"),
        (
            {"control": {"relax_geometry": "bfgs 1e-2"}},
            "engine.control.relax_geometry: .*as it stands",
        ),
        ({"control": {"k_grid": "1 1 1"}}, "engine.control.k_grid"),
        (
            {"control": {"many_body_dispersion": ""}},
            "van_der_waals=hirshfeld adds dispersion already",
        ),
        (
            {"van_der_waals": "nonlocal_mbd", "control": {"vdw_correction_hirshfeld": True}},
            "nonlocal_mbd adds dispersion already",
        ),
        (
            {"functional": "pbe_vdw"},
            "engine.van_der_waals = hirshfeld: functional=pbe_vdw has dispersion",
        ),
        ({"functional": "xyg3", "van_der_waals": None}, "no forces"),
    ],
)
def test_mistakes_in_aims_are_found_before_anything_runs(species, fields, says):
    with pytest.raises(PalirsError, match=says):
        Aims(**{"command": "aims.x", "species_directory": str(species), **fields})


def test_lines_of_aims_that_say_nothing_else_pass(species):
    """Dispersion by a line of one's own where the setting is off.

    And a further output beside the dipole.
    """
    control = {
        "many_body_dispersion": "",
        "output": ["dipole", "hirshfeld"],
        "charge_mix_param": 0.05,
    }
    Aims(command="aims.x", species_directory=str(species), van_der_waals=None, control=control)
    Aims(command="aims.x", species_directory=str(species), van_der_waals=None, functional="pbe_vdw")


def test_aims_covers_what_has_a_species_file(species):
    engine = Aims(command="aims.x", species_directory=str(species))
    engine.check(molecule("CH3OH"))
    with pytest.raises(PalirsError, match="no parameters for N"):
        engine.check(molecule("NH3"))


class InHartree(PairSprings):
    def calculate(self, *arguments, **options):
        super().calculate(*arguments, **options)
        self.results["energy"] /= Hartree
        self.results["forces"] = self.results["forces"] / (Hartree / ase.units.Bohr)
        self.results["dipole"] = self.results["dipole"] / Debye


def test_units_of_an_ase_calculator_are_converted():
    declared = ASE(
        calculator_of=InHartree,
        units={"energy": "Hartree", "forces": "Hartree/Bohr", "dipole": "Debye"},
    )
    ours = declared.calculate([molecule("CH3OH")])[0]
    theirs = Toy().calculate([molecule("CH3OH")])[0]
    assert ours.energy == pytest.approx(theirs.energy, rel=1e-12)
    np.testing.assert_allclose(ours.forces, theirs.forces, rtol=1e-12)
    np.testing.assert_allclose(ours.dipole, theirs.dipole, rtol=1e-12)


def test_an_ase_calculator_gives_what_the_engine_of_its_own_gives():
    from tblite.ase import TBLite as Calculator

    made = functools.partial(
        Calculator, method="GFN1-xTB", accuracy=0.01, verbosity=0, cache_api=False
    )
    any_ase = ASE(calculator_of=made).calculate([molecule("CH3OH")])[0]
    own = TBLite(method="GFN1-xTB").calculate([molecule("CH3OH")])[0]
    assert any_ase.energy == own.energy
    np.testing.assert_array_equal(any_ase.forces, own.forces)
    np.testing.assert_array_equal(any_ase.dipole, own.dipole)


class Writes(PairSprings):
    """Leaves a file where it is told to work, and fails for molecules with nitrogen."""

    def __init__(self, directory="."):
        super().__init__()
        self.directory = directory

    def calculate(self, *arguments, **options):
        super().calculate(*arguments, **options)
        Path(self.directory, "output").write_text("done")
        if 7 in self.atoms.numbers:
            raise RuntimeError("crashed")


def test_calculations_have_directories_of_their_own_and_failed_ones_keep_them(tmp_path):
    engine = ASE(calculator_of=Writes, own_directory=True, directory=str(tmp_path))
    engine.calculate([molecule("H2O"), molecule("CH3OH")])
    assert not list(tmp_path.iterdir())
    with pytest.raises(EngineFailure, match=r"crashed; files in .*NH3|H3N"):
        engine.calculate([molecule("NH3")])
    assert [file.name for file in tmp_path.glob("*/*")] == ["output"]
    ASE(calculator_of=Writes, own_directory=True, directory=str(tmp_path), keep=True).calculate(
        [molecule("H2O")] * 2
    )
    assert len(list(tmp_path.iterdir())) == 3


class Forgets(PairSprings):
    """Says that it has a dipole, and gives none."""

    def calculate(self, *arguments, **options):
        super().calculate(*arguments, **options)
        del self.results["dipole"]


def test_a_property_that_does_not_come_is_named():
    with pytest.raises(EngineFailure, match="gave no dipole"):
        ASE(calculator_of=Forgets).calculate([molecule("H2O")])
    found = ASE(calculator_of=Forgets, properties=("energy", "forces")).calculate(
        [molecule("H2O")]
    )[0]
    assert found.dipole is None


class Tells(PairSprings):
    """Says what it has once it is made."""

    implemented_properties: ClassVar[list[str]] = []

    def __init__(self):
        super().__init__()
        self.implemented_properties = ["energy", "forces"]


def test_a_property_that_a_calculator_does_not_have_is_found_when_it_is_made():
    with pytest.raises(
        PalirsError, match=r"Tells does not give dipole; give engine.properties=\[energy,forces\]"
    ):
        ASE(calculator_of=Tells).prepare()
    ASE(calculator_of=Tells, properties=("energy", "forces")).prepare()


class Silent(Calculator):
    """Lists nothing itself."""


def test_a_class_does_not_have_the_properties_of_others(monkeypatch):
    """Some calculators, such as MACE's, add theirs to the list of ASE's base class."""
    monkeypatch.setattr(BaseCalculator, "implemented_properties", ["energy", "forces"])
    ASE(calculator_of=Silent)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"calculator_of": None}, "needs _target_"),
        ({"properties": ("energy", "stress")}, "'stress' is none of"),
        ({"properties": ("energy", "dipole")}, "energy and forces are needed"),
        ({"units": {"energy": "cal"}}, "engine.units.energy = 'cal'"),
        ({"elements_covered": ("H", "Xx")}, "'Xx' is no element"),
        (
            {"calculator_of": functools.partial(PairSprings, stifness=2.0)},
            "engine.calculator.stifness.*stiffness",
        ),
        (
            {"calculator_of": EMT},
            r"EMT does not give dipole; give engine.properties=\[energy,forces\]",
        ),
        (
            {"properties": ("energy", "forces"), "units": {"dipole": "Debye"}},
            "engine.units.dipole = 'Debye'.*properties",
        ),
        (
            {"calculator_of": ORCA},
            "engine.own_directory = false: ORCA writes files.*own_directory=true",
        ),
        ({"calculator_of": Gaussian}, "engine.own_directory = false: Gaussian writes files"),
        (
            {"own_directory": True},
            "engine.own_directory = true: PairSprings has no argument directory",
        ),
        (
            {"calculator_of": functools.partial(Gaussian, directory="here"), "own_directory": True},
            "engine.calculator.directory",
        ),
        ({"directory": "there"}, "engine.directory.*own_directory=true"),
        ({"keep": True}, "engine.keep.*own_directory=true"),
    ],
)
def test_mistakes_in_an_ase_engine_are_found_before_anything_runs(fields, says):
    with pytest.raises(PalirsError, match=says):
        ASE(**{"calculator_of": PairSprings, **fields})


def test_units_of_ase_itself_may_stand_for_what_is_not_given():
    """They are the defaults of the configuration, dipole or not."""
    ASE(
        calculator_of=EMT,
        properties=("energy", "forces"),
        units={"energy": "eV", "forces": "eV/Å", "dipole": "e·Å"},
    )
    ASE(
        calculator_of=functools.partial(ORCA, profile=None),
        own_directory=True,
        directory="there",
        keep=True,
    )


def test_the_fingerprint_of_an_ase_engine_follows_numbers_and_files(tmp_path):
    (tmp_path / "model").write_text("weights")

    def fingerprint(**arguments):
        return ASE(calculator_of=functools.partial(dict, **arguments)).fingerprint

    model = str(tmp_path / "model")
    before = fingerprint(model=model)
    assert fingerprint(model=model, directory="/somewhere", command="mpirun orca") == before
    assert fingerprint(model=model, xc="PBE") != before
    (tmp_path / "model").write_text("other weights")
    assert fingerprint(model=model) != before
    assert fingerprint(inp="a" * 5000) != fingerprint(inp="a" * 4999 + "b"), (
        "a long text is no file name"
    )
    assert fingerprint(charges=np.arange(3)) != fingerprint(charges=np.arange(3) + 1)
    positional = [
        ASE(calculator_of=functools.partial(dict, {name: 1})).fingerprint for name in "ab"
    ]
    assert positional[0] != positional[1]
    with_dipole = ASE(calculator_of=dict)
    without = ASE(calculator_of=dict, properties=("energy", "forces"))
    assert with_dipole.fingerprint != without.fingerprint


def test_the_fingerprint_of_aims_follows_its_species(species):
    def fingerprint():
        return Aims(command="aims.x", species_directory=str(species)).fingerprint

    before = fingerprint()
    assert fingerprint() == before
    with open(species / "light" / "01_H_default", "a") as file:
        file.write("     hydro 3 d 7\n")
    assert fingerprint() != before
