"""Directional derivatives as targets: what the displaced calculations of a Hessian know.

As frames of their own they would teach one geometry many times over. Their halved differences are
a column of the Hessian and a column of the atomic polar tensor, and a model learns those.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from palirs import keys

FRACTION = 0.02
"""Share of a thermal step by which a model displaces the atoms to either side: anharmonicity then
changes curvatures by 0.01 %, float32 the forces by 0.01 meV/Å (docs/results/derivatives.md)."""


@dataclass(frozen=True)
class Derivative:
    """Changes of forces and dipole, to first order, by one step of the atoms.

    Attributes
    ----------
    atoms : Atoms
        The geometry.
    step : numpy.ndarray
        Shape ``[N, 3]`` [Å].
    forces : numpy.ndarray
        Shape ``[N, 3]`` [eV/Å]: −H·step, of the Hessian H.
    dipole : numpy.ndarray or None
        Shape ``[3]`` [e·Å]: ∂μ/∂R·step.
    """

    atoms: Atoms
    step: np.ndarray
    forces: np.ndarray
    dipole: np.ndarray | None = None


def displaced(derivatives: Sequence[Derivative]) -> list[Atoms]:
    """Return the two displaced structures of each derivative, one after the other.

    The change of forces and dipole that the model shall have between them, over
    2·:data:`FRACTION`, is the label of the first; that of the second is zero.
    """
    frames = []
    for derivative in derivatives:
        for sign in (1, -1):
            moved = Atoms(
                derivative.atoms.numbers,
                positions=derivative.atoms.positions + sign * FRACTION * derivative.step,
            )
            label = float(sign > 0)
            moved.info[keys.ENERGY] = 0.0
            moved.arrays[keys.FORCES] = label * derivative.forces
            moved.info[keys.DIPOLE] = label * (
                np.zeros(3) if derivative.dipole is None else derivative.dipole
            )
            frames.append(moved)
    return frames


def weights(derivatives: Sequence[Derivative], frames: float) -> np.ndarray:
    """Return the weight of each derivative: all of one molecule together count like ``frames``."""
    names = [str(derivative.atoms.info.get(keys.MOLECULE)) for derivative in derivatives]
    return np.array([frames / names.count(name) for name in names])
