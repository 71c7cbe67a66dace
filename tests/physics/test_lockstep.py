import threading

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from palirs.engines import EngineFailure, Properties
from palirs.engines.tblite import TBLite
from palirs.vibrations import minimum, together


class Counted:
    """A source that says how many frames it was asked for at a time, and by whom."""

    def __init__(self, source=None):
        self.source, self.sizes, self.threads = source, [], set()

    def calculate(self, frames):
        self.sizes.append(len(frames))
        self.threads.add(threading.get_ident())
        return (
            self.source.calculate(frames)
            if self.source
            else [Properties(float(a.positions[0, 0]), np.zeros((1, 3))) for a in frames]
        )


def asks(*numbers):
    """Ask for one frame after the other, and return the answers."""
    return lambda source: [
        source.calculate([Atoms("H", [(number, 0, 0)])])[0].energy for number in numbers
    ]


def test_each_gets_its_own_answers_in_shared_batches():
    source = Counted()
    assert together([asks(1, 2, 3), asks(), asks(10), asks(20, 21)], source) == [
        [1, 2, 3],
        [],
        [10],
        [20, 21],
    ]
    assert source.sizes == [3, 2, 1]
    assert source.threads == {threading.get_ident()}, (
        "an engine or torch is asked from one thread only"
    )
    assert together([], source) == []


def test_molecules_relax_together_as_they_do_alone():
    molecules = [molecule(name) for name in ("H2O", "CH3OH", "NH3")]
    source = Counted(TBLite())
    found = together(
        [lambda source, atoms=atoms: minimum(atoms, source) for atoms in molecules], source
    )
    calls = []
    for atoms, known in zip(molecules, found, strict=True):
        alone_source = Counted(TBLite())
        alone = minimum(atoms, alone_source)
        calls.append(len(alone_source.sizes))
        np.testing.assert_array_equal(known.frequencies, alone.frequencies)
        np.testing.assert_array_equal(known.atoms.positions, alone.atoms.positions)
    assert len(source.sizes) == max(calls) < sum(calls), "as many rounds as the slowest needs"


def test_one_that_fails_does_not_hold_up_the_others():
    finished = []

    def fails(source):
        source.calculate([Atoms("H")])
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        together([fails, lambda source: finished.append(asks(1, 2)(source))], Counted())
    assert finished == [[1.0, 2.0]]


def test_an_error_of_the_source_is_told():
    class Broken:
        def calculate(self, frames):
            raise EngineFailure("no SCF")

    with pytest.raises(EngineFailure, match="no SCF"):
        together([asks(1), asks(2)], Broken())
