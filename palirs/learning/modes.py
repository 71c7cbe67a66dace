"""The derivatives along normal modes that a study has paid for: learnt, but for a fifth of them.

The displaced calculations of a Hessian give the second derivatives of the energy and the first of
the dipole at the optimum. Along a normal mode these are the change of the forces, −ω²·m·step, and
the change of the dipole, ∂μ/∂Q·step. Modes that are held out tell the error of curvature and
polarity where derivatives have not been learnt (of this engine: a cheap one may have shown them).
"""

from collections.abc import Sequence

import numpy as np

from palirs import keys
from palirs.geometry.electrons import about_centre_of_mass
from palirs.mace.training.derivatives import Derivative
from palirs.randomness import stream
from palirs.sampling import spread
from palirs.units import EV_PER_AMU_A2_FS2, SPEED_OF_LIGHT
from palirs.vibrations import Harmonic

HELD_OUT = 0.2
"""Share of the modes of a molecule that is not learnt."""
TEMPERATURE = 300.0
"""A step along a mode is its quantum harmonic standard deviation at this temperature [K]."""
SOFT = 100.0
"""Modes below this [cm⁻¹] take the step of one there, and are never held out: the relative error of
a curvature near zero says nothing."""
ALIKE = 1.0
"""Modes whose frequencies are closer than this [cm⁻¹] are degenerate: learnt or held out
together."""


def mode_derivatives(reference: Harmonic) -> list[Derivative]:
    """Return the derivatives of forces and dipole along each mode, by a thermal step.

    Dipoles are about the mean of the positions, as those that models learn.
    """
    lengths = spread(np.maximum(np.abs(reference.frequencies), SOFT), TEMPERATURE)
    angular = 2 * np.pi * SPEED_OF_LIGHT * reference.frequencies  # rad/fs
    curvatures = np.sign(angular) * angular**2 * EV_PER_AMU_A2_FS2
    masses = reference.atoms.get_masses()[:, None]
    dipoles = reference.dipole_derivatives
    if dipoles is not None:  # the difference is the same for every dipole
        dipoles = dipoles - about_centre_of_mass(
            reference.atoms, reference.modes, np.zeros_like(dipoles)
        )
    return [
        Derivative(
            reference.atoms,
            length * mode,
            -curvature * masses * length * mode,
            None if dipoles is None else length * dipoles[number],
        )
        for number, (length, mode, curvature) in enumerate(
            zip(lengths, reference.modes, curvatures, strict=True)
        )
    ]


def held_out_modes(reference: Harmonic) -> list[int]:
    """Return the modes that are not learnt: about a fifth, at least one of three, the same always.

    Modes are drawn by their number. Sets of degenerate modes are drawn whole, so that no symmetry
    copy of a test is learnt; one that is larger than what is left to draw is learnt.
    """
    frequencies, chosen = reference.frequencies, list[int]()
    wanted = max(round(HELD_OUT * len(frequencies)), 1 if len(frequencies) > 2 else 0)
    rng = np.random.default_rng(stream(0, "held-out modes", reference.atoms.info[keys.MOLECULE]))
    for number in map(int, rng.permutation(len(frequencies))):
        alike = np.flatnonzero(np.abs(frequencies - frequencies[number]) < ALIKE).tolist()
        new = number not in chosen and frequencies[number] > SOFT
        if new and len(chosen) + len(alike) <= wanted:
            chosen += alike
    return sorted(chosen)


def learnt_derivatives(references: Sequence[Harmonic]) -> list[Derivative]:
    """Return the derivatives that models learn: along the modes that are not held out."""
    learnt = []
    for reference in references:
        held_out, derivatives = held_out_modes(reference), mode_derivatives(reference)
        learnt += [each for number, each in enumerate(derivatives) if number not in held_out]
    return learnt
