"""Normal modes in words: which stretches, bends and torsions a mode consists of."""

from dataclasses import dataclass

import numpy as np

from palirs.vibrations.analysis import Harmonic
from palirs.vibrations.coordinates import STIFFNESS, Coordinates, value

STEP = 0.005
"""Displacement along a mode of the atom that moves most [Å], for the change of internal
coordinates."""
ALONE, SECOND = 0.6, 0.25
"""A mode is called by one motion if it has this share of the energy; otherwise by two, if the
second has at least that share."""


@dataclass(frozen=True)
class Character:
    """What a mode consists of.

    Attributes
    ----------
    shares : dict
        Share of the energy of each named motion, largest first; they sum to one.
    """

    shares: dict[str, float]

    def __str__(self) -> str:
        (first, share), *rest = self.shares.items()
        if share < ALONE and rest and rest[0][1] >= SECOND:
            return f"{first} + {rest[0][0]}"
        return first


def characters(known: Harmonic) -> list[Character]:
    """Return what each mode consists of, by the energy that a model force field gives to its motions.

    The energy of a motion is Σ k (Σ c Δq)² over its combinations of internal coordinates, with the
    force constants of :data:`~palirs.vibrations.coordinates.STIFFNESS`: a potential energy
    distribution with a diagonal model force field. It is not that of the engine; a mode that two
    motions share about equally may be called by either.

    Parameters
    ----------
    known : Harmonic
        Geometry and modes.
    """
    motions = Coordinates(known.atoms).motions
    wanted = sorted({what for motion in motions for part in motion.parts for _, what in part})
    found = []
    for mode in known.modes:
        step = mode * (STEP / np.linalg.norm(mode, axis=1).max())
        ahead, behind = known.atoms.positions + step, known.atoms.positions - step
        changes = {
            what: np.sqrt(STIFFNESS[what[0]]) * _change(what, ahead, behind) for what in wanted
        }
        energies = {
            motion.name: sum(
                float((sum(c * changes[what] for c, what in part) ** 2).sum())
                for part in motion.parts
            )
            for motion in motions
        }
        total = sum(energies.values())
        if total <= 0:  # of atoms that no bond holds
            found.append(Character({"motion without bonds": 1.0}))
            continue
        found.append(
            Character(
                {
                    name: energies[name] / total
                    for name in sorted(energies, key=lambda name: -energies[name])
                }
            )
        )
    return found


def _change(what: tuple, ahead: np.ndarray, behind: np.ndarray) -> np.ndarray:
    change = value(what, ahead) - value(what, behind)
    return (change + np.pi) % (2 * np.pi) - np.pi if what[0] == "torsion" else change
