"""Bonds about which a molecule turns, and turning it."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import vdw_radii

from palirs.geometry.bonds import bonded as bonds
from palirs.geometry.bonds import relative_distances

SINGLE = 0.94
"""Bonded atoms nearer than this times the sum of their covalent radii are bonded by more than a
single bond, about which nothing turns at the temperatures of MD (C=C 0.88, amide C-N 0.93)."""
STRAIGHT = 170.0
"""Degrees: a bond whose neighbour lies in line with it, as beside a triple bond, has no torsion."""

CLASH = 0.65
"""Atoms of two sides nearer than this times the sum of their van der Waals radii clash (H-H 1.56
Å): an energy that no MD will see."""
UNKNOWN_RADIUS = 2.0
"""Van der Waals radius of an element for which none is tabulated [Å]."""


@dataclass(frozen=True)
class Rotor:
    """A bond, and the atoms on its smaller side.

    Attributes
    ----------
    fixed, moving : int
        Its ends.
    side : tuple of int
        Atoms that turn with ``moving``, without it.
    """

    fixed: int
    moving: int
    side: tuple[int, ...]


def rotors(atoms: Atoms) -> list[Rotor]:
    """Return the single bonds that are in no ring and have other atoms at both ends, bent away from the bond."""
    bonded = bonds(atoms)
    found = []
    for i, j in np.argwhere(np.triu(bonded & (relative_distances(atoms) > SINGLE))).tolist():
        mine, theirs = _side(bonded, j, i), _side(bonded, i, j)
        if j in theirs or not mine or not theirs or _straight(atoms, bonded, i, j):
            continue  # a ring, an end, or a line
        found.append(
            Rotor(i, j, tuple(sorted(mine)))
            if len(mine) <= len(theirs)
            else Rotor(j, i, tuple(sorted(theirs)))
        )
    return found


def turn(atoms: Atoms, rotor: Rotor, degrees: float) -> None:
    """Turn the smaller side of a bond by an angle, in place."""
    start = atoms.positions[rotor.fixed]
    axis = atoms.positions[rotor.moving] - start
    part = atoms[list(rotor.side)]
    part.rotate(degrees, axis, center=start)
    atoms.positions[list(rotor.side)] = part.positions


def clashing(atoms: Atoms, rotor: Rotor) -> bool:
    """Tell whether the two sides of a bond have atoms on top of each other."""
    mine = list(rotor.side)
    others = [k for k in range(len(atoms)) if k not in (*mine, rotor.fixed, rotor.moving)]
    radii = np.nan_to_num(vdw_radii[atoms.numbers], nan=UNKNOWN_RADIUS)
    lengths = np.linalg.norm(
        atoms.positions[mine][:, None] - atoms.positions[others][None], axis=-1
    )
    return bool((lengths < CLASH * (radii[mine][:, None] + radii[others][None])).any())


def _side(bonded: np.ndarray, end: int, other: int) -> set[int]:
    """Return the atoms that hang on one end of a bond, not counting it; the other end is among them if the bond is in a ring."""
    seen, waiting = set[int](), [int(k) for k in np.flatnonzero(bonded[end]) if k != other]
    while waiting:
        atom = waiting.pop()
        if atom not in seen and atom != end:
            seen.add(atom)
            waiting += np.flatnonzero(bonded[atom]).tolist()
    return seen


def _straight(atoms: Atoms, bonded: np.ndarray, i: int, j: int) -> bool:
    """Tell whether all neighbours of one end lie in line with the bond."""
    ends = [(i, j), (j, i)]
    return any(
        all(atoms.get_angle(k, a, b) > STRAIGHT for k in np.flatnonzero(bonded[a]) if k != b)
        for a, b in ends
    )
