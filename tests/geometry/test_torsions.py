import numpy as np
import pytest
from ase.build import molecule

from palirs.geometry.distinct import distances
from palirs.geometry.torsions import clashing, rotors, turn
from palirs.molecules import Molecules, intact


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("methanol", 1), ("ethanol", 2), ("ethane", 1), ("ethene", 0), ("ethyne", 0),
        ("acetonitrile", 0), ("oxirane", 0), ("formaldehyde", 0), ("dimethyl_ether", 2),
        ("acetic_acid", 2), ("methane", 0), ("acetone", 2), ("butylamine", 4),
        ("aziridine", 0), ("cyanogen", 0), ("formamide", 0),
    ],
)  # fmt: skip
def test_bonds_that_turn(name, expected):
    """Not ends, not rings, not double or triple bonds, nor what lies in line with one."""
    assert len(rotors(Molecules(names=(name,)).load()[0])) == expected


def test_turning_changes_the_torsion_and_no_length_or_angle_else():
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.02, seed=1)
    for rotor in rotors(atoms):
        turned = atoms.copy()
        turn(turned, rotor, 60.0)
        assert intact(turned, atoms)
        end = next(
            k
            for k in range(9)
            if k not in (*rotor.side, rotor.fixed, rotor.moving)
            and atoms.get_distance(k, rotor.fixed) < 1.7
        )
        before, after = (
            one.get_dihedral(end, rotor.fixed, rotor.moving, rotor.side[0])
            for one in (atoms, turned)
        )
        assert min(abs((after - before) % 360 - 60), abs((before - after) % 360 - 60)) < 1e-6
        rest = [k for k in range(9) if k not in rotor.side]
        np.testing.assert_array_equal(turned.positions[rest], atoms.positions[rest])
        mine = [*rotor.side, rotor.moving, rotor.fixed]
        np.testing.assert_allclose(distances(turned[mine]), distances(atoms[mine]), atol=1e-12)
        turn(turned, rotor, -60.0)
        np.testing.assert_allclose(turned.positions, atoms.positions, atol=1e-12)


def test_a_methyl_turned_by_a_third_is_the_same_molecule():
    atoms = molecule("C2H6")
    (rotor,) = rotors(atoms)
    for angle, same in ((120.0, True), (60.0, False)):
        turned = atoms.copy()
        turn(turned, rotor, angle)
        assert (np.abs(distances(turned) - distances(atoms)).max() < 1e-3) == same


def test_atoms_on_top_of_each_other_clash_and_conformers_do_not():
    atoms = molecule("CH3CH2OH")
    for rotor in rotors(atoms):
        for angle in range(0, 360, 15):
            turned = atoms.copy()
            turn(turned, rotor, angle)
            assert not clashing(turned, rotor), "eclipsed is 0.15 eV"
        closed = atoms.copy()
        other = next(k for k in range(9) if k not in (*rotor.side, rotor.fixed, rotor.moving))
        closed.positions[rotor.side[0]] = closed.positions[other] + 1.0 / np.sqrt(3)
        assert clashing(closed, rotor)
