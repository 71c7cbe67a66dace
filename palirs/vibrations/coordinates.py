"""Internal coordinates of a molecule, as named motions: stretches, scissors, rocks, wags, torsions.

Each :class:`NamedMotion` is a name and combinations of internal coordinates (bond lengths, angles,
torsions, heights above a plane), those of one name orthogonal to each other: the three C–H lengths
of a methyl group make one symmetric and two antisymmetric stretches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.units import Bohr
from scipy.linalg import helmert

from palirs.geometry.bonds import bonded

STRAIGHT = 170.0
"""Angles above this [degrees] are linear."""
STIFFNESS = {
    "length": 0.45 / Bohr**2,
    "angle": 0.15,
    "linear": 0.15,
    "height": 0.05,
    "torsion": 0.005,
}
"""Model force constants [Hartree/Å² or Hartree/rad²] of Lindh et al. 1995,
doi:10.1016/0009-2614(95)00646-L, and our own estimate for the height of an atom above the plane of
its neighbours (in units of its distance to them), which is not among theirs."""
RADII = {
    "H": (0.32, 0.0, 0.0),
    "B": (0.85, 0.78, 0.73),
    "C": (0.75, 0.67, 0.60),
    "N": (0.71, 0.60, 0.54),
    "O": (0.63, 0.57, 0.0),
    "F": (0.64, 0.59, 0.53),
    "Si": (1.16, 1.07, 1.02),
    "P": (1.11, 1.02, 0.94),
    "S": (1.03, 0.94, 0.95),
    "Cl": (0.99, 0.95, 0.93),
}
"""Covalent radii of single, double and triple bonds [Å] (Pyykkö and Atsumi 2009,
doi:10.1002/chem.200800987, doi:10.1002/chem.200901472); without triple bonds to oxygen, which
carbon dioxide would have where an approximate engine makes its bonds short."""

Kind = Literal["length", "angle", "linear", "height", "torsion"]


@dataclass
class NamedMotion:
    """A named motion, such as a rock of a methyl group.

    Attributes
    ----------
    name : str
        For example ``CH₃ rock``.
    parts : list of (list of (float, tuple))
        Combinations of coordinates: the coefficient of each, and its kind followed by its atoms.
    """

    name: str
    parts: list[list[tuple[float, tuple]]] = field(default_factory=list)


class Coordinates:
    """The internal coordinates of a molecule, grouped into motions.

    Parameters
    ----------
    atoms : Atoms
        At its optimum.
    """

    def __init__(self, atoms: Atoms):
        self.atoms = atoms
        self.symbols = atoms.get_chemical_symbols()
        near = bonded(atoms)
        self.neighbours = [np.flatnonzero(row).tolist() for row in near]
        self._motions: dict[str, NamedMotion] = {}
        for i, j in np.argwhere(np.triu(near)).tolist():
            self._torsion(i, j)
        for centre in range(len(atoms)):
            self._around(centre)

    @property
    def motions(self) -> list[NamedMotion]:
        """All motions."""
        return list(self._motions.values())

    def _add(self, name: str, *terms: tuple[float, tuple]) -> None:
        """Add a normalised combination to the motion of this name."""
        length = np.sqrt(sum(factor**2 for factor, _ in terms))
        self._motions.setdefault(name, NamedMotion(name)).parts.append(
            [(factor / length, coordinate) for factor, coordinate in terms]
        )

    def _add_symmetric(self, name: str, coordinates: Sequence[tuple], other: str) -> None:
        """Add the in-phase combination of equal coordinates, and the others under another name."""
        self._add(name, *((1.0, coordinate) for coordinate in coordinates))
        for row in helmert(len(coordinates)) if len(coordinates) > 1 else ():
            self._add(other, *zip(row, coordinates, strict=True))

    def order(self, i: int, j: int) -> str:
        """Return the symbol of a bond, ``–``, ``=`` or ``≡``, by its length."""
        length = self.atoms.get_distance(i, j)
        radii = [RADII.get(self.symbols[k], (0.0, 0.0, 0.0)) for k in (i, j)]
        single, double, triple = (sum(pair) for pair in zip(*radii, strict=True))
        if "H" in (self.symbols[i], self.symbols[j]) or length > double + 0.35 * (single - double):
            return "–"  # an amide's C–N, 1.36 Å, is drawn as a single bond
        return "=" if length > triple + 0.2 * (double - triple) else "≡"

    def bond(self, i: int, j: int) -> str:
        """Return the name of a bond, hydrogen last, carbon first."""
        i, j = sorted((i, j), key=lambda k: (self.symbols[k] == "H", self.symbols[k]))
        return f"{self.symbols[i]}{self.order(i, j)}{self.symbols[j]}"

    def _bend(self, i: int, centre: int, j: int) -> str:
        i, j = sorted(
            (i, j), key=lambda k: (self.symbols[k] == "H", self.symbols[k], self.order(k, centre))
        )
        first, second = self.order(i, centre), self.order(centre, j)
        return f"{self.symbols[i]}{first}{self.symbols[centre]}{second}{self.symbols[j]} bend"

    def terminals(self, centre: int) -> list[int]:
        """Return the equal terminal atoms that form a group with a centre.

        They are its hydrogen atoms, or else two or more atoms of another element.
        """
        ends = [k for k in self.neighbours[centre] if len(self.neighbours[k]) == 1]
        for symbol in ("H", *chemical_symbols[2:]):
            equal = [k for k in ends if self.symbols[k] == symbol]
            if len(equal) >= (1 if symbol == "H" else 2) and self.symbols[centre] != "H":
                return equal
        return []

    def group(self, centre: int) -> str:
        """Return the name of a centre with its :meth:`terminals`: ``CH₃``, ``O–H``, ``NO₂``."""
        ends = self.terminals(centre)
        if not ends:
            return self.symbols[centre]
        if len(ends) == 1:
            return self.bond(centre, ends[0])
        return f"{self.symbols[centre]}{self.symbols[ends[0]]}{'₀₁₂₃₄₅₆₇₈₉'[len(ends)]}"

    def _around(self, centre: int) -> None:
        ends = self.terminals(centre)
        others = [k for k in self.neighbours[centre] if k not in ends]
        if ends:
            name = self.group(centre) if others else self.bond(centre, ends[0])
            lengths = [("length", centre, k) for k in ends]
            stretch = f"{name} symmetric stretch" if len(ends) > 1 else f"{name} stretch"
            self._add_symmetric(stretch, lengths, f"{name} antisymmetric stretch")
        for k in others:
            if centre < k and centre not in self.terminals(k):
                self._add(f"{self.bond(centre, k)} stretch", (1.0, ("length", centre, k)))
        bends = {2: self._bends_of_two, 3: self._bends_of_three, 4: self._bends_of_four}
        if len(self.neighbours[centre]) > 1:
            bends.get(len(self.neighbours[centre]), self._bends_of_any)(centre, ends, others)

    def _angle(self, i: int, centre: int, j: int) -> tuple:
        kind = "linear" if self.atoms.get_angle(i, centre, j) > STRAIGHT else "angle"
        return kind, i, centre, j

    def _bends_of_two(self, centre: int, ends: list[int], others: list[int]) -> None:
        i, j = self.neighbours[centre]
        angle = self._angle(i, centre, j)
        of_group = angle[0] == "linear" and len(ends) == 1
        name = f"{self.group(centre)} bend" if of_group else self._bend(i, centre, j)
        self._add(name, (1.0, angle))

    def _bends_of_three(self, centre: int, ends: list[int], others: list[int]) -> None:
        name, height = self.group(centre), ("height", centre, *self.neighbours[centre])
        if len(ends) in (0, 3):
            if not ends:
                outer = [k for k in others if len(self.neighbours[k]) == 1] or others
                self._add(f"{self.bond(centre, outer[0])} out-of-plane bend", (1.0, height))
            self._bends_of_any(centre, ends, others)
            return
        # of the three angles: the one opposite to the odd atom minus the other two, the difference
        # of these, and the sum of all
        odd, (i, j) = (others[0], ends) if len(ends) == 2 else (ends[0], others)
        opposite = self._angle(i, centre, j)
        left, right = self._angle(i, centre, odd), self._angle(j, centre, odd)
        scissor, rock, wag = f"{name} scissor", f"{name} rock", f"{name} wag"
        if len(ends) == 1:
            scissor = self._bend(i, centre, j)
            rock, wag = f"{name} in-plane bend", f"{name} out-of-plane bend"
        self._add(scissor, (2.0, opposite), (-1.0, left), (-1.0, right))
        self._add(rock, (1.0, left), (-1.0, right))
        self._add(wag, (1.0, opposite), (1.0, left), (1.0, right))
        self._add(wag, (1.0, height))

    def _bends_of_four(self, centre: int, ends: list[int], others: list[int]) -> None:
        if len(ends) != 2:
            self._bends_of_any(centre, ends, others)
            return
        name = self.group(centre)
        signs = {
            "scissor": (1.0, 1.0, 1.0, 1.0),
            "wag": (1.0, 1.0, -1.0, -1.0),
            "rock": (1.0, -1.0, 1.0, -1.0),
            "twist": (1.0, -1.0, -1.0, 1.0),
        }
        a, b = others
        self._add(f"{name} scissor", (1.0, self._angle(ends[0], centre, ends[1])))
        self._add(self._bend(a, centre, b), (1.0, self._angle(a, centre, b)))
        angles = [self._angle(k, centre, other) for other in others for k in ends]
        for word, row in signs.items():
            self._add(f"{name} {word}", *zip(row, angles, strict=True))

    def _bends_of_any(self, centre: int, ends: list[int], others: list[int]) -> None:
        name = self.group(centre)
        symmetric = f"{name} symmetric deformation"
        inner = [self._angle(i, centre, j) for i, j in combinations(ends, 2)]
        if inner:
            self._add_symmetric(symmetric, inner, f"{name} antisymmetric deformation")
        for other in others if ends else ():
            outer = [self._angle(k, centre, other) for k in ends]
            if len(ends) == 1:
                self._add(f"{name} bend", (1.0, outer[0]))
            else:
                self._add_symmetric(symmetric, outer, f"{name} rock")
        for i, j in combinations(others, 2):
            self._add(self._bend(i, centre, j), (1.0, self._angle(i, centre, j)))

    def _torsion(self, i: int, j: int) -> None:
        """Add the torsion about a bond, the mean of its dihedrals, named by its lighter side."""
        quartets = [
            ("torsion", a, i, j, b)
            for a in self.neighbours[i]
            for b in self.neighbours[j]
            if len({a, b, i, j}) == 4
            and self.atoms.get_angle(a, i, j) < STRAIGHT
            and self.atoms.get_angle(i, j, b) < STRAIGHT
        ]
        if not quartets:
            return
        masses = self.atoms.get_masses()
        weights = {
            end: sum(masses[k] for k in self.neighbours[end] if k != other)
            for end, other in ((i, j), (j, i))
        }
        light = min(weights, key=lambda end: weights[end])
        ends = self.terminals(light)
        is_group = ends and len(ends) == len(self.neighbours[light]) - 1
        name = f"{self.group(light)} torsion" if is_group else f"{self.bond(i, j)} torsion"
        self._add(name, *((1.0, quartet) for quartet in quartets))


def value(coordinate: tuple, x: np.ndarray) -> np.ndarray:
    """Return an internal coordinate at positions ``[N, 3]`` [Å], ``[1]`` [Å] or [rad].

    A linear angle has a vector, ``[3]`` [rad].
    """
    kind, *atoms = coordinate
    return _VALUES[kind](*(x[k] for k in atoms))


def _length(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.array([np.linalg.norm(a - b)])


def _angle(a: np.ndarray, centre: np.ndarray, b: np.ndarray) -> np.ndarray:
    u, v = a - centre, b - centre
    return np.array([np.arctan2(np.linalg.norm(np.cross(u, v)), u @ v)])


def _linear(a: np.ndarray, centre: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the sum of the unit vectors to both ends, perpendicular to the line to first order."""
    return sum(((end - centre) / np.linalg.norm(end - centre) for end in (a, b)), start=np.zeros(3))


def _height(centre: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    normal = np.cross(b - a, c - a)
    mean = np.mean([np.linalg.norm(end - centre) for end in (a, b, c)])
    return np.array([(centre - a) @ normal / np.linalg.norm(normal) / mean])


def _torsion(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    axis = (c - b) / np.linalg.norm(c - b)
    u, v = (arm - (arm @ axis) * axis for arm in (a - b, d - c))
    return np.array([np.arctan2(np.cross(axis, u) @ v, u @ v)])


_VALUES: dict[str, Callable[..., np.ndarray]] = {
    "length": _length,
    "angle": _angle,
    "linear": _linear,
    "height": _height,
    "torsion": _torsion,
}
