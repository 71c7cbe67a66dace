"""Checks that every engine must pass: ``python run.py task=contract engine=…``.

Small errors of forces and dipoles would go unnoticed into the model. The tolerances allow for the
noise of a usable integration grid, but not for a wrong sign or unit or a missing term.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.units import Debye

from palirs import keys
from palirs.engines.base import Engine, EngineFailure, Properties

STEP = 1e-3
"""Step of the finite differences of the energy [Å]."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes
    ----------
    name : str
        What was checked.
    deviation, allowed : float
        Largest deviation and tolerance, in ``unit``.
    unit : str
        Of deviation and tolerance.
    advice : str
        Usual causes of a deviation.
    skipped : str
        Why the check does not apply; empty if it does.
    """

    name: str
    deviation: float
    allowed: float
    unit: str
    advice: str
    skipped: str = ""

    @property
    def passed(self) -> bool:
        """Whether the deviation is within the tolerance."""
        return bool(self.skipped) or self.deviation <= self.allowed

    def __str__(self) -> str:
        if self.skipped:
            return f"  –    {self.name}: not checked, {self.skipped}"
        mark = "ok  " if self.passed else "FAIL"
        text = (
            f"  {mark} {self.name}: {self.deviation:.1e} {self.unit} (allowed {self.allowed:.0e})"
        )
        return text if self.passed else f"{text}\n       {self.advice}"


def contract(engine: Engine, atoms: Atoms, seed: int = 0) -> Iterator[Finding]:
    """Check an engine on one molecule by about 30 calculations; yield each result at once.

    Parameters
    ----------
    engine : Engine
        To check.
    atoms : Atoms
        A molecule; it is distorted, so that symmetry hides no error.
    seed : int
        Of distortion and rotation.

    Raises
    ------
    EngineFailure
        If the engine cannot calculate the distorted molecule at all.
    """
    rng = np.random.default_rng(seed)
    bent = Atoms(
        atoms.numbers,
        positions=atoms.positions + rng.normal(0, 0.03, atoms.positions.shape),
        info=dict(atoms.info),
    )
    here = engine.calculate([bent])[0]
    yield _units(engine, here, atoms)
    yield _deviation(
        "force = −dE/dx, every second coordinate",
        *_derivatives(engine, bent, here),
        2e-3,
        "eV/Å",
        "wrong sign or unit of the forces, or missing terms (grid response, dispersion)",
    )
    yield _deviation(
        "forces sum to zero",
        abs(here.forces.sum(axis=0)).max(),
        0.0,
        2e-3,
        "eV/Å",
        "a coarse integration grid, or forces of another frame",
    )
    torque = np.cross(bent.positions - bent.positions.mean(axis=0), here.forces).sum(axis=0)
    yield _deviation(
        "forces exert no torque",
        abs(torque).max(),
        0.0,
        5e-3,
        "eV",
        "a coarse integration grid, or forces in another orientation",
    )
    yield from _moved(engine, bent, here, rng)
    yield from _history(engine, bent, here, rng)
    yield _failure(engine, atoms)


def _derivatives(engine: Engine, bent: Atoms, here: Properties) -> tuple[np.ndarray, np.ndarray]:
    """Return forces and −ΔE/Δx of every second coordinate, at most twelve."""
    coordinates = np.arange(0, 3 * len(bent), 2)[:12]
    frames = [
        _displaced(bent, coordinate, sign * STEP) for coordinate in coordinates for sign in (1, -1)
    ]
    energies = np.array([label.energy for label in engine.calculate(frames)]).reshape(-1, 2)
    return here.forces.ravel()[coordinates], -(energies[:, 0] - energies[:, 1]) / (2 * STEP)


def _units(engine: Engine, here: Properties, atoms: Atoms) -> Finding:
    name = f"dipole of {atoms.info.get(keys.MOLECULE, atoms.symbols)} in e·Å"
    if here.dipole is None:
        return Finding(name, 0, 0, "", "", "the engine declares no dipole")
    bound = abs(
        atoms.numbers @ (atoms.positions - atoms.positions.mean(axis=0))
    ).max() + 0.25 * len(atoms)
    size = float(np.linalg.norm(here.dipole))
    return Finding(
        f"{name} ({size / Debye:.2f} Debye) is below {bound:.1f} e·Å",
        size,
        bound,
        "e·Å",
        "Debye or atomic units instead of e·Å",
    )


def _moved(
    engine: Engine, bent: Atoms, here: Properties, rng: np.random.Generator
) -> Iterator[Finding]:
    shifted = bent.copy()
    shifted.translate(rng.uniform(-8, 8, 3))
    turned = bent.copy()
    rotation = _rotation(rng)
    turned.positions = (bent.positions - bent.positions.mean(axis=0)) @ rotation.T
    there, around = engine.calculate([shifted, turned])
    advice = "a grid or basis that is fixed in space; a finer grid (engine.grid) helps"
    yield _deviation("translation leaves the energy", there.energy, here.energy, 1e-4, "eV", advice)
    yield _deviation(
        "translation leaves the forces", there.forces, here.forces, 2e-3, "eV/Å", advice
    )
    yield _deviation("rotation leaves the energy", around.energy, here.energy, 1e-3, "eV", advice)
    yield _deviation(
        "forces turn with the molecule",
        around.forces,
        here.forces @ rotation.T,
        5e-3,
        "eV/Å",
        advice,
    )
    if here.dipole is None or there.dipole is None or around.dipole is None:
        yield Finding(
            "dipole turns with the molecule", 0, 0, "", "", "the engine declares no dipole"
        )
        return
    yield _deviation(
        "translation leaves the dipole",
        there.dipole,
        here.dipole,
        1e-3,
        "e·Å",
        "a charged molecule, or a dipole of part of it",
    )
    yield _deviation(
        "dipole turns with the molecule",
        around.dipole,
        here.dipole @ rotation.T,
        1e-3,
        "e·Å",
        advice,
    )
    yield _smooth(engine, bent, rng)


def _smooth(engine: Engine, bent: Atoms, rng: np.random.Generator) -> Finding:
    """Compare dipole gradients by two step lengths; intensities are their squares."""
    direction = rng.normal(size=bent.positions.shape)
    direction /= np.linalg.norm(direction)
    slopes = []
    for step in (2e-3, 1e-2):
        frames = [
            Atoms(bent.numbers, positions=bent.positions + sign * step * direction, info=bent.info)
            for sign in (1, -1)
        ]
        up, down = engine.calculate(frames)
        slopes.append((np.asarray(up.dipole) - np.asarray(down.dipole)) / (2 * step))
    return _deviation(
        "dipole gradient does not depend on the step",
        slopes[0],
        slopes[1],
        5e-3,
        "e",
        "dipoles printed with few digits, or a loosely converged density",
    )


def _history(
    engine: Engine, bent: Atoms, here: Properties, rng: np.random.Generator
) -> Iterator[Finding]:
    other = bent.copy()
    other.positions += rng.normal(0, 0.05, other.positions.shape)
    after = engine.calculate([other, bent])[1]
    advice = (
        "something is carried over from one frame to the next that should not be, or the SCF is "
        "loosely converged"
    )
    yield _deviation(
        "energy does not depend on the frame before", after.energy, here.energy, 1e-5, "eV", advice
    )
    yield _deviation(
        "forces do not depend on the frame before", after.forces, here.forces, 2e-4, "eV/Å", advice
    )


def _failure(engine: Engine, atoms: Atoms) -> Finding:
    """Check that two atoms at one position give :class:`EngineFailure` or a finite energy."""
    broken = atoms.copy()
    broken.positions[1] = broken.positions[0]
    name = "an impossible structure fails with a reason, and the engine goes on"
    try:
        engine.calculate([broken])
    except EngineFailure as failure:
        name = f"{name} ({str(failure)[:60]})"
    except Exception as error:
        return Finding(
            name,
            np.inf,
            0,
            "",
            f"raised {type(error).__name__}: {error}; calculator() or run() must raise "
            "EngineFailure",
        )
    again = engine.calculate([atoms])[0]
    return Finding(
        name, 0.0 if np.isfinite(again.energy) else np.inf, 0.0, "", "the engine does not recover"
    )


def _deviation(name: str, actual, expected, allowed: float, unit: str, advice: str) -> Finding:
    largest = float(np.abs(np.asarray(actual) - np.asarray(expected)).max())
    return Finding(name, largest, allowed, unit, advice)


def _displaced(atoms: Atoms, coordinate: int, step: float) -> Atoms:
    moved = atoms.copy()
    moved.positions[divmod(int(coordinate), 3)] += step
    return moved


def _rotation(rng: np.random.Generator) -> np.ndarray:
    """Return a random proper rotation (QR of a Gaussian matrix; Mezzadri 2007)."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q
