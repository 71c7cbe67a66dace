"""Internal rotations in one dimension beside perturbation theory, by one engine.

    python -m tests.benchmarks.rotors GFN2-xTB ethane,methanol,nitromethane

Bare: without the zero-point energy of the other modes. Rigid: the group is turned, and nothing
relaxes."""

import sys
from dataclasses import replace

import numpy as np

from palirs.engines.tblite import TBLite
from palirs.molecules import Molecules
from palirs.vibrations import minimum
from palirs.vibrations.anharmonic import rotation
from palirs.vibrations.anharmonic.calculation import anharmonic, tight
from palirs.vibrations.anharmonic.rotor_levels import InternalRotation


class Counted:
    """An engine that counts what it calculates."""

    def __init__(self, engine):
        self.engine, self.count = engine, 0

    def calculate(self, frames):
        self.count += len(frames)
        return self.engine.calculate(frames)


def compare(name: str, method: str) -> None:
    """Print the levels of each rotor of a molecule, in all ways."""
    engine = Counted(TBLite(method=method))
    atoms = Molecules(names=(name,)).load()[0]
    vibrations = tight(minimum(atoms, engine), engine, 1e-4)
    found = rotation.rotations(vibrations)
    if not found:
        print(f"{name}: no rotor about one single bond")
        return
    perturbed = anharmonic(vibrations, engine, complete=False, quanta=1)
    for mode, rotor in found.items():
        place = list(perturbed.modes).index(mode) if mode in perturbed.modes else None
        print(f"{name}, ν{mode + 1}: harmonic {vibrations.frequencies[mode]:.1f}")
        if place is not None:
            energy, reasons = perturbed.energies()[place], perturbed.reasons()[place]
            print(f"  VPT2     {energy:7.1f}  {'; '.join(reasons)}")
        for way in ("relaxed", "bare", "rigid"):
            engine.count = 0
            path = rotation.path(vibrations, rotor, engine, relaxed=way != "rigid")
            if way == "bare":
                path = replace(path, zero_points=np.zeros_like(path.potentials))
            solved = InternalRotation.of(path)
            b = f"B {path.constants.min():.2f} to {path.constants.max():.2f}"
            print(f"  {way:8} {solved.fundamental:7.1f}  {solved.levels}; {solved.reason}; {b}, "
                  f"{engine.count} structures")  # fmt: skip


if __name__ == "__main__":
    for molecule in sys.argv[2].split(","):
        compare(molecule, sys.argv[1])
