"""Geometry optimisation, harmonic frequencies, modes and infrared intensities.

The same code serves the reference engine and the committee: both are a *source*, which calculates
a list of structures. All displaced geometries of a molecule are passed at once, so a committee
evaluates them in one batch.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS

from palirs import keys
from palirs.engines import Properties
from palirs.geometry.electrons import Electrons, about_centre_of_mass
from palirs.molecules import keep_masses, on_grid
from palirs.recipes import PalirsError
from palirs.units import EV_PER_AMU_A2_FS2, KM_PER_MOL, SPEED_OF_LIGHT

log = logging.getLogger(__name__)

DISPLACEMENT = 0.002
"""Step of the finite differences [Å]: anharmonicity then shifts the torsion of methanol by 0.1 cm⁻¹
(0.8 at 0.005 Å, 3 at 0.01 Å, depending on the orientation of the molecule); the noise of forces
converged to 1e-6 eV/Å is smaller."""
LINEAR = 0.01
"""Smallest over largest radius of gyration below which a molecule is linear."""
SADDLE = 10.0
"""An imaginary frequency above this [cm⁻¹] makes a stationary point a saddle; free rotors have
smaller ones by the noise of the forces."""
DESCENT, DESCENTS = 0.15, 5
"""Displacement of the atom that moves most, down from a saddle point [Å], and the largest number of
such descents."""


class Source(Protocol):
    """Anything that calculates structures: an engine, a labeller, a committee."""

    def calculate(self, frames: Sequence[Atoms]) -> list[Properties]:
        """Return energy [eV], forces [eV/Å] and, if it has one, dipole [e·Å] of each frame."""
        ...


@dataclass(frozen=True)
class Harmonic:
    """Harmonic vibrations of one molecule at one geometry.

    Attributes
    ----------
    atoms : Atoms
        The geometry, a stationary point of the source.
    frequencies : numpy.ndarray
        Shape ``[modes]`` [cm⁻¹], ascending; imaginary ones are negative. Translations and rotations
        are projected out, so there are 3N − 6 of them, 3N − 5 for a linear molecule.
    modes : numpy.ndarray
        Shape ``[modes, atoms, 3]`` [amu^-1/2]: Cartesian displacement per unit of the mass-weighted
        normal coordinate.
    intensities : numpy.ndarray or None
        Shape ``[modes]`` [km/mol]; ``None`` where the source has no dipole.
    dipole_derivatives : numpy.ndarray or None
        Shape ``[modes, 3]`` [e·amu^-1/2], by the normal coordinates; likewise.
    """

    atoms: Atoms
    frequencies: np.ndarray
    modes: np.ndarray
    intensities: np.ndarray | None = None
    dipole_derivatives: np.ndarray | None = None


class SourceCalculator(Calculator):
    """ASE calculator around a source, for ASE's optimisers and tools."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "dipole"]

    def __init__(self, source: Source):
        super().__init__()
        self.source = source

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Calculate everything the source provides."""
        super().calculate(atoms, properties, system_changes)
        result = self.source.calculate([self.atoms])[0]
        self.results = {"energy": result.energy, "forces": result.forces}
        if result.dipole is not None:
            self.results["dipole"] = result.dipole


def optimise(atoms: Atoms, source: Source, fmax: float = 1e-3, max_steps: int = 500) -> Atoms:
    """Relax a molecule with BFGS until the largest atomic force is below ``fmax`` [eV/Å].

    Raises
    ------
    PalirsError
        If that takes more than ``max_steps`` steps.
    """
    relaxed = Atoms(
        atoms.numbers,
        positions=atoms.positions,
        info={
            keys.MOLECULE: atoms.info.get(keys.MOLECULE, str(atoms.symbols)),
            **Electrons.of(atoms).info,
        },
    )
    keep_masses(atoms, relaxed)
    relaxed.calc = SourceCalculator(source)
    if not BFGS(relaxed, logfile=None).run(fmax=fmax, steps=max_steps):
        raise PalirsError(
            f"molecule {relaxed.info[keys.MOLECULE]!r}: geometry not below {fmax} eV/Å after "
            f"{max_steps} steps; start from a better one"
        )
    relaxed.calc = None
    relaxed.info[keys.ORIGIN] = "optimum"
    return relaxed


def minimum(atoms: Atoms, source: Source) -> Harmonic:
    """Relax a molecule to a minimum, descending from saddle points, and analyse its vibrations.

    A start geometry of high symmetry (planar ammonia, eclipsed ethane) may relax to a saddle point,
    where symmetry leaves no force along the modes that would break it. The geometry is then
    displaced along the lowest mode, to the side of lower energy, and relaxed again. An imaginary
    frequency that remains after :data:`DESCENTS` descents, perhaps by noisy forces, is logged as a
    warning.
    """
    optimum = harmonic(on_grid(optimise(atoms, source)), source)
    name = optimum.atoms.info[keys.MOLECULE]
    for _ in range(DESCENTS):
        if optimum.frequencies[0] > -SADDLE:
            return optimum
        log.info(
            "%s: its start geometry relaxes to a saddle point (%.0fi cm⁻¹); going down from there",
            name,
            -optimum.frequencies[0],
        )
        step = optimum.modes[0] * (DESCENT / np.linalg.norm(optimum.modes[0], axis=1).max())
        sides = [optimum.atoms.copy(), optimum.atoms.copy()]
        for side, sign in zip(sides, (1, -1), strict=True):
            side.positions += sign * step
        energies = [properties.energy for properties in source.calculate(sides)]
        optimum = harmonic(on_grid(optimise(sides[int(np.argmin(energies))], source)), source)
    if optimum.frequencies[0] <= -SADDLE:
        log.warning(
            "%s: still a saddle point (%.0fi cm⁻¹) after %d descents",
            name,
            -optimum.frequencies[0],
            DESCENTS,
        )
    return optimum


def harmonic(
    atoms: Atoms, source: Source, displacement: float = DISPLACEMENT, modes: int | None = None
) -> Harmonic:
    """Analyse harmonic vibrations by central differences, two calculations for each vibration.

    Parameters
    ----------
    atoms : Atoms
        A stationary point of the source (see :func:`optimise`).
    source : Source
        Calculates forces and dipoles.
    displacement : float
        Step of the atom that moves most [Å].
    modes : int, optional
        Number of modes, see :func:`vibrational_space`.
    """
    hessian, dipole_gradient = finite_differences(atoms, source, displacement, modes)
    frequencies, vectors = normal_modes(atoms, hessian, modes)
    derivatives, intensities = None, None
    if dipole_gradient is not None:
        derivatives = vectors.reshape(len(vectors), -1) @ dipole_gradient
        intensities = infrared_intensities(vectors, dipole_gradient)
    return Harmonic(atoms.copy(), frequencies, vectors, intensities, derivatives)


def finite_differences(
    atoms: Atoms, source: Source, displacement: float = DISPLACEMENT, modes: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return Hessian ``[3N, 3N]`` [eV/Å²] and dipole gradient ``[3N, 3]`` [e].

    The geometry must be a stationary point; the gradient is ``None`` for a source without dipoles.
    The atoms are displaced along :func:`internal_directions` only: the Hessian of translation and
    rotation is zero; their part of the dipole gradient, which no mode needs, is set to zero too.
    """
    roots = np.repeat(np.sqrt(atoms.get_masses()), 3)
    directions = internal_directions(atoms, modes)
    steps = displacement / np.linalg.norm(
        (directions / roots[:, None]).T.reshape(-1, len(atoms), 3), axis=2
    ).max(axis=1)
    frames = []
    for direction, step in zip(directions.T, steps, strict=True):
        for sign in (1, -1):
            moved = Atoms(
                atoms.numbers,
                positions=atoms.positions,
                info={**atoms.info, keys.ORIGIN: "displacement"},
            )
            moved.positions += sign * step * (direction / roots).reshape(-1, 3)
            frames.append(moved)
    results = source.calculate(frames)
    forces = np.array([properties.forces.ravel() for properties in results])
    forces = forces.reshape(len(steps), 2, 3 * len(atoms))
    curvature = directions.T @ (-(forces[:, 0] - forces[:, 1]) / (2 * steps[:, None]) / roots).T
    back = directions * roots[:, None]
    gradient = None
    if all(properties.dipole is not None for properties in results):
        positions = np.array([moved.positions for moved in frames])
        about_mean = np.array([properties.dipole for properties in results])
        dipoles = about_centre_of_mass(atoms, positions, about_mean).reshape(len(steps), 2, 3)
        gradient = back @ ((dipoles[:, 0] - dipoles[:, 1]) / (2 * steps[:, None]))
    return back @ (0.5 * (curvature + curvature.T)) @ back.T, gradient


def internal_directions(atoms: Atoms, count: int | None = None) -> np.ndarray:
    """Return orthonormal mass-weighted directions of vibration, ``[3N, modes]``.

    A pivoted Gram-Schmidt process makes them of the motions of single atoms along single axes, the
    largest remainder first and the first of equal ones, so that another machine displaces the atoms
    in the same way and finds the existing labels.
    """
    space = vibrational_space(atoms, count)
    remainder, chosen = space @ space.T, []
    for _ in range(space.shape[1]):
        lengths = np.round(np.linalg.norm(remainder, axis=0), 6)
        column = remainder[:, int(lengths.argmax())]
        chosen.append(column / np.linalg.norm(column))
        remainder = remainder - np.outer(chosen[-1], chosen[-1] @ remainder)
    return np.array(chosen).T


def normal_modes(
    atoms: Atoms, hessian: np.ndarray, count: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Diagonalise the mass-weighted Hessian within the vibrational space.

    Parameters
    ----------
    atoms : Atoms
        The geometry; its masses [amu] are used.
    hessian : numpy.ndarray
        Shape ``[3N, 3N]`` [eV/Å²].
    count : int, optional
        Number of modes, see :func:`vibrational_space`.

    Returns
    -------
    frequencies : numpy.ndarray
        Shape ``[modes]`` [cm⁻¹], ascending, imaginary ones negative.
    modes : numpy.ndarray
        Shape ``[modes, N, 3]`` [amu^-1/2].
    """
    weights = np.repeat(atoms.get_masses() ** -0.5, 3)
    space = vibrational_space(atoms, count)
    reduced = space.T @ (hessian * np.outer(weights, weights)) @ space
    values, vectors = np.linalg.eigh(reduced)
    angular = np.sign(values) * np.sqrt(np.abs(values) / EV_PER_AMU_A2_FS2)  # rad/fs
    frequencies = angular / (2 * np.pi * SPEED_OF_LIGHT)
    modes = ((space @ vectors) * weights[:, None]).T.reshape(len(values), len(atoms), 3)
    return frequencies, modes


def vibrational_space(atoms: Atoms, count: int | None = None) -> np.ndarray:
    """Return an orthonormal basis of mass-weighted vibrational displacements, ``[3N, modes]``.

    Translations and rotations of the molecule are excluded.

    Parameters
    ----------
    atoms : Atoms
        The geometry.
    count : int, optional
        Number of modes, for instance that of the reference optimum for a geometry that another
        source has relaxed. By default :func:`count_modes`.
    """
    _, _, vectors = np.linalg.svd(_motions(atoms))
    return vectors[3 * len(atoms) - (count_modes(atoms) if count is None else count) :].T


def count_modes(atoms: Atoms) -> int:
    """Return 3N − 5 for a linear molecule, else 3N − 6.

    A molecule is linear if its smallest radius of gyration about an axis is below :data:`LINEAR`
    times the largest: linear molecules relaxed to 1 meV/Å have 1e-4 to 1e-3 of it, and HN3, bent by
    one hydrogen atom, has 0.09.
    """
    values = np.linalg.svd(_motions(atoms)[3:], compute_uv=False)
    return 3 * len(atoms) - 3 - int((values > LINEAR * values[0]).sum())


def _motions(atoms: Atoms) -> np.ndarray:
    """Return mass-weighted infinitesimal translations and rotations, ``[6, 3N]``.

    Rotations have the lengths of the radii of gyration [Å].
    """
    roots = np.sqrt(atoms.get_masses())[:, None]
    arms = atoms.positions - atoms.get_center_of_mass()
    axes = np.eye(3)
    motions = [np.broadcast_to(axis, arms.shape) * roots for axis in axes]
    motions += [np.cross(axis, arms) * roots for axis in axes]
    return np.array([motion.ravel() / np.linalg.norm(roots) for motion in motions])


def infrared_intensities(modes: np.ndarray, dipole_gradient: np.ndarray) -> np.ndarray:
    """Return the integrated absorption of each mode, N_A/(12 ε₀ c²) |∂μ/∂Q|² [km/mol].

    Wilson, Decius and Cross 1955, ch. 7.

    Parameters
    ----------
    modes : numpy.ndarray
        Shape ``[modes, N, 3]`` [amu^-1/2].
    dipole_gradient : numpy.ndarray
        Shape ``[3N, 3]`` [e].
    """
    derivative = modes.reshape(len(modes), -1) @ dipole_gradient
    return KM_PER_MOL * (derivative**2).sum(axis=1)
