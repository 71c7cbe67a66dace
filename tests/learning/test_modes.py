"""Derivatives along normal modes: the engine's own differences, and which are held out."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import molecule

from palirs import keys
from palirs.engines.tblite import TBLite
from palirs.learning.modes import HELD_OUT, held_out_modes, learnt_derivatives, mode_derivatives
from palirs.learning.quality.modes import intensity_errors, wavenumber_errors
from palirs.mace.training.derivatives import FRACTION, displaced
from palirs.vibrations import minimum


def vibrations(name):
    atoms = molecule(name)
    atoms.info[keys.MOLECULE] = name
    return minimum(atoms, TBLite(accuracy=0.01))


@pytest.fixture(scope="module")
def methanol():
    return vibrations("CH3OH")


def test_derivatives_are_the_differences_of_forces_and_dipoles(methanol):
    derivatives = mode_derivatives(methanol)
    results = TBLite(accuracy=0.01).calculate(displaced(derivatives))
    for number, derivative in enumerate(derivatives):
        plus, minus = results[2 * number : 2 * number + 2]
        change = (plus.forces - minus.forces) / (2 * FRACTION)
        scale = np.abs(derivative.forces).max()
        np.testing.assert_allclose(derivative.forces, change, atol=0.01 * scale)
        change = (plus.dipole - minus.dipole) / (2 * FRACTION)
        np.testing.assert_allclose(derivative.dipole, change, atol=1e-3)


def test_one_mode_in_five_is_held_out_always_the_same(methanol):
    held_out = held_out_modes(methanol)
    assert held_out == held_out_modes(methanol)
    assert len(held_out) == round(HELD_OUT * 12)
    assert len(learnt_derivatives([methanol, methanol])) == 2 * (12 - len(held_out))


def test_degenerate_modes_are_held_out_or_learnt_together():
    for name in ("NH3", "CH4", "C2H2", "CO2"):
        reference = vibrations(name)
        held_out = held_out_modes(reference)
        assert len(held_out) <= max(1, round(HELD_OUT * len(reference.frequencies)))
        for number in held_out:
            near = np.abs(reference.frequencies - reference.frequencies[number]) < 0.5
            assert set(np.flatnonzero(near)) <= set(held_out), name


@pytest.mark.parametrize(("name", "count"), [("H2", 0), ("H2O", 1), ("C2H6", 4)])
def test_a_diatomic_is_learnt_and_three_modes_leave_one_out(name, count):
    reference = vibrations(name)
    held_out = held_out_modes(reference)
    assert len(held_out) <= count
    assert len(learnt_derivatives([reference])) == len(reference.frequencies) - len(held_out)
    assert len(held_out) > 0 or count == 0


def test_a_frequency_that_moves_a_little_does_not_change_which_modes_are_held_out(methanol):
    moved = replace(methanol, frequencies=methanol.frequencies + np.linspace(-0.4, 0.4, 12))
    assert held_out_modes(moved) == held_out_modes(methanol)


def errors(committee, dipole, reference):
    return wavenumber_errors(committee, [reference]) | intensity_errors(dipole, [reference])


class Engine:
    """The engine in the place of a committee and of a dipole model."""

    def __init__(self, method="GFN2-xTB"):
        self.engine = TBLite(method=method, accuracy=0.01)

    def double(self):
        return self

    def evaluate(self, frames):
        labels = self.engine.calculate(frames)
        forces = [np.array([label.forces]) for label in labels]
        return type("Predictions", (), {"forces": forces})


class Dipoles(Engine):
    def evaluate(self, frames):
        return np.array([[label.dipole for label in self.engine.calculate(frames)]])


def test_the_engine_itself_has_no_error_and_another_one_has(methanol):
    none = errors(Engine(), Dipoles(), methanol)
    assert none["harmonic.held_out_mae_cm1"] < 2.0, "cubic and quartic terms of the step"
    assert none["harmonic.held_out_curvature.CH3OH"] < 0.005
    assert none["harmonic.held_out_intensity"] < 0.02
    other = errors(Engine("GFN1-xTB"), Dipoles("GFN1-xTB"), methanol)
    assert other["harmonic.held_out_curvature"] > 0.01
    assert other["harmonic.held_out_mae_cm1"] > 5.0
    silent = replace(methanol, intensities=None, dipole_derivatives=None)
    assert intensity_errors(Dipoles(), [silent]) == {}
