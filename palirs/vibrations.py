"""Geometry optimisation, harmonic frequencies, modes and infrared intensities, normal-mode sampling.

The same code serves the reference engine and the committee: both are a *source*, something that calculates a list of structures.
All displaced geometries of a molecule are handed over at once, so a committee evaluates them in one batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS

from palirs import keys
from palirs.engines import Properties
from palirs.recipes import PalirsError
from palirs.units import BOLTZMANN, CM1_PER_EV, EV_PER_AMU_A2_FS2, KM_PER_MOL, SPEED_OF_LIGHT

DISPLACEMENT = 0.002
"""Step of the finite differences [Å]: anharmonicity then shifts the torsion of methanol by 0.1 cm⁻¹ (0.8 at 0.005 Å, 3 at 0.01 Å, depending
on how the molecule is turned), and forces converged to 1e-6 eV/Å add less."""


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
        Shape ``[modes]`` [cm⁻¹], ascending; imaginary ones are negative. Translations and rotations are projected out, so there
        are 3N − 6 of them, 3N − 5 for a linear molecule.
    modes : numpy.ndarray
        Shape ``[modes, atoms, 3]`` [amu^-1/2]: Cartesian displacement per unit of the mass-weighted normal coordinate.
    intensities : numpy.ndarray or None
        Shape ``[modes]`` [km/mol]; ``None`` where the source has no dipole.
    """

    atoms: Atoms
    frequencies: np.ndarray
    modes: np.ndarray
    intensities: np.ndarray | None = None


class SourceCalculator(Calculator):
    """ASE calculator over a source, so that ASE's optimisers and tools can drive it."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "dipole"]

    def __init__(self, source: Source):
        super().__init__()
        self.source = source

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Calculate everything the source gives."""
        super().calculate(atoms, properties, system_changes)
        found = self.source.calculate([self.atoms])[0]
        self.results = {"energy": found.energy, "forces": found.forces}
        if found.dipole is not None:
            self.results["dipole"] = found.dipole


def optimise(atoms: Atoms, source: Source, fmax: float = 1e-3, max_steps: int = 500) -> Atoms:
    """Relax a molecule with BFGS until the largest atomic force is below ``fmax`` [eV/Å].

    Raises
    ------
    PalirsError
        If that takes more than ``max_steps`` steps.
    """
    relaxed = Atoms(atoms.numbers, positions=atoms.positions, info={keys.MOLECULE: atoms.info.get(keys.MOLECULE, str(atoms.symbols))})
    relaxed.calc = SourceCalculator(source)
    if not BFGS(relaxed, logfile=None).run(fmax=fmax, steps=max_steps):
        raise PalirsError(
            f"molecule {relaxed.info[keys.MOLECULE]!r}: geometry not below {fmax} eV/Å after {max_steps} steps; start from a better one"
        )
    relaxed.calc = None
    relaxed.info[keys.ORIGIN] = "optimum"
    return relaxed


def harmonic(atoms: Atoms, source: Source, displacement: float = DISPLACEMENT) -> Harmonic:
    """Harmonic analysis by central differences of forces and dipoles, 6N calculations.

    Parameters
    ----------
    atoms : Atoms
        A stationary point of the source (see :func:`optimise`).
    source : Source
        What calculates.
    displacement : float
        Step [Å].
    """
    hessian, dipole_gradient = finite_differences(atoms, source, displacement)
    frequencies, modes = normal_modes(atoms, hessian)
    intensities = None if dipole_gradient is None else infrared_intensities(modes, dipole_gradient)
    return Harmonic(atoms.copy(), frequencies, modes, intensities)


def finite_differences(atoms: Atoms, source: Source, displacement: float = DISPLACEMENT) -> tuple[np.ndarray, np.ndarray | None]:
    """Return Hessian ``[3N, 3N]`` [eV/Å²] and dipole gradient ``[3N, 3]`` [e] (``None`` without dipoles)."""
    frames = []
    for coordinate in range(3 * len(atoms)):
        for sign in (1, -1):
            moved = Atoms(atoms.numbers, positions=atoms.positions, info={**atoms.info, keys.ORIGIN: "displacement"})
            moved.positions[divmod(coordinate, 3)] += sign * displacement
            frames.append(moved)
    found = source.calculate(frames)
    forces = np.array([properties.forces.ravel() for properties in found]).reshape(-1, 2, 3 * len(atoms))
    hessian = -(forces[:, 0] - forces[:, 1]) / (2 * displacement)
    gradient = None
    if all(properties.dipole is not None for properties in found):
        dipoles = np.array([properties.dipole for properties in found]).reshape(-1, 2, 3)
        gradient = (dipoles[:, 0] - dipoles[:, 1]) / (2 * displacement)
    return 0.5 * (hessian + hessian.T), gradient


def normal_modes(atoms: Atoms, hessian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Diagonalise the mass-weighted Hessian in the space of vibrations.

    Parameters
    ----------
    atoms : Atoms
        The geometry; its masses [amu] are used.
    hessian : numpy.ndarray
        Shape ``[3N, 3N]`` [eV/Å²].

    Returns
    -------
    frequencies : numpy.ndarray
        Shape ``[modes]`` [cm⁻¹], ascending, imaginary ones negative.
    modes : numpy.ndarray
        Shape ``[modes, N, 3]`` [amu^-1/2].
    """
    weights = np.repeat(atoms.get_masses() ** -0.5, 3)
    space = vibrational_space(atoms)
    reduced = space.T @ (hessian * np.outer(weights, weights)) @ space
    values, vectors = np.linalg.eigh(reduced)
    angular = np.sign(values) * np.sqrt(np.abs(values) / EV_PER_AMU_A2_FS2)  # rad/fs
    frequencies = angular / (2 * np.pi * SPEED_OF_LIGHT)
    modes = ((space @ vectors) * weights[:, None]).T.reshape(len(values), len(atoms), 3)
    return frequencies, modes


def vibrational_space(atoms: Atoms) -> np.ndarray:
    """Orthonormal basis ``[3N, modes]`` of mass-weighted displacements that neither translate nor rotate the molecule.

    The rank of the six infinitesimal motions tells a linear molecule (5) from others (6).
    """
    roots = np.sqrt(atoms.get_masses())[:, None]
    arms = atoms.positions - atoms.get_center_of_mass()
    axes = np.eye(3)
    motions = [np.broadcast_to(axis, arms.shape) * roots for axis in axes]
    motions += [np.cross(axis, arms) * roots for axis in axes]
    matrix = np.array([motion.ravel() / np.linalg.norm(roots) for motion in motions])
    _, values, vectors = np.linalg.svd(matrix)
    rank = int((values > 1e-4 * values[0]).sum())
    return vectors[rank:].T


def infrared_intensities(modes: np.ndarray, dipole_gradient: np.ndarray) -> np.ndarray:
    """Integrated absorption of each mode, N_A/(12 ε₀ c²) |∂μ/∂Q|² [km/mol] (Wilson, Decius and Cross 1955, ch. 7).

    Parameters
    ----------
    modes : numpy.ndarray
        Shape ``[modes, N, 3]`` [amu^-1/2].
    dipole_gradient : numpy.ndarray
        Shape ``[3N, 3]`` [e].
    """
    derivative = modes.reshape(len(modes), -1) @ dipole_gradient
    return KM_PER_MOL * (derivative**2).sum(axis=1)


def sample_normal_modes(vibrations: Harmonic, temperature: float = 300.0, per_mode: int = 10, images: int = 30) -> list[Atoms]:
    """Geometries along every normal mode: the optimum, then the first ``per_mode`` images of ASE's mode animation.

    Image k lies at Q = sin(2πk/images)·sqrt(k_B T/ħω) in ASE's convention (Å where the mode is in amu^-1/2), as
    :meth:`ase.vibrations.VibrationsData.iter_animated_mode` does it. Image 0 is the optimum itself and is taken once.

    Parameters
    ----------
    vibrations : Harmonic
        Of the reference engine.
    temperature : float
        Sets the amplitude [K].
    per_mode : int
        Images per mode, counting the optimum.
    images : int
        Images in a full period.
    """
    frames = [vibrations.atoms.copy()]
    for frequency, mode in zip(vibrations.frequencies, vibrations.modes, strict=True):
        quantum = max(abs(frequency), 1.0) / CM1_PER_EV
        amplitude = np.sqrt(BOLTZMANN * temperature / quantum)
        for image in range(1, per_mode):
            moved = vibrations.atoms.copy()
            moved.positions += np.sin(2 * np.pi * image / images) * amplitude * mode
            moved.info[keys.ORIGIN] = "normal_mode"
            frames.append(moved)
    return frames
