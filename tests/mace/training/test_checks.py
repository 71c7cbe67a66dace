"""Wrong labels are found before the first step of a training."""

import numpy as np
import pytest
from ase.units import Bohr, Hartree
from scipy.spatial.transform import Rotation

from palirs import keys
from palirs.mace.training.checks import check_labels
from palirs.recipes import PalirsError


def changed(frames, energy=1.0, forces=1.0, dipole=1.0):
    """The same frames with labels times factors."""
    found = []
    for atoms in frames:
        copy = atoms.copy()
        copy.info |= {
            keys.ENERGY: atoms.info[keys.ENERGY] * energy,
            keys.DIPOLE: np.asarray(atoms.info[keys.DIPOLE]) * dipole,
        }
        copy.arrays[keys.FORCES] = atoms.arrays[keys.FORCES] * forces
        found.append(copy)
    return found


def test_good_labels_pass_also_when_the_molecules_turn(frames):
    turned = changed(frames)
    for atoms, rotation in zip(
        turned, Rotation.random(len(turned), rng=1).as_matrix(), strict=True
    ):
        atoms.positions = atoms.positions @ rotation.T + 7.0
        atoms.arrays[keys.FORCES] = atoms.arrays[keys.FORCES] @ rotation.T
    assert check_labels(frames) == []
    assert check_labels(turned) == []


@pytest.mark.parametrize(
    ("factors", "says"),
    [
        ({"energy": 1 / Hartree}, "energies in Hartree"),
        ({"energy": 23.06}, "energies in kcal/mol"),
        ({"forces": Bohr / Hartree}, "forces in Hartree/Bohr"),
        ({"forces": -1.0}, "gradients"),
        ({"forces": 1e4}, "convert REF_forces to eV/Å"),
        ({"dipole": 40.0}, "convert REF_dipole to e·Å"),
    ],
)
def test_wrong_units_are_recognised_by_their_size(frames, factors, says):
    with pytest.raises(PalirsError, match=says.replace("(", r"\(")):
        check_labels(changed(frames, **factors))


@pytest.mark.parametrize("key", [keys.ENERGY, keys.DIPOLE, keys.FORCES])
@pytest.mark.parametrize("spoil", ["missing", "nan", "shape"])
def test_missing_and_broken_labels_are_named(frames, key, spoil):
    bad = changed(frames)
    store = bad[7].arrays if key == keys.FORCES else bad[7].info
    if spoil == "missing":
        del store[key]
    elif spoil == "nan":
        store[key] = np.full_like(store[key], np.nan, dtype=float)
    else:
        store[key] = np.zeros((len(bad[7]), 2))
    with pytest.raises(PalirsError, match=rf"frame 7 \(methanol\).*{key}"):
        check_labels(bad)


def test_a_potential_needs_no_dipoles(frames):
    bad = changed(frames)
    for atoms in bad:
        del atoms.info[keys.DIPOLE]
    assert check_labels(bad, dipoles=False) == []


@pytest.mark.parametrize(("factor", "told"), [(1.0, False), (4.803, True)], ids=["e·Å", "Debye"])
def test_dipoles_that_may_be_in_debye_are_told(frames, factor, told):
    found = check_labels(changed(frames[:20], dipole=factor))
    assert (found != []) is told
    assert not told or "dipoles of methanol are" in found[0]


def test_outliers_are_listed_not_refused(frames, caplog):
    odd = changed(frames)
    odd[31].info[keys.ENERGY] += 40.0
    with caplog.at_level("WARNING"):
        found = check_labels(odd)
    assert len(found) == 1
    assert "frame 31 (formamide): energy" in found[0]
    assert found[0] in caplog.text


def test_structures_drawn_far_out_on_purpose_are_told_in_one_line(frames, caplog):
    odd = changed(frames)
    own = [atoms for atoms in odd if atoms.info[keys.MOLECULE] == "formamide"]
    for atoms in own[:5]:
        atoms.info[keys.ENERGY] += 40.0
        atoms.info[keys.ORIGIN] = "turned"
    with caplog.at_level("INFO"):
        assert len(check_labels(odd)) == 5
    (line,) = [record for record in caplog.records if "stand out" in record.message]
    assert line.levelname == "INFO"
    assert f"5 of {len(own)} structures of formamide" in line.message
