"""Harmonic wavenumbers of ions and radicals, beside PySCF's own analytic Hessian and experiment.

    python -m tests.benchmarks.ions <functional> <basis> [<name or SMILES> ...]

For a functional the analytic Hessian lacks the response of the grid, so that the two agree as far
as the grid is fine; for ``hf`` to the error of central differences. Experimental ω_e of diatomic
molecules: Huber and Herzberg 1979, in the NIST WebBook."""

import sys

import numpy as np
from ase import Atoms

from palirs.engines import PySCF
from palirs.engines.pyscf import PySCFCalculator
from palirs.molecules import Molecules
from palirs.vibrations import minimum

SPECIES = ("[NH4+]", "[OH3+]", "O=C[O-]", "[CH3]", "[OH]", "[OH-]", "O2", "NO")
MEASURED = {"OH": 3737.76, "O2": 1580.19, "NO": 1904.20}


def by_analytic_hessian(engine: PySCF, atoms: Atoms) -> np.ndarray:
    """Return wavenumbers of PySCF's Hessian, without density fitting of the second derivatives."""
    from pyscf.hessian import thermo

    calculator = engine.calculator()
    assert isinstance(calculator, PySCFCalculator)
    calculator.atoms = atoms
    method = calculator._solve()
    analysis = thermo.harmonic_analysis(method.mol, method.Hessian().kernel(), imaginary_freq=False)
    return np.array(analysis["freq_wavenumber"])


def main(functional: str, basis: str, *species: str) -> None:
    """Print the table of some species, by default of all."""
    engine = PySCF(functional=functional, basis=basis, density_fitting=False, grid=4)
    print("| species | harmonic (cm⁻¹) | km/mol | largest difference of the analytic Hessian |")
    print("| --- | --- | --- | --- |")
    for name in species or SPECIES:
        optimum = minimum(Molecules(names=(name,)).load()[0], engine)
        differences = optimum.frequencies - by_analytic_hessian(engine, optimum.atoms)
        cells = [name]
        for values in (optimum.frequencies, optimum.intensities):
            assert values is not None
            cells.append(", ".join(f"{value:.0f}" for value in values))
        formula = str(optimum.atoms.symbols)
        measured = f" (measured {MEASURED[formula]:.0f})" if formula in MEASURED else ""
        cells[1] += measured if name != "[OH-]" else ""
        print("| " + " | ".join([*cells, f"{np.abs(differences).max():.2f}"]) + " |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
