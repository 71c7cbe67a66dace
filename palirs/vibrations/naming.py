"""Names of normal modes, by the stretches, bends and torsions they consist of."""

from dataclasses import dataclass

import numpy as np

from palirs.vibrations.analysis import Harmonic
from palirs.vibrations.coordinates import STIFFNESS, Coordinates, value

STEP = 0.005
"""Displacement of the atom that moves most along a mode [Å], for the change of internal
coordinates."""
ALONE, SECOND = 0.6, 0.25
"""A mode is named by one motion that has at least the first share of the energy; otherwise by two,
if the second motion has at least the second share."""


@dataclass(frozen=True)
class Character:
    """Composition of a normal mode.

    Attributes
    ----------
    shares : dict
        Share of the energy of each named motion, largest first; they sum to one.
    """

    shares: dict[str, float]

    def __str__(self) -> str:
        (first, share), *others = self.shares.items()
        if share < ALONE and others and others[0][1] >= SECOND:
            return f"{first} + {others[0][0]}"
        return first


def characters(vibrations: Harmonic) -> list[Character]:
    """Return the composition of each mode, by a potential energy distribution.

    The energy of a motion is Σ k (Σ c Δq)² over its combinations of internal coordinates, with the
    diagonal model force field of :data:`~palirs.vibrations.coordinates.STIFFNESS`, not that of the
    engine; a mode that two motions share about equally may be named by either.
    """
    atoms = vibrations.atoms
    motions = Coordinates(atoms).motions
    coordinates = sorted({q for motion in motions for part in motion.parts for _, q in part})
    compositions = []
    for mode in vibrations.modes:
        step = mode * (STEP / np.linalg.norm(mode, axis=1).max())
        forward, backward = atoms.positions + step, atoms.positions - step
        changes = {q: np.sqrt(STIFFNESS[q[0]]) * _change(q, forward, backward) for q in coordinates}
        energies = {
            motion.name: sum(
                float((sum(c * changes[q] for c, q in part) ** 2).sum()) for part in motion.parts
            )
            for motion in motions
        }
        total = sum(energies.values())
        shares = {"motion without bonds": 1.0}
        if total > 0:
            names = sorted(energies, key=lambda name: -energies[name])
            shares = {name: energies[name] / total for name in names}
        compositions.append(Character(shares))
    return compositions


def _change(coordinate: tuple, forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    change = value(coordinate, forward) - value(coordinate, backward)
    return (change + np.pi) % (2 * np.pi) - np.pi if coordinate[0] == "torsion" else change
