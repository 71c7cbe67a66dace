"""A molecule that becomes another one is told; one that only bends, turns or stretches is not."""

import numpy as np
import pytest

from palirs.engines import TBLite
from palirs.geometry.rearrangement import changed_bonds, rearrangement
from palirs.geometry.smiles import conformers
from palirs.molecules import table
from palirs.vibrations import optimise


def test_a_zwitterion_that_relaxes_to_the_neutral_molecule_is_told():
    (given,) = conformers("[NH3+]CC(=O)[O-] zwitterion")
    said = rearrangement(given, optimise(given, TBLite()))
    assert "[NH3+]CC(=O)[O-] has become NCC(=O)O" in said
    assert "N0–H" in said and "broken" in said and "made" in said


def test_a_ring_that_opens_is_told():
    oxirane = table()["oxirane"]
    opened = oxirane.copy()
    carbons = [a.index for a in oxirane if a.symbol == "C"]
    (oxygen,) = [a.index for a in oxirane if a.symbol == "O"]
    opened.positions[oxygen] += 1.0 * (
        oxirane.positions[carbons[0]] - oxirane.positions[carbons[1]]
    )
    broken, made = changed_bonds(oxirane, opened)
    assert (min(oxygen, carbons[1]), max(oxygen, carbons[1])) in broken
    assert "broken" in rearrangement(oxirane, opened)
    assert changed_bonds(opened, oxirane) == (made, broken)


@pytest.mark.parametrize("name", list(table()))
def test_vibrating_and_turning_molecules_stay_what_they_are(name):
    given, rng = table()[name], np.random.default_rng(1)
    for _ in range(20):
        moved = given.copy()
        moved.positions += rng.normal(0, 0.05, moved.positions.shape)
        moved.rotate(rng.uniform(0, 360), rng.normal(size=3))
        assert rearrangement(given, moved) == ""
