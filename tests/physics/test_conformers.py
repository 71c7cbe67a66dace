"""Conformers and their populations: classical statistics."""

import numpy as np
import pytest
from ase.units import kB

from palirs.engines import TBLite
from palirs.geometry.smiles import conformers as embedded
from palirs.molecules import named
from palirs.vibrations import conformers as module
from palirs.vibrations import optimise
from palirs.vibrations.conformers import Conformer, conformers, populations


@pytest.fixture(scope="module")
def ethanol():
    return optimise(named("ethanol")[0], TBLite())


def test_the_optimum_comes_first_and_the_others_are_found(ethanol):
    trans, gauche = conformers(ethanol, TBLite())
    assert abs(trans.atoms.get_dihedral(0, 1, 2, 3) - 180) < 5
    assert abs(abs(gauche.atoms.get_dihedral(0, 1, 2, 3) - 180) - 120) < 10


def test_populations_do_not_depend_on_masses(ethanol, monkeypatch):
    """Classically how often a geometry is met is a matter of its energy alone.

    This follows from the product rule of Teller and Redlich.
    """
    monkeypatch.setattr(module, "SOFT", 1.0)
    heavy = ethanol.copy()
    heavy.set_masses(np.where(heavy.numbers == 1, 2.014, heavy.get_masses()))
    light, other = (populations(conformers(one, TBLite()), 300.0) for one in (ethanol, heavy))
    assert light == pytest.approx(other, rel=3e-3)
    assert light.max() < 0.99, "else this says nothing"


def test_gauche_butane_is_there_twice():
    """Two of three would be gauche, but for the shapes of the wells.

    It is hot enough for energies not to count.
    """
    butane = optimise(embedded("CCCC butane")[0], TBLite())
    anti, gauche = conformers(butane, TBLite())
    per_well = gauche.log_weight - anti.log_weight - np.log(2)
    assert abs(per_well) < 0.7
    assert populations([anti, gauche], 1e6)[1] == pytest.approx(
        2 * np.exp(per_well) / (1 + 2 * np.exp(per_well)), rel=1e-3
    )


def test_populations_are_those_of_boltzmann():
    two = [
        Conformer(named("ethanol")[0], 1.0, 3.0),
        Conformer(named("ethanol")[0], 1.0 + kB * 500 * np.log(4), 3.0),
    ]
    assert populations(two, 500.0) == pytest.approx([0.8, 0.2])
