"""Internal rotation about a single bond: its relaxed path, potential and kinetic energy.

The angle θ is zero at the minimum and the mean change of all dihedrals about the bond. An exchange
of equal atoms leaves it as it is, so a methyl group has the same geometry again after a third of a
turn. Everything else is relaxed, and the zero-point energy of the other modes is a part of the
potential (vibrationally adiabatic, Miller, Handy and Adams 1980, doi:10.1063/1.438959).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms
from ase.optimize import BFGS
from scipy.linalg import block_diag, null_space
from scipy.spatial.transform import Rotation

from palirs import keys
from palirs.geometry.torsions import MeanTorsion, Rotor, rotors, turn
from palirs.molecules import keep_masses
from palirs.recipes import PalirsError
from palirs.units import CM1_PER_EV, EV_PER_AMU_A2_FS2, ROTATIONAL, SPEED_OF_LIGHT
from palirs.vibrations.analysis import (
    Harmonic,
    Source,
    SourceCalculator,
    finite_differences,
    vibrational_space,
)
from palirs.vibrations.lockstep import together

POINTS = 24
"""Geometries of a full turn; every second one has a zero-point energy."""
FOLDS = (6, 4, 3, 2)
"""Symmetries that are looked for."""
EQUAL, SHARE_EQUAL = 1.0, 0.01
"""Potentials are equal if they differ by less than this [cm⁻¹] or this share of the largest, and
kinetic energies if they differ by less than the share."""
SHARE = 0.8
"""Squared overlap with the rotation about one bond above which a mode is that rotation."""
FMAX, STEPS = 2e-3, 60
"""Largest force of a relaxed geometry [eV/Å], which leaves 0.1 cm⁻¹, and most steps to it."""
JUMP = 2.0
"""A step of this times the usual one is none along the path: other atoms change their place."""
STIFF, RIGID = 5.0, 1e3
"""Stiffness [eV/Å²] that the search assumes for translation and rotation, and for the torsion."""
SLOPE = np.array([3 / 4, -3 / 20, 1 / 60])
"""Central differences of sixth order."""


@dataclass(frozen=True)
class Path:
    """A full turn about a bond in K equal steps from the minimum.

    Attributes
    ----------
    bond : tuple of int
        Its atoms.
    fold : int
        How often a full turn repeats itself; made exact in what follows.
    constants : numpy.ndarray
        B of the kinetic energy p B(θ) p with p = −i d/dθ, ``[K]`` [cm⁻¹].
    potentials, zero_points : numpy.ndarray
        V and the zero-point energy of the other modes, both above those of the minimum: of the
        engine or the mean of a committee, then of each member at the same geometries,
        ``[1 + members, K]`` [cm⁻¹].
    """

    bond: tuple[int, int]
    fold: int
    constants: np.ndarray
    potentials: np.ndarray
    zero_points: np.ndarray


def rotations(vibrations: Harmonic) -> dict[int, Rotor]:
    """Return the modes that are the rotation about one single bond, by their number.

    The mode overlaps with the motion of the smaller side of the bond by :data:`SHARE`, both without
    translation and rotation of the molecule.
    """
    atoms, roots = vibrations.atoms, np.sqrt(vibrations.atoms.get_masses())[None, :, None]
    modes = (vibrations.modes * roots).reshape(len(vibrations.modes), -1)
    found = {}
    for rotor in rotors(atoms):
        tangent = np.zeros((len(atoms), 3))
        axis, side = _axis(atoms, rotor), list(rotor.side)
        tangent[side] = np.cross(axis, atoms.positions[side] - atoms.positions[rotor.moving])
        overlaps = modes @ (tangent * roots[0]).ravel()
        mode = int(np.argmax(np.abs(overlaps)))
        if overlaps[mode] ** 2 > SHARE * (overlaps**2).sum():
            found[mode] = rotor
    return found


def structures(modes: int, fold: int) -> int:
    """Return about how many structures the path of a rotor takes: relaxation and Hessians."""
    return 9 * POINTS + POINTS // fold // 2 * 2 * modes


def path(
    vibrations: Harmonic,
    rotor: Rotor,
    source: Source,
    members: Sequence[Source] = (),
    *,
    relaxed: bool = True,
) -> Path:
    """Follow the rotation about a bond for a full turn.

    All geometries are relaxed side by side, so that the source gets them in batches. Members are
    asked at the geometries of their mean.

    Parameters
    ----------
    vibrations : Harmonic
        At a minimum of ``source``.
    rotor : Rotor
        The bond.
    source, members : Source
        Of the geometries, and whose potentials besides.
    relaxed : bool
        Or only turned.

    Raises
    ------
    PalirsError
        If a geometry does not relax, or another group of atoms changes its place.
    """
    angles = 360.0 * np.arange(POINTS) / POINTS
    works = [partial(_turned, vibrations, rotor, angle, relaxed) for angle in angles]
    frames = together(works, source)
    tangents = _tangents(frames)
    constants = _constants(frames, tangents)
    energies = [[result.energy for result in each.calculate(frames)] for each in (source, *members)]
    potentials = CM1_PER_EV * (np.array(energies) - np.array(energies)[:, :1])
    fold = symmetry(potentials[0], constants)
    chosen = range(0, POINTS // fold, 2)
    works = [partial(_zero_point, frames[place], tangents[place]) for place in chosen]
    zero_points = np.array([together(works, each) for each in (source, *members)])
    every = interpolated(np.tile(zero_points, fold), POINTS)
    return Path(
        (rotor.fixed, rotor.moving),
        fold,
        _symmetric(constants, fold),
        _symmetric(potentials, fold),
        every - every[:, :1],
    )


def symmetry(potential: np.ndarray, constants: np.ndarray) -> int:
    """Return how often a full turn repeats itself, by V and B at its steps, ``[K]`` [cm⁻¹]."""
    near = max(EQUAL, SHARE_EQUAL * np.ptp(potential))
    limits = ((potential, near), (constants, SHARE_EQUAL * constants.min()))
    for fold in FOLDS:
        if all(np.ptp(v.reshape(fold, -1), axis=0).max() < limit for v, limit in limits):
            return fold
    return 1


def interpolated(values: np.ndarray, count: int) -> np.ndarray:
    """Return functions of an angle at more steps of a turn, ``[..., count]``, by Fourier series."""
    coefficients, half = fourier(values), values.shape[-1] // 2
    padded = np.zeros((*values.shape[:-1], count), dtype=complex)
    padded[..., np.arange(-half, half + 1)] = coefficients
    return (np.fft.ifft(padded) * count).real


def fourier(values: np.ndarray) -> np.ndarray:
    """Return coefficients of exp(ikθ) for k = −K/2 … K/2, ``[..., K + 1]``; K is even."""
    half = values.shape[-1] // 2
    coefficients = np.fft.fft(values) / values.shape[-1]
    coefficients[..., half] /= 2
    return coefficients[..., np.arange(-half, half + 1)]


def _symmetric(values: np.ndarray, fold: int) -> np.ndarray:
    """Return the mean over the parts of a turn, for each of them, ``[..., K]``."""
    parts = values.reshape(*values.shape[:-1], fold, -1)
    return np.broadcast_to(parts.mean(axis=-2, keepdims=True), parts.shape).reshape(values.shape)


def _turned(
    vibrations: Harmonic, rotor: Rotor, degrees: float, relaxed: bool, source: Any
) -> Atoms:
    """Return the geometry after a rotation, relaxed at the mean torsion it has got."""
    atoms = vibrations.atoms
    turned = Atoms(
        atoms.numbers,
        positions=atoms.positions,
        info={**atoms.info, keys.ORIGIN: "internal_rotation"},
    )
    keep_masses(atoms, turned)
    turn(turned, rotor, degrees)
    if not relaxed or degrees == 0.0:
        return turned
    torsion = MeanTorsion(atoms, rotor, degrees)
    turned.set_constraint(torsion)
    turned.calc = SourceCalculator(source)
    search = BFGS(turned, logfile=None)
    search.H0 = _turned_hessian(vibrations, rotor, degrees, torsion.direction(atoms).ravel())
    if not search.run(fmax=FMAX, steps=STEPS):
        name = atoms.info.get(keys.MOLECULE)
        raise PalirsError(f"molecule {name!r}: turned by {degrees:.0f}°, it does not relax")
    turned.calc = None
    turned.set_constraint()
    return turned


def _turned_hessian(
    vibrations: Harmonic, rotor: Rotor, degrees: float, torsion: np.ndarray
) -> np.ndarray:
    """Return the Hessian of the minimum with a side of the bond turned, ``[3N, 3N]`` [eV/Å²].

    Steps along the torsion, a direction ``[3N]``, are none.
    """
    atoms = vibrations.atoms
    weighted = (vibrations.modes * atoms.get_masses()[None, :, None]).reshape(
        len(vibrations.modes), -1
    )
    angular = 2 * np.pi * SPEED_OF_LIGHT * np.abs(vibrations.frequencies)
    hessian = np.einsum("m,mi,mj->ij", angular**2 * EV_PER_AMU_A2_FS2, weighted, weighted)
    values, vectors = np.linalg.eigh(hessian)
    hessian = (vectors * np.maximum(values, STIFF * (values < 1e-3))) @ vectors.T
    hessian += RIGID * np.outer(torsion, torsion)
    turning = Rotation.from_rotvec(np.radians(degrees) * _axis(atoms, rotor)).as_matrix()
    blocks = [turning if k in rotor.side else np.eye(3) for k in range(len(atoms))]
    whole = block_diag(*blocks)
    return whole @ hessian @ whole.T


def _axis(atoms: Atoms, rotor: Rotor) -> np.ndarray:
    axis = atoms.positions[rotor.moving] - atoms.positions[rotor.fixed]
    return axis / np.linalg.norm(axis)


def _tangents(frames: Sequence[Atoms]) -> np.ndarray:
    """Return dr/dθ at each geometry, in its own orientation, ``[K, N, 3]`` [Å].

    Its neighbours are turned to fulfil Eckart's conditions with it, so there is no angular momentum
    in the tangent.
    """
    masses, spacing = frames[0].get_masses(), 2 * np.pi / len(frames)
    positions = [_centred(atoms) for atoms in frames]
    tangents, steps = [], []
    for place, centre in enumerate(positions):
        around = {}
        for step in range(-len(SLOPE), len(SLOPE) + 1):
            near = positions[(place + step) % len(frames)]
            around[step] = near @ Rotation.align_vectors(centre, near, masses)[0].as_matrix().T
        differences = [around[step] - around[-step] for step in range(1, len(SLOPE) + 1)]
        tangents.append(np.tensordot(SLOPE, differences, axes=1) / spacing)
        steps.append(np.linalg.norm(around[1] - centre, axis=1).max())
    if max(steps) > JUMP * np.median(steps):
        name = frames[0].info.get(keys.MOLECULE)
        raise PalirsError(f"molecule {name!r}: other atoms change their place as a bond turns")
    return np.array(tangents)


def _constants(frames: Sequence[Atoms], tangents: np.ndarray) -> np.ndarray:
    """Return B = ħ²/2I of a path at vanishing angular momentum, ``[K]`` [cm⁻¹].

    I = Σ m t², as the tangents t have none: it is the inverse of the torsion's element of Wilson's
    G, the full metric of rotation and torsion inverted (Pitzer 1946, J. Chem. Phys. 14, 239).
    """
    return ROTATIONAL / np.einsum("a,kax->k", frames[0].get_masses(), tangents**2)


def _zero_point(atoms: Atoms, tangent: np.ndarray, source: Any) -> float:
    """Return the zero-point energy of the modes across a path [cm⁻¹]."""
    weights = np.repeat(atoms.get_masses() ** -0.5, 3)
    space = vibrational_space(atoms)
    along = space.T @ (tangent.ravel() / weights)
    across = space @ null_space(along[None])
    hessian, _ = finite_differences(atoms, source)
    values = np.linalg.eigvalsh(across.T @ (hessian * np.outer(weights, weights)) @ across)
    angular = np.sqrt(values.clip(0) / EV_PER_AMU_A2_FS2)
    return float(angular.sum() / (4 * np.pi * SPEED_OF_LIGHT))


def _centred(atoms: Atoms) -> np.ndarray:
    return atoms.positions - atoms.get_center_of_mass()
