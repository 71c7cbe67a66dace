"""Rotatable bonds, and rotation about them."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import vdw_radii
from ase.geometry import get_dihedrals_derivatives

from palirs.geometry.bonds import bonded as bonds
from palirs.geometry.bonds import relative_distances

SINGLE = 0.94
"""Bonds shorter than this times the sum of the covalent radii are more than single, without
rotation at the temperatures of MD (C=C 0.88, amide C-N 0.93)."""
PARTIAL = 0.91
"""Down to this bonds are partly double (amide, acid and ester C-O): they have two rotamers."""
STRAIGHT = 170.0
"""Angles above this [degrees] are linear: a bond beside a triple bond has no torsion."""
CLASH = 0.65
"""Atoms of the two sides nearer than this times the sum of their van der Waals radii clash, at an
energy that MD does not reach (H-H 1.56 Å)."""
UNKNOWN_RADIUS = 2.0
"""Van der Waals radius of elements without a tabulated one [Å]."""


@dataclass(frozen=True)
class Rotor:
    """A rotatable bond and the atoms on its smaller side.

    Attributes
    ----------
    fixed, moving : int
        Atoms at its ends.
    side : tuple of int
        Atoms that rotate with ``moving``, without it.
    """

    fixed: int
    moving: int
    side: tuple[int, ...]


def rotors(atoms: Atoms, shortest: float = SINGLE) -> list[Rotor]:
    """Return the rotatable bonds: single, not in a ring, with bent neighbours at both ends.

    ``shortest`` is their least length over the sum of the covalent radii.
    """
    bonded = bonds(atoms)
    rotatable = []
    for i, j in np.argwhere(np.triu(bonded & (relative_distances(atoms) > shortest))).tolist():
        beyond_j, beyond_i = _side(bonded, j, i), _side(bonded, i, j)
        if j in beyond_i or not beyond_j or not beyond_i or _straight(atoms, bonded, i, j):
            continue  # in a ring, terminal, or linear
        if len(beyond_j) <= len(beyond_i):
            rotatable.append(Rotor(i, j, tuple(sorted(beyond_j))))
        else:
            rotatable.append(Rotor(j, i, tuple(sorted(beyond_i))))
    return rotatable


def turn(atoms: Atoms, rotor: Rotor, degrees: float) -> None:
    """Rotate the smaller side of a bond by an angle, in place."""
    start = atoms.positions[rotor.fixed]
    axis = atoms.positions[rotor.moving] - start
    part = atoms[list(rotor.side)]
    part.rotate(degrees, axis, center=start)
    atoms.positions[list(rotor.side)] = part.positions


def turns_to(atoms: Atoms, target: Atoms) -> list[tuple[Rotor, float]]:
    """Return the rotatable bonds and the angles [degrees] that give them the torsions of another.

    ``target`` is the same molecule with its atoms in the same order. Bonds that are partly double
    are among them.
    """
    bonded, result = bonds(atoms), []
    for rotor in rotors(atoms, PARTIAL):
        ends = [int(k) for k in np.flatnonzero(bonded[rotor.fixed]) if k != rotor.moving]
        others = [int(k) for k in np.flatnonzero(bonded[rotor.moving]) if k != rotor.fixed]
        torsion = (ends[0], rotor.fixed, rotor.moving, others[0])
        angle = target.get_dihedral(*torsion) - atoms.get_dihedral(*torsion)
        result.append((rotor, (angle + 180.0) % 360.0 - 180.0))
    return result


class MeanTorsion:
    """A constraint for ASE's optimisers: the dihedrals about a bond keep their mean change.

    Parameters
    ----------
    atoms : Atoms
        Where the change is zero.
    rotor : Rotor
        The bond.
    degrees : float
        The mean change that is kept [degrees].
    """

    def __init__(self, atoms: Atoms, rotor: Rotor, degrees: float):
        near = bonds(atoms)
        i, j = rotor.fixed, rotor.moving
        self.quartets = np.array(
            [
                (a, i, j, b)
                for a in np.flatnonzero(near[i])
                for b in np.flatnonzero(near[j])
                if a != j and b != i
            ]
        )
        self.rotor = rotor
        self.targets = atoms.get_dihedrals(self.quartets) + degrees

    def excess(self, atoms: Atoms) -> float:
        """Return the mean torsion above that which is kept [degrees]."""
        changes = atoms.get_dihedrals(self.quartets) - self.targets
        return float(((changes + 180.0) % 360.0 - 180.0).mean())

    def adjust_positions(self, atoms: Atoms, new: np.ndarray) -> None:
        """Turn the smaller side of the bond, in place of ASE's next positions ``[N, 3]`` [Å]."""
        moved = Atoms(atoms.numbers, positions=new)
        turn(moved, self.rotor, -self.excess(moved))
        new[:] = moved.positions

    def direction(self, atoms: Atoms) -> np.ndarray:
        """Return the normalised gradient of the mean torsion, ``[N, 3]``."""
        a, b, c, d = atoms.positions[self.quartets].swapaxes(0, 1)
        gradient = np.zeros((len(atoms), 3))
        np.add.at(gradient, self.quartets, get_dihedrals_derivatives(b - a, c - b, d - c))
        return gradient / np.linalg.norm(gradient)

    def adjust_forces(self, atoms: Atoms, forces: np.ndarray) -> None:
        """Remove the part of forces ``[N, 3]`` [eV/Å] that changes the mean torsion."""
        direction = self.direction(atoms)
        forces -= direction * (direction * forces).sum()


def clashing(atoms: Atoms, rotor: Rotor) -> bool:
    """Return whether atoms on the two sides of a bond overlap."""
    side = list(rotor.side)
    others = [k for k in range(len(atoms)) if k not in (*side, rotor.fixed, rotor.moving)]
    radii = np.nan_to_num(vdw_radii[atoms.numbers], nan=UNKNOWN_RADIUS)
    lengths = np.linalg.norm(
        atoms.positions[side][:, None] - atoms.positions[others][None], axis=-1
    )
    return bool((lengths < CLASH * (radii[side][:, None] + radii[others][None])).any())


def _side(bonded: np.ndarray, end: int, other: int) -> set[int]:
    """Return the atoms beyond one end of a bond; the other end is among them in a ring."""
    seen, waiting = set[int](), [int(k) for k in np.flatnonzero(bonded[end]) if k != other]
    while waiting:
        atom = waiting.pop()
        if atom not in seen and atom != end:
            seen.add(atom)
            waiting += np.flatnonzero(bonded[atom]).tolist()
    return seen


def _straight(atoms: Atoms, bonded: np.ndarray, i: int, j: int) -> bool:
    """Return whether all neighbours of one end lie in line with the bond."""
    ends = [(i, j), (j, i)]
    return any(
        all(atoms.get_angle(k, a, b) > STRAIGHT for k in np.flatnonzero(bonded[a]) if k != b)
        for a, b in ends
    )
