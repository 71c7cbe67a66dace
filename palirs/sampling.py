"""The first structures of a study: displacements from the optimum along normal modes."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice
from typing import Annotated, Literal, Protocol

import numpy as np
from ase import Atoms
from pydantic import Field

from palirs import keys
from palirs.geometry.distinct import distinct
from palirs.geometry.torsions import PARTIAL, clashing, rotors, turn, turns_to
from palirs.molecules import intact, on_grid
from palirs.recipes import Before, Count, Kelvin, PalirsError, Wavenumber, recipe
from palirs.units import BOLTZMANN, CM1_PER_EV, EV_PER_AMU_A2_FS2, SPEED_OF_LIGHT

log = logging.getLogger(__name__)

IMAGES = 30
"""Of a full period of ASE's mode animation."""
SAME = 20.0
"""A torsion that differs by less than this is that of the optimum [degrees]."""
DRAWS = 1000
"""Draws per sample after which a molecule that never stays whole is given up."""


class Vibrations(Protocol):
    """Optimum and normal modes of a molecule: see :class:`palirs.vibrations.Harmonic`."""

    @property
    def atoms(self) -> Atoms:
        """The optimum."""
        ...

    @property
    def frequencies(self) -> np.ndarray:
        """Shape ``[modes]`` [cm⁻¹]."""
        ...

    @property
    def modes(self) -> np.ndarray:
        """Shape ``[modes, atoms, 3]`` [amu^-1/2]."""
        ...


@recipe
class ModeImages:
    """The published samples: one mode at a time, at the first images of ASE's mode animation.

    Image k lies at Q = sin(2πk/30)·sqrt(k_B T/ħω) in ASE's convention (Å where the mode is in
    amu^-1/2), as :meth:`ase.vibrations.VibrationsData.iter_animated_mode` does it: 15 to 86 kT high
    in stiff modes, and on one side of the optimum only. Images that repeat (6 and 9, 7 and 8) are
    taken once. All images of a mode are one group.

    Parameters
    ----------
    temperature : float
        Sets the amplitude [K].
    per_mode : int
        Images of each mode, counting the optimum.
    """

    temperature: Kelvin = 300.0
    per_mode: Annotated[int, Field(ge=2, le=IMAGES)] = 10

    def sample(self, vibrations: Vibrations, rng: np.random.Generator) -> Iterator[Atoms]:
        """Yield the samples."""
        pairs = zip(vibrations.frequencies, vibrations.modes, strict=True)
        for number, (frequency, mode) in enumerate(pairs):
            quantum = max(abs(frequency), 1.0) / CM1_PER_EV
            amplitude = np.sqrt(BOLTZMANN * self.temperature / quantum)
            for image in range(1, self.per_mode):
                step = np.sin(2 * np.pi * image / IMAGES) * amplitude * mode
                yield _moved(vibrations, step, "normal_mode", f"mode {number}")

    def count(self, modes: int) -> int:
        """Return how many different samples there are of a molecule."""
        images = range(1, self.per_mode)
        return modes * len({round(np.sin(2 * np.pi * i / IMAGES), 9) for i in images} - {0.0})


@recipe
class ThermalSamples:
    """All modes at once, from the harmonic distribution of a temperature.

    Normal coordinates are independent and normal, of variance k_BT/ω² (classical, as MD will have
    it) or ħ/(2ω)·coth(ħω/2k_BT) (quantum, Wigner 1932, doi:10.1103/PhysRev.40.749: at least the
    zero-point energy in every mode). Frequencies below ``lowest`` are raised to it (Ribeiro et al.
    2011, doi:10.1021/jp205508z): a soft torsion moves far along a circle, not along its straight
    mode. A molecule that does not stay whole, or is turned onto itself, is drawn again.

    Parameters
    ----------
    distribution : {"classical", "quantum", "mixed"}
        Of the amplitudes; ``mixed``: classical and quantum in turn.
    temperatures : tuple of float
        Taken in turn [K].
    per_mode : int
        Samples per normal mode of a molecule.
    least : int
        Samples of a molecule, however few modes it has.
    lowest : float
        [cm⁻¹].
    turned : float
        Share of the samples that are also turned about every single bond, by any angle: barriers
        and other conformers, which MD visits and modes about one optimum do not. Without them all
        members extrapolate to a wall there, and agree.
    """

    distribution: Literal["classical", "quantum", "mixed"] = "mixed"
    temperatures: Annotated[tuple[Kelvin, ...], Field(min_length=1)] = (300.0, 500.0, 700.0)
    per_mode: Count = 2
    least: Count = 20
    lowest: Wavenumber = 100.0
    turned: Annotated[float, Field(ge=0, le=1)] = 0.5

    def sample(self, vibrations: Vibrations, rng: np.random.Generator) -> Iterator[Atoms]:
        """Yield the samples."""
        optimum = vibrations.atoms
        raised = np.maximum(np.abs(vibrations.frequencies), self.lowest)
        done, bonds = 0, rotors(optimum)
        for draw in count():
            if done == self.count(len(raised)):
                return
            if draw - done > DRAWS * (1 + done):
                raise PalirsError(
                    f"{optimum.info[keys.MOLECULE]}: thermal samples fall apart; lower "
                    "initial.thermal.temperatures"
                )
            kelvin, quantum = self._kind(done, bool(bonds))
            coordinates = rng.standard_normal(len(raised))
            widths = spread(raised, kelvin, quantum)
            step = np.einsum("m,m,mad->ad", coordinates, widths, vibrations.modes)
            moved = _moved(vibrations, step, "quantum" if quantum else "thermal", f"thermal {done}")
            moved.info[keys.TEMPERATURE] = kelvin
            turned = bool(bonds) and int((done + 1) * self.turned) > int(done * self.turned)
            if turned:
                moved.info[keys.ORIGIN] = "turned"
                for bond, angle in zip(bonds, rng.uniform(0, 360, len(bonds)), strict=True):
                    turn(moved, bond, angle)
            clash = turned and any(clashing(moved, bond) for bond in bonds)
            if intact(moved, optimum) and not clash:
                done += 1
                yield moved

    def _kind(self, number: int, turns: bool) -> tuple[float, bool]:
        """Return temperature and whether it is quantum, of the sample of this number.

        Every one is turned and left as it is, in turn, if the molecule turns; then distributions
        alternate, then temperatures.
        """
        number = number // 2 if turns and self.turned else number
        quantum = self.distribution == "quantum"
        if self.distribution == "mixed":
            number, quantum = number // 2, number % 2 == 1
        return self.temperatures[number % len(self.temperatures)], quantum

    def count(self, modes: int) -> int:
        """Return how many samples there are of a molecule."""
        return max(self.least, modes * self.per_mode)


@recipe
class InitialSamples:
    """What is labelled first, of each molecule: its optimum and these samples.

    Parameters
    ----------
    images : ModeImages or None
        One mode at a time, as published.
    thermal : ThermalSamples or None
        All modes at once.
    conformers : int
        Thermal samples with the torsions of each further conformer that RDKit knows, and of the
        optimum with one bond, single or partly double, turned by 180° (formic acid: RDKit knows one
        of the two). MD may get there, though its first frames do not. Without ``thermal`` there are
        none.
    """

    images: ModeImages | None = None
    thermal: ThermalSamples | None = None
    conformers: Annotated[int, Field(ge=0, le=1000), Before(0)] = 1

    def __post_init__(self):
        if self.images is None and self.thermal is None:
            raise ValueError(
                "images and thermal are both null; there has to be something to begin with"
            )

    def sample(self, vibrations: Vibrations, rng: np.random.Generator) -> list[Atoms]:
        """Return the optimum and the samples, no two of them the same to an engine."""
        samples = [vibrations.atoms.copy()]
        samples[0].info[keys.GROUP] = "optimum"
        for kind in (self.images, self.thermal):
            if kind is not None:
                samples += kind.sample(vibrations, rng)
        if self.conformers and self.thermal is not None:
            samples += _of_conformers(vibrations, self.thermal, self.conformers, rng)
        return distinct([on_grid(atoms) for atoms in samples])

    def count(self, modes: int) -> int:
        """Return how many structures that are at most, for a molecule of so many modes.

        Those of further conformers, which are not known yet, come on top.
        """
        kinds = (self.images, self.thermal)
        return 1 + sum(kind.count(modes) for kind in kinds if kind is not None)


def _of_conformers(
    vibrations: Vibrations, thermal: ThermalSamples, each: int, rng: np.random.Generator
) -> Iterator[Atoms]:
    """Yield thermal samples with the torsions of the other conformers."""
    # RDKit takes half a second to import, which --help does not wait for
    from palirs.geometry.embedding import conformers_like, differing

    optimum, geometries = vibrations.atoms, []
    try:
        geometries += [atoms for energy, atoms in conformers_like(optimum)]
    except ValueError as error:
        log.info("%s: its conformers are not sought: %s", optimum.info[keys.MOLECULE], error)
    for bond in rotors(optimum, PARTIAL):
        geometries.append(optimum.copy())
        turn(geometries[-1], bond, 180.0)
    plain = replace(thermal, turned=0.0, per_mode=1, least=each)
    for number, conformer in enumerate(differing([optimum, *geometries], lambda atoms: atoms)[1:]):
        turns = [(bond, angle) for bond, angle in turns_to(optimum, conformer) if abs(angle) > SAME]
        if not turns:
            continue
        for k, atoms in enumerate(islice(plain.sample(vibrations, rng), each)):
            for bond, angle in turns:
                turn(atoms, bond, angle)
            atoms.info |= {keys.ORIGIN: "turned", keys.GROUP: f"conformer {number} {k}"}
            if intact(atoms, optimum) and not any(clashing(atoms, bond) for bond, _ in turns):
                yield atoms


def spread(frequencies: np.ndarray, temperature: float, quantum: bool = True) -> np.ndarray:
    """Return the standard deviation of harmonic normal coordinates [Å·amu^1/2].

    Parameters
    ----------
    frequencies : numpy.ndarray
        [cm⁻¹], positive.
    temperature : float
        [K].
    quantum : bool
        Or classical.
    """
    angular = 2 * np.pi * SPEED_OF_LIGHT * frequencies  # rad/fs
    step, classical = frequencies / CM1_PER_EV, BOLTZMANN * temperature  # ħω and k_BT, eV
    # mean total energy, twice the potential one
    energy = 0.5 * step / np.tanh(step / (2 * classical)) if quantum else classical
    return np.sqrt(energy / EV_PER_AMU_A2_FS2) / angular


def _moved(vibrations: Vibrations, step: np.ndarray, origin: str, group: str) -> Atoms:
    moved = vibrations.atoms.copy()
    moved.positions += step
    moved.info |= {keys.ORIGIN: origin, keys.GROUP: group}
    return moved
