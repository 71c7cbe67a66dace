"""An engine whose numbers are known in closed form, and that fails, hangs or dies on command."""

import os
import signal
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from palirs.engines.base import Engine
from palirs.recipes import recipe

FAIL, HANG, DIE = 60.0, 120.0, 180.0
"""The first coordinate of a structure that fails, hangs, or kills its worker [Å]."""


class PairSprings(Calculator):
    """A spring of 1 Å between every two atoms, and a charge on each that depends on its element.

    ``calls`` counts over all instances.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "dipole"]
    calls = 0

    def __init__(self, stiffness: float = 1.0, log: str | None = None, delay: float = 0.0):
        super().__init__()
        self.stiffness, self.log, self.delay = stiffness, log, delay

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        type(self).calls += 1
        if self.log:
            note(self.log, "begin", self.atoms)
        x = self.atoms.positions[0, 0]
        if x == FAIL:
            raise RuntimeError("SCF not converged")
        if x == HANG:
            time.sleep(60)
        if x == DIE:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.delay)
        arms = self.atoms.positions[:, None] - self.atoms.positions[None]
        lengths = np.linalg.norm(arms, axis=-1) + np.eye(len(arms))
        if (lengths < 0.01).any():
            raise RuntimeError("two atoms at one place")
        stretch = (lengths - 1) * (1 - np.eye(len(arms)))
        charges = 0.1 * (self.atoms.numbers - self.atoms.numbers.mean())
        self.results = {
            "energy": self.stiffness * 0.25 * (stretch**2).sum(),
            "forces": -self.stiffness * ((stretch / lengths)[..., None] * arms).sum(axis=1),
            "dipole": charges @ self.atoms.positions,
        }
        if self.log:
            note(self.log, "end", self.atoms)


def note(log: str, what: str, atoms: Atoms) -> None:
    """Append a line in one write; several processes do."""
    with open(log, "a") as stream:
        stream.write(f"{what} {atoms.positions[0, 0]:.8f} {os.getpid()}\n")


@recipe
class Toy(Engine):
    stiffness: float = 1.0
    log: str | None = None
    delay: float = 0.0

    @property
    def settings(self):
        return {"stiffness": self.stiffness}

    @property
    def elements(self):
        return frozenset(range(1, 10))

    def calculator(self):
        return PairSprings(self.stiffness, self.log, self.delay)


def frames(count: int, seed: int = 1) -> list[Atoms]:
    """Distorted methanols; the first coordinate is all different."""
    from ase.build import molecule

    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        atoms = molecule("CH3OH")
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
        atoms.info["molecule"] = "methanol"
        found.append(atoms)
    return found


def lines(log: Path, what: str) -> list[str]:
    """Return the structures that began or ended, in order."""
    return (
        [line.split()[1] for line in log.read_text().splitlines() if line.startswith(what)]
        if log.exists()
        else []
    )
