"""Ions and radicals: engines, labels, dipoles, and what a committee cannot tell."""

from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.db import connect
from rdkit import Chem

from palirs.dynamics.forces import EngineField
from palirs.engines import EngineFailure, PySCF, TBLite
from palirs.engines.contract import contract
from palirs.executors import SerialExecutor
from palirs.geometry.electrons import Electrons, about_centre_of_mass
from palirs.geometry.embedding import canonical_of, conformers_like, molecule_of
from palirs.labels.labeller import Labeller
from palirs.labels.record import Record, structure_key
from palirs.labels.store import LabelStore
from palirs.learning.modes import mode_derivatives
from palirs.learning.walkers import Trajectory, Walker
from palirs.molecules import Molecules, electrons, read_frames
from palirs.molecules.checks import check, check_learnt, check_states
from palirs.predictor.prediction import was_learnt
from palirs.production.batch import _dipoles
from palirs.recipes import PalirsError
from palirs.tasks.evaluation import _from_file
from palirs.vibrations import harmonic, minimum
from palirs.vibrations.anharmonic.force_field import ForceField
from tests.toy import Toy

UHF = PySCF(functional="hf", basis="sto-3g", density_fitting=False)


def read(smiles: str) -> Atoms:
    return Molecules(smiles=(smiles,)).load()[0]


def bond(symbols: str, length: float, **info) -> Atoms:
    return Atoms(symbols, positions=[[0, 0, 0], [0, 0, length]], info=info)


@pytest.mark.parametrize("smiles", ["[NH4+]", "[OH-]", "[CH3]", "O=C[O-]", "[O][O]"])
def test_tight_binding_keeps_the_contract(smiles):
    failed = [str(each) for each in contract(TBLite(), read(smiles)) if not each.passed]
    assert not failed


@pytest.mark.parametrize("smiles", ["[OH-]", "[OH]"])
def test_pyscf_keeps_the_contract(smiles):
    failed = [str(each) for each in contract(UHF, read(smiles)) if not each.passed]
    assert not failed


def test_unrestricted_frequency_is_that_of_another_program():
    """Psi4's test of frequencies, UHF/STO-3G, hydroxyl at 0.97 Å: 4585.845 cm⁻¹."""
    hydroxyl = bond("OH", 0.9700000746, multiplicity=2)
    hydroxyl.set_masses([15.99491462, 1.00782503])
    assert harmonic(hydroxyl, UHF).frequencies == pytest.approx([4585.845], abs=0.1)


def test_charge_and_multiplicity_reach_the_engine():
    """Koopmans' order: it costs energy to take an electron away, and a triplet is no singlet."""
    energies = {
        key: UHF.calculate([bond("OH", 0.97, charge=key[0], multiplicity=key[1])])[0].energy
        for key in ((0, 2), (1, 3), (1, 1), (-1, 1))
    }
    assert len({round(energy, 3) for energy in energies.values()}) == 4
    assert energies[1, 3] - energies[0, 2] > 5.0
    assert energies[1, 3] < energies[1, 1]  # OH⁺ is a triplet, as NH


def test_engine_does_not_remember_the_charge_of_the_frame_before():
    for engine in (TBLite(), UHF):
        ion = bond("OH", 0.97, charge=-1, multiplicity=1)
        water = Atoms("OH2", positions=[[0, 0, 0], [0.76, 0, 0.59], [-0.76, 0, 0.59]])
        alone, mixed = engine.calculate([water])[0], engine.calculate([ion, water, ion])
        assert mixed[1].energy == pytest.approx(alone.energy, abs=1e-6)
        assert mixed[2].energy == pytest.approx(mixed[0].energy, abs=1e-6)


def test_dipole_of_an_ion_is_about_its_atoms_wherever_it_is():
    ion = read("[OH-]")
    moved = ion.copy()
    moved.positions += [3.0, -2.0, 5.0]
    here, there = TBLite().calculate([ion, moved])
    assert there.dipole == pytest.approx(here.dipole, abs=1e-5)


def test_dipole_about_the_centre_of_mass_is_that_of_point_charges():
    rng = np.random.default_rng(0)
    charges, positions = np.array([0.7, -0.2, 0.5]), rng.normal(size=(4, 3, 3))
    ion = Atoms("OH2", positions=positions[0], info={"charge": 1, "multiplicity": 2})
    ion.set_masses([16.0, 1.0, 2.0])
    mean = positions.mean(axis=1, keepdims=True)
    centre = (positions * ion.get_masses()[:, None]).sum(axis=1, keepdims=True) / 19
    about_mean, about_mass = (
        np.einsum("n,fnx->fx", charges, positions - origin) for origin in (mean, centre)
    )
    assert about_centre_of_mass(ion, positions, about_mean) == pytest.approx(about_mass)


def test_intensities_of_an_ion_are_those_about_a_fixed_origin():
    """Atoms move about the centre of mass, which stays where it is."""

    class FixedOrigin:
        def calculate(self, frames):
            """Return labels whose dipoles are about the origin: twice those about the mean."""
            labels = TBLite().calculate(frames)
            shifted = [
                label.dipole - frame.positions.mean(axis=0)  # charge −1
                for label, frame in zip(labels, frames, strict=True)
            ]
            return [
                type(label)(label.energy, label.forces, dipole)
                for label, dipole in zip(labels, shifted, strict=True)
            ]

    ion = minimum(read("[OH-]"), TBLite()).atoms
    neutral = ion.copy()  # nothing is corrected for
    neutral.info = {"molecule": "plain"}

    class Charged(FixedOrigin):
        def calculate(self, frames):
            for frame in frames:
                frame.info |= {"charge": -1, "multiplicity": 1}
            return super().calculate(frames)

    expected = harmonic(neutral, Charged()).intensities
    assert harmonic(ion, TBLite()).intensities == pytest.approx(expected, rel=1e-4)
    assert expected is not None
    assert expected[0] > 1.0


def test_dipole_models_learn_derivatives_about_the_mean_of_the_positions():
    reference = minimum(read("O=C[O-]"), TBLite())
    for derivative in mode_derivatives(reference):
        frames = [reference.atoms.copy(), reference.atoms.copy()]
        for frame, sign in zip(frames, (0.02, -0.02), strict=True):
            frame.positions += sign * derivative.step
        ahead, behind = TBLite().calculate(frames)
        change = (ahead.dipole - behind.dipole) / 0.04
        assert change == pytest.approx(derivative.dipole, abs=2e-4)


def test_no_two_states_share_a_label(tmp_path):
    states = [{}, {"charge": 1, "multiplicity": 2}, {"charge": -1, "multiplicity": 2}]
    water = Atoms("OH2", positions=[[0, 0, 0], [0.76, 0, 0.59], [-0.76, 0, 0.59]])
    frames = []
    for state in states:
        frames.append(water.copy())
        frames[-1].info |= {"molecule": "H2O", **state}
    labeller = Labeller(TBLite(), LabelStore(tmp_path / "labels.db"), SerialExecutor())
    energies = [label.energy for label in labeller.calculate(frames)]
    assert len({round(energy, 3) for energy in energies}) == 3
    stored = {
        Electrons.of(atoms): label.energy
        for atoms, label, _ in LabelStore(tmp_path / "labels.db").select()
    }
    assert stored == {
        Electrons.of(frame): energy for frame, energy in zip(frames, energies, strict=True)
    }


def test_the_key_of_a_neutral_molecule_is_what_stores_hold():
    """Digest of numbers and positions, as written by version 0.1."""
    water = Atoms("OH2", positions=[[0, 0, 0], [0.76, 0, 0.59], [-0.76, 0, 0.59]])
    assert structure_key(water) == "ee6b2f5c2586af65f2bfd7dc334e6663"


def test_a_record_says_what_was_calculated():
    ion = read("[OH-]")
    line = Record("key", ion, {}, TBLite().calculate([ion])[0]).line()
    assert Electrons.of(Record.read(line).atoms) == Electrons(-1, 1)


def test_md_by_the_engine_is_that_of_the_ion():
    import torch

    ion = read("[OH-]")
    field = EngineField(TBLite(), [ion])
    energy = field(torch.tensor(ion.positions)).energy.item()
    assert energy == pytest.approx(TBLite().calculate([ion])[0].energy, abs=1e-8)


def test_two_states_of_one_composition_are_no_study():
    radical, ion = read("[OH] radical"), read("[OH-] ion")
    with pytest.raises(PalirsError, match=r"radical \(neutral, doublet\) and ion \(charge -1"):
        check_states([radical, ion])
    check_states([radical, read("[NH4+]"), read("O")])


def test_models_know_the_states_they_learnt():
    learnt = [read("[OH] radical"), read("[NH4+] ammonium"), read("O water")]
    check_learnt(read("[CH3]"), learnt)
    with pytest.raises(PalirsError, match=r"charge -1, singlet.*study of its own"):
        check_learnt(read("[NH2-]"), learnt)
    with pytest.raises(PalirsError, match=r"radical .* have the same atoms"):
        check_learnt(bond("OH", 1.0, molecule="OH+", charge=1, multiplicity=1), learnt)


def test_an_open_shell_goes_down_from_a_saddle_point():
    """Bent NO₂ by UHF/6-31G: the first solution has ⟨S²⟩ 0.77, the minimum is no doublet."""
    engine = PySCF(functional="hf", basis="6-31g", density_fitting=False)
    with pytest.raises(EngineFailure, match=r"⟨S²⟩ is 1"):
        engine.calculate([read("O=N[O]")])


def test_an_engine_that_cannot_says_so():
    with pytest.raises(PalirsError, match=r"charge -1, singlet.*neutral closed shells only"):
        Toy().check(read("[OH-]"))


def test_a_determinant_of_mixed_spin_is_no_label():
    """Hartree-Fock mixes the quartet into the doublet of the ethynyl radical, by a quarter."""
    with pytest.raises(EngineFailure, match=r"⟨S²⟩ is 1\.38 instead of 0\.75"):
        UHF.calculate([read("C#[C]")])


def test_frames_of_an_exploration_say_what_they_are():
    ion = read("[OH-]")
    walker = Walker(ion, ion, 300.0, 0)
    trajectory = Trajectory(walker, np.zeros(1), ion.positions[None], np.zeros(1), np.zeros(1))
    assert Electrons.of(trajectory.frame(0, 0)) == Electrons(-1, 1)


def test_recorded_dipoles_of_md_are_about_the_centre_of_mass():
    """A model that finds nothing about the mean of the positions leaves the charge there."""

    class Nothing:
        def of_positions(self, numbers, positions):
            return np.zeros((1, len(positions), 3))

    ion = bond("OH", 1.0, charge=-1, multiplicity=1)
    ion.set_masses([16.0, 1.0])
    recorded = _dipoles(Nothing(), ion, ion.positions[None])  # pyright: ignore[reportArgumentType]
    assert recorded == pytest.approx(np.array([[0.0, 0.0, -(0.5 - 1 / 17)]]))


def test_the_text_of_an_xyz_file_keeps_its_charge():
    from palirs.predictor.served import _molecule  # imports MLflow

    text = "2\ncharge=-1 multiplicity=1\nO 0 0 0\nH 0 0 0.97\n"
    atoms = _molecule(text)
    assert isinstance(atoms, Atoms)
    atoms.info["molecule"] = "hydroxide"
    check(atoms)
    assert Electrons.of(atoms) == Electrons(-1, 1)


@pytest.mark.parametrize("value", ["minus one", 0.5, [1, 2], None])
def test_a_charge_that_is_no_number_is_told(value):
    with pytest.raises(PalirsError, match=r"info\['charge'\] = .* is no whole number; give the ch"):
        Electrons.of(Atoms("OH", info={"charge": value}))


@pytest.mark.parametrize("value", ["doublet", 1.5, 0, -2])
def test_a_multiplicity_that_is_none_is_told(value):
    atoms = Atoms("OH", info={"molecule": "radical", "multiplicity": value})
    with pytest.raises(
        PalirsError, match=r"'radical': info\['multiplicity'\] = .* from 1; give 2S"
    ):
        Electrons.of(atoms)


@pytest.mark.parametrize(
    ("smiles", "bonds"),
    [
        ("C=C[CH2]", "[CH2]C=C"),
        ("[NH3+]", "[NH3+]"),
        ("[O]N=O", "[O]N=O"),
        ("C[C]=O", "C[C]=O"),
        ("c1ccccc1[CH2]", None),
        ("[CH2]O", "[CH2]O"),
        ("O=C[O-]", "O=C[O-]"),
        ("C[O]", "C[O]"),
        ("[CH3]", "[CH3]"),
        ("[NH2]", "[NH2]"),
        ("[CH2]C#N", "[CH2]C#N"),
        ("[O]C=C", "[CH2]C=O"),
        ("c1ccccc1[O]", "[O]c1ccccc1"),
        ("[CH2][N+](=O)[O-]", "[CH2][N+](=O)[O-]"),
        ("[CH2]C(=O)[O-]", "[CH2]C(=O)[O-]"),
        ("C[N+](C)(C)[CH2]", "[CH2][N+](C)(C)C"),
        ("C[OH+]", "C[OH+]"),
        ("[CH2+]", "[CH2+]"),
        ("[O][O]", "[O][O]"),
        ("C[CH]", "[CH]C"),
        ("C[N]", "C[N]"),
    ],
)
def test_bonds_of_a_radical_are_told_from_its_geometry(smiles, bonds):
    """The unpaired electrons of the state, and the double bonds of the formula."""
    (atoms,) = Molecules(smiles=(f"{smiles} x",)).load()
    bonded = molecule_of(atoms)
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in bonded.GetAtoms())
    assert unpaired == Electrons.of(atoms).unpaired
    assert sum(atom.GetFormalCharge() for atom in bonded.GetAtoms()) == Electrons.of(atoms).charge
    Chem.Kekulize(bonded)
    double = [bond.GetBondTypeAsDouble() > 1 for bond in bonded.GetBonds()]
    if bonds is None:
        assert sum(double) == 3, "benzyl"
        assert canonical_of(atoms) == "[CH2]c1ccccc1"
    else:
        assert canonical_of(atoms) == bonds


def test_radical_cations_keep_the_bonds_of_the_molecule():
    for name in ("C6H6", "butadiene", "CH4"):
        cation = molecule(name)
        cation.info |= {"charge": 1, "multiplicity": 2}
        assert canonical_of(cation) == canonical_of(molecule(name)), name


@pytest.mark.parametrize("smiles", ["CC[CH]C", "[O]c1ccccc1CC", "C[O]", "COC[NH2+]"])
def test_bonds_of_a_radical_do_not_depend_on_the_order_of_its_atoms(smiles):
    (atoms,) = Molecules(smiles=(f"{smiles} x",)).load()
    mixed = atoms[np.random.default_rng(1).permutation(len(atoms))]
    mixed.info = atoms.info
    assert canonical_of(mixed) == canonical_of(atoms)
    assert was_learnt(mixed, [molecule("H2O"), atoms])
    assert (conformers_like(mixed)[0][1].numbers == mixed.numbers).all()


def test_bonds_that_cannot_be_known_are_said_to_be():
    """Methane with a bond of two hydrogen atoms, CH5⁺, has no formula of electron pairs."""
    (methane,) = Molecules(names=("CH4",)).load()
    odd = methane + Atoms("H", [[0.0, 0.0, 1.1]])
    odd.info = {"molecule": "x", "charge": 1, "multiplicity": 1}
    assert canonical_of(odd) is None
    assert was_learnt(odd, [odd]) is None
    assert was_learnt(odd, [methane]) is False
    with pytest.raises(ValueError, match=r"no bonds with charge \+2 and 1 unpaired"):
        molecule_of(Atoms("CH4", methane.positions, info={"charge": 2, "multiplicity": 2}))


def test_ions_with_the_electrons_of_a_triplet_ask_for_their_multiplicity():
    """OH⁺ has those of NH and is a triplet; CH⁺ has those of BH and is none."""
    cation = Atoms("OH", [[0, 0, 0], [0, 0, 1.0]], info={"molecule": "x", "charge": 1})
    with pytest.raises(PalirsError, match=r"HO? ?.*of charge \+1 is a triplet|OH of charge \+1"):
        check(cation.copy())
    check(Atoms("CH", [[0, 0, 0], [0, 0, 1.1]], info={"molecule": "x", "charge": 1}))
    cation.info["multiplicity"] = 3
    check(cation)
    assert Electrons.of(cation) == Electrons(1, 3)


def test_outputs_of_programs_keep_their_charge_wherever_they_are_read(tmp_path):
    """A Gaussian input of hydroxide, read as frames."""
    file = tmp_path / "hydroxide.com"
    file.write_text("#p hf/sto-3g\n\nhydroxide\n\n-1 1\nO 0.0 0.0 0.0\nH 0.0 0.0 0.97\n\n")
    (atoms,) = read_frames(file)
    assert electrons(atoms, "x") == Electrons(-1, 1)


@pytest.mark.parametrize(
    ("name", "text", "state"),
    [
        ("a.com", "#p hf\n\nx\n\n-1 1\nO 0.0 0.0 0.0\nH 0.0 0.0 0.97\n\n", Electrons(-1, 1)),
        ("a.xyz", "2\ncharge=1 multiplicity=3\nO 0 0 0\nH 0 0 0.97\n", Electrons(1, 3)),
        (
            "a.nwi",
            "charge -1\ngeometry units angstrom\n O 0 0 0.0\n H 0 0 1.0\nend\n\n"
            "dft\n mult 1\nend\n",
            Electrons(-1, 1),
        ),
        ("a.db", "", Electrons(-1, 1)),
    ],
)
def test_frames_and_molecules_of_a_file_have_one_state(tmp_path, name, text, state):
    file = tmp_path / name
    file.write_text(text)
    if not text:
        file.unlink()
        with connect(file) as database:
            database.write(bond("OH", 0.97), total_charge=-1)
    (frame,), (atoms,) = read_frames(file), Molecules(files=(str(file),)).load()
    assert electrons(frame, "x") == Electrons.of(atoms) == state


@pytest.mark.parametrize(
    ("molecule", "said", "error"),
    [
        ("[OH-] x", "", None),
        ("[OH-] x", "charge=-1", None),
        ("[OH-] x", "charge=-1 multiplicity=1", None),
        (
            "[OH-] x",
            "charge=0 multiplicity=2",
            r"frame 1 is of charge \+0, and x .* charge -1, sin",
        ),
        ("[OH-] x", "charge=1", r"frame 1 is of charge \+1"),
        ("[OH] x", "charge=0", None),
        ("[OH] x", "multiplicity=4", r"frame 1 is of multiplicity 4, and x .* neutral, doublet"),
    ],
)
def test_structures_of_another_state_are_no_test_set(tmp_path, molecule, said, error):
    session = SimpleNamespace(molecules=[read(molecule)], names=["x"])
    file = tmp_path / "a.xyz"
    frames = [f"2\n{text}\nO 0 0 0\nH 0 0 0.97\n" for text in ("", said)]
    file.write_text("".join(frames))
    if error is None:
        chosen = _from_file(session, str(file), ["x"])  # pyright: ignore[reportArgumentType]
        assert [Electrons.of(each) for each in chosen] == 2 * [Electrons.of(read(molecule))]
        return
    with pytest.raises(PalirsError, match=error):
        _from_file(session, str(file), ["x"])  # pyright: ignore[reportArgumentType]


def test_force_fields_keep_the_state(tmp_path):
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"molecule": "x", "charge": -1})
    atoms.info["multiplicity"] = 1
    field = ForceField(atoms, np.array([3700.0]), np.zeros((1, 2, 3)), *np.zeros((2, 1)))
    field.save(tmp_path / "field.npz")
    assert Electrons.of(ForceField.load(tmp_path / "field.npz").atoms) == Electrons(-1, 1)
    with np.load(tmp_path / "field.npz") as data:
        older = {name: data[name] for name in data.files if name != "electrons"}
    np.savez(tmp_path / "older.npz", **older)
    assert Electrons.of(ForceField.load(tmp_path / "older.npz").atoms) == Electrons()


def test_charge_and_multiplicity_as_settings():
    """ASE's OH is a radical; with a charge it is hydroxide, and O2 may be the singlet."""
    (radical,) = Molecules(names=("OH",)).load()
    assert Electrons.of(radical) == Electrons(0, 2)
    (ion,) = Molecules(names=("OH",), charges={"OH": -1}).load()
    assert Electrons.of(ion) == Electrons(-1, 1)
    (cation,) = Molecules(names=("OH",), charges={"OH": 1}, multiplicities={"OH": 3}).load()
    assert Electrons.of(cation) == Electrons(1, 3)
    with pytest.raises(PalirsError, match="OH of charge"):
        Molecules(names=("OH",), charges={"OH": 1}).load()
    with pytest.raises(PalirsError, match=r"molecules\.multiplicities=\{CH4: 2\}"):
        Molecules(names=("CH4",), charges={"CH4": 1}).load()
    with pytest.raises(PalirsError, match="x states charge -1 itself"):
        Molecules(smiles=("[OH-] x",), charges={"x": 1}).load()
    (singlet,) = Molecules(names=("O2",), multiplicities={"O2": 1}).load()
    assert Electrons.of(singlet) == Electrons()
    (triplet,) = Molecules(names=("CH2_s3B1d",), charges={"CH2_s3B1d": 0}).load()
    assert Electrons.of(triplet) == Electrons(0, 3)
    with pytest.raises(PalirsError, match=r"molecules\.charges: no molecule is called OD; .* OH"):
        Molecules(names=("OH",), charges={"OD": -1}).load()


@pytest.mark.parametrize("setting", ["smiles", "names"])
def test_a_smiles_states_its_charge(setting):
    """As the shipped structure too, and zero as any other; its multiplicity where it says one."""

    def load(text, **states):
        return Molecules(**{setting: (text,)}, **states).load()[0]  # pyright: ignore[reportArgumentType]

    for text, name in (("[NH3+]C", "CH6N+-BAVYZA"), ("C=O", "formaldehyde"), ("CCC#C", None)):
        name = name or load(text).info["molecule"]
        with pytest.raises(PalirsError, match=r"states charge .*charges says -1; write the SMILES"):
            load(text, charges={name: -1}, multiplicities={name: 2})
    assert "charge" not in load("C=O").info
    assert Electrons.of(load("C=O", charges={"formaldehyde": 0})) == Electrons()
    name = load("CC=O").info["molecule"]
    assert Electrons.of(load("CC=O", multiplicities={name: 3})) == Electrons(0, 3)


def test_the_less_strange_formula_of_a_radical_ion_is_taken():
    """Benzene's anion has the bonds of benzene, not three pairs of charges."""
    (atoms,) = Molecules(names=("C6H6",)).load()
    atoms.info |= {"charge": -1, "multiplicity": 2}
    charged = [atom for atom in molecule_of(atoms).GetAtoms() if atom.GetFormalCharge()]
    assert len(charged) <= 1


def test_charges_of_atoms_agree_with_a_setting(tmp_path):
    file = tmp_path / "x.xyz"
    comment = 'Properties=species:S:1:pos:R:3 charge="0.4 0.3 0.3"'
    file.write_text(f"3\n{comment}\nO 0 0 0\nH 0.76 0.59 0\nH -0.76 0.59 0\n")
    ((atoms,),) = (Molecules(files=(str(file),), charges={"x": 1}, multiplicities={"x": 2}).load(),)
    assert Electrons.of(atoms) == Electrons(1, 2)
    with pytest.raises(PalirsError, match="x states charge 1 itself"):
        Molecules(files=(str(file),), charges={"x": -1}).load()


def test_the_log_says_that_an_ion_is_taken_for_a_singlet(tmp_path, caplog):
    """NH₂⁺ from a file, whose ground state is a triplet, as that of CH₂."""
    caplog.set_level("INFO")
    file, text = tmp_path / "x.xyz", "3\n{}\nN 0 0 0\nH 0.85 0 0.55\nH -0.85 0 0.55\n"
    for said in ("charge=1 multiplicity=3", "charge=1 multiplicity=1"):
        file.write_text(text.format(said))
        Molecules(files=(str(file),)).load()
    Molecules(smiles=("[NH4+]",)).load()
    assert "taken for a singlet" not in caplog.text
    file.write_text(text.format("charge=1"))
    Molecules(files=(str(file),)).load()
    assert "'x' (charge +1) is taken for a singlet" in caplog.text
    assert "molecules.multiplicities={x: 3}" in caplog.text
