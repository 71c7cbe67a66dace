"""Perturbation theory beside SPECTRO's, for force fields that are published as files.

    python -m tests.benchmarks.spectro <clone of github.com/ntBre/spectro>/spectro/testfiles

Each folder holds second to fourth derivatives of the energy by Cartesian coordinates (fort.15,
fort.30, fort.40; hartree/bohrⁿ) and SPECTRO's results (summary.json). Only the theory is compared:
there is no electronic structure and no finite difference. Fundamentals are those with resonances,
each program by its own tests; NH3's field is not symmetric in its degenerate modes and left out."""

import json
import sys
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree

from palirs.units import CM1_PER_EV
from palirs.vibrations.analysis import normal_modes
from palirs.vibrations.anharmonic.force_field import ForceField, unit_displacements
from palirs.vibrations.anharmonic.levels import solve

MASSES = {1: 1.00782503223, 6: 12.0, 7: 14.0030740, 8: 15.99491461956}
"""Of the isotopes [amu]."""
MOLECULES = ("h2o", "h2co", "hcn", "c2h4")


def geometry(text: str) -> Atoms:
    """Return the molecule of an input file of SPECTRO."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if "GEOM" in line)
    count = int(lines[start + 1].split()[0])
    rows = np.array([line.split() for line in lines[start + 2 : start + 2 + count]], dtype=float)
    numbers = rows[:, 0].astype(int)
    return Atoms(numbers, positions=rows[:, 1:] * Bohr, masses=[MASSES[n] for n in numbers])


def derivatives(place: Path, order: int, size: int) -> np.ndarray:
    """Return third or fourth derivatives, ``[3N] * order`` [eV/Åⁿ]."""
    file = {3: "fort.30", 4: "fort.40"}[order]
    values = iter((place / file).read_text().split())
    tensor = np.zeros([size] * order)

    def descending(before: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(before) == order:
            yield before
            return
        for index in range(before[-1] + 1 if before else size):
            yield from descending((*before, index))

    for place_of in descending(()):
        value = float(next(values))
        for each in set(permutations(place_of)):
            tensor[each] = value
    return tensor * Hartree / Bohr**order


def force_field(place: Path) -> ForceField:
    """Return the force field of a folder in dimensionless normal coordinates."""
    atoms = geometry((place / "spectro.in").read_text())
    size = 3 * len(atoms)
    hessian = np.array((place / "fort.15").read_text().split(), dtype=float).reshape(size, size)
    wavenumbers, modes = normal_modes(atoms, hessian * Hartree / Bohr**2)
    q = (modes * unit_displacements(wavenumbers)[:, None, None]).reshape(len(modes), -1)
    constants = []
    for order, letters in ((3, ("abc", "ijk")), (4, ("abcd", "ijkl"))):
        pairs = ",".join(f"{new}{old}" for old, new in zip(*letters, strict=True))
        formula = f"{letters[0]},{pairs}->{letters[1]}"
        tensor = derivatives(place, order, size)
        constants.append(CM1_PER_EV * np.einsum(formula, tensor, *[q] * order, optimize=True))
    return ForceField(atoms, wavenumbers, modes, *constants)


def main(folder: Path) -> None:
    """Print the largest deviations of each molecule."""
    print("| molecule | harmonic | fundamentals | B₀ (cm⁻¹) | where fundamentals differ |")
    print("| --- | --- | --- | --- | --- |")
    for name in MOLECULES:
        field = force_field(folder / name)
        theirs = json.loads((folder / name / "summary.json").read_text())
        levels, degenerate = solve(field), len(field.wavenumbers) - len(theirs["harms"])
        own, wanted = np.sort(levels.fundamentals), np.sort(theirs["corrs"])
        harmonic = np.sort(field.wavenumbers)
        if degenerate:  # the bend of a linear molecule is printed once
            own, harmonic = own[degenerate:], harmonic[degenerate:]
        off = np.abs(own - wanted)
        averaged, constants = levels.rotational_constants, np.sort(theirs["rots"][0])
        if degenerate:  # of a linear molecule the change of its constant is printed
            averaged, constants = averaged[:1] - field.rotational_constants[:1], constants[:1]
        rotational = np.abs(np.sort(averaged) - constants).max()
        differ = ", ".join(f"{own[i]:.2f}, {wanted[i]:.2f}" for i in np.flatnonzero(off > 0.05))
        print(
            f"| {name} | {np.abs(harmonic - np.sort(theirs['harms'])).max():.3f} | {off.max():.3f} "
            f"| {rotational:.1e} | {differ} |"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
