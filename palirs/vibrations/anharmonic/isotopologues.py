"""Quartic force fields of isotopologues, from that of a molecule and without a force.

The energy depends on the geometry only, but normal coordinates are those of one set of masses: a
displacement along a mode of other masses moves the centre of mass of the first ones and turns
their Eckart frame. So a geometry of the isotopologue is turned into the frame of the molecule,
which is a power series in the normal coordinates q' of the isotopologue,

    q_a = Σ A_ai q'_i + Σ B_aij q'_i q'_j + Σ C_aijk q'_i q'_j q'_k + …,

and put into the molecule's polynomial. The linear part alone transforms the Hessian exactly; B
brings the Hessian into the cubic constants, C and B bring Hessian and cubic constants into the
quartic ones. With all quartic constants of the molecule those of the isotopologue are exact.
"""

from dataclasses import replace
from functools import cached_property
from itertools import permutations

import numpy as np
from scipy.optimize import linear_sum_assignment

from palirs import keys
from palirs.recipes import PalirsError
from palirs.units import EV_PER_AMU_A2_FS2, SPEED_OF_LIGHT
from palirs.vibrations.analysis import Harmonic, count_modes, normal_modes
from palirs.vibrations.anharmonic.calculation import Anharmonic
from palirs.vibrations.anharmonic.force_field import SLOW, ForceField, unit_displacements
from palirs.vibrations.matching import overlap

LACKING = "constants of four different modes are missing: off by up to tens of cm⁻¹"
"""Said of each level of an isotopologue of a molecule without them: they become constants of two
equal modes."""


class Substitution:
    """Other masses for the atoms of a force field.

    Parameters
    ----------
    field : ForceField
        Of a molecule, with all its vibrations.
    masses : numpy.ndarray
        Of the isotopologue, ``[N]`` [amu].

    Raises
    ------
    PalirsError
        If a vibration is not in the field: a free rotor mixes with others when masses change.
    """

    def __init__(self, field: ForceField, masses: np.ndarray):
        self.field, count = field, len(field.wavenumbers)
        if missing := max(count_modes(field.atoms) - count, 0):
            raise PalirsError(
                f"molecule {field.atoms.info.get(keys.MOLECULE)!r}: its force field lacks "
                f"{missing} mode(s) below {SLOW:g} cm⁻¹, so its isotopologues need forces of their "
                "own: a study of the molecule with these masses"
            )
        self.atoms = field.atoms.copy()
        self.atoms.set_masses(masses)
        frequencies, modes = normal_modes(self.atoms, _hessian(field), count)
        self.vibrations = Harmonic(self.atoms, frequencies, modes)

    def apply(self, field: ForceField) -> ForceField:
        """Return a field of the molecule in the modes of the isotopologue.

        It may be another one than that of the substitution, with the same harmonic part.
        """
        first, second, third = self._coordinates
        omega, cubic, quartic = field.wavenumbers, field.cubic, field.quartic
        one = np.einsum("abc,bi,cj->aij", cubic, first, first, optimize=True)
        third_order = np.einsum("a,ai,ajk->ijk", omega, first, second, optimize=True)
        third_order += np.einsum("aij,ak->ijk", one, first) / 6
        fourth_order = np.einsum("a,ai,ajkl->ijkl", omega, first, third, optimize=True)
        fourth_order += np.einsum("a,aij,akl->ijkl", omega, second, second, optimize=True) / 2
        fourth_order += np.einsum("aij,akl->ijkl", one, second, optimize=True) / 2
        fourth_order += (
            np.einsum("abcd,ai,bj,ck,dl->ijkl", quartic, *[first] * 4, optimize=True) / 24
        )
        return ForceField(
            self.atoms,
            self.vibrations.frequencies,
            self.vibrations.modes,
            _derivatives(third_order),
            _derivatives(fourth_order),
        )

    @cached_property
    def _coordinates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A ``[a, i]``, B ``[a, i, j]`` and C ``[a, i, j, k]``, not symmetrised.

        With the minimum a, from the centre of mass, and a displacement d of the isotopologue
        Σ m R (a + d) aᵀ is symmetric: Eckart's conditions (Eckart 1935, doi:10.1103/PhysRev.47.552)
        for the rotation R = exp(G₁ + G₂ + …), in powers of d. The last G of each order turns the
        minimum only, which is orthogonal to all modes, and so is translation.
        """
        field, masses = self.field, self.field.atoms.get_masses()
        origin = field.atoms.positions - field.atoms.get_center_of_mass()
        units = unit_displacements(self.vibrations.frequencies)
        moved = units[:, None, None] * self.vibrations.modes
        whole = np.einsum("n,nx,ny->xy", masses, origin, origin)
        parts = np.einsum("n,inx,ny->ixy", masses, moved, origin)
        g1 = _generators(whole, parts, field.linear)
        square = np.einsum("ixy,jyz->ijxz", g1, g1) / 2
        turned = np.einsum("ixy,jyz->ijxz", g1, parts) + square @ whole
        g2 = _generators(whole, turned, field.linear)
        cube = np.einsum("ixy,jkyz->ijkxz", g1, g2 + square * (2 / 3))
        cube += np.einsum("ijxy,kyz->ijkxz", g2, g1)
        scales = masses[:, None] / unit_displacements(field.wavenumbers)[:, None, None]
        back = scales * field.modes
        on_moved = np.einsum("anx,iny->axiy", back, moved)
        on_origin = np.einsum("anx,ny->axy", back, origin)
        first = np.einsum("axix->ai", on_moved)
        second = np.einsum("ixy,axjy->aij", g1, on_moved, optimize=True)
        second += np.einsum("ijxy,axy->aij", square, on_origin, optimize=True)
        third = np.einsum("ijxy,axky->aijk", g2 + square, on_moved, optimize=True)
        third += np.einsum("ijkxy,axy->aijk", cube / 2, on_origin, optimize=True)
        return first, second, third


def _generators(whole: np.ndarray, parts: np.ndarray, linear: bool) -> np.ndarray:
    """Return antisymmetric G for which G · ``whole`` + ``parts`` is symmetric, ``[…, 3, 3]``.

    About the axis of a linear molecule nothing turns.
    """
    values, axes = np.linalg.eigh(whole)
    moments = values[:, None] + values
    wanted = ~np.eye(3, dtype=bool)
    if linear:
        wanted[0, 1] = wanted[1, 0] = False  # ascending: both are about zero
    odd = axes.T @ (parts.swapaxes(-1, -2) - parts) @ axes
    return axes @ np.divide(odd, moments, out=np.zeros_like(odd), where=wanted) @ axes.T


def _derivatives(coefficients: np.ndarray) -> np.ndarray:
    """Return the derivatives of Σ c_ij… q_i q_j …: the sum over all orders of the indices."""
    total = np.zeros_like(coefficients)
    for order in permutations(range(coefficients.ndim)):
        total += coefficients.transpose(order)
    return total


def _hessian(field: ForceField) -> np.ndarray:
    """Return the Hessian of a force field, ``[3N, 3N]`` [eV/Å²]."""
    angular = 2 * np.pi * SPEED_OF_LIGHT * field.wavenumbers  # rad/fs
    back = (field.modes * field.atoms.get_masses()[:, None]).reshape(len(angular), -1)
    return EV_PER_AMU_A2_FS2 * (back.T * angular**2) @ back


def isotopologue(result: Anharmonic, masses: np.ndarray, complete: bool = True) -> Anharmonic:
    """Return the levels of an isotopologue, from the force fields of a molecule.

    Parameters
    ----------
    result : Anharmonic
        Of the molecule, and of the members of a committee.
    masses : numpy.ndarray
        Of the isotopologue, ``[N]`` [amu], in the order of the molecule's atoms.
    complete : bool
        Whether the force fields have the constants of four different modes; without, that is said
        of each level.

    Raises
    ------
    PalirsError
        If the force field lacks a mode.
    """
    substitution = Substitution(result.force_field, masses)
    vibrations = substitution.vibrations
    fields = []
    for field in result.member_fields:
        other = Substitution(field, masses)
        _, order = linear_sum_assignment(-overlap(vibrations, other.vibrations))
        fields.append(other.apply(field).only(order.tolist()))
    levels = Anharmonic.of(
        vibrations,
        np.arange(len(vibrations.modes)),
        substitution.apply(result.force_field),
        substitution.apply(result.unextrapolated_field),
        fields,
        result.resonances,
    )
    return levels if complete else replace(levels, lacking=LACKING)


def like_parent(own: Anharmonic, parent: Anharmonic) -> list[tuple[int, float]]:
    """Return for each mode the place of the molecule's mode that it is like, and its share in it.

    The share is that of the squared displacement in the molecule's normal coordinates; each mode of
    the molecule is given once.
    """
    masses = parent.force_field.atoms.get_masses()
    parts = np.einsum("anx,n,inx->ai", parent.force_field.modes, masses, own.force_field.modes)
    shares = (parts**2 / (parts**2).sum(axis=0)).T
    _, places = linear_sum_assignment(-shares)
    return [(int(place), float(shares[mode, place])) for mode, place in enumerate(places)]
