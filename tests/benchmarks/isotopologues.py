"""Isotopologues from the force field of a molecule, beside forces calculated with their masses.

    python -m tests.benchmarks.isotopologues

By GFN2-xTB at the same minimum, with and without the constants of four different modes of the
molecule; in about five minutes on one core."""

from collections.abc import Sequence

import numpy as np

from palirs.engines.tblite import TBLite
from palirs.geometry.isotopologues import Isotopes
from palirs.molecules import Molecules
from palirs.vibrations import harmonic, minimum
from palirs.vibrations.anharmonic.calculation import Anharmonic, anharmonic, tight
from palirs.vibrations.anharmonic.isotopologues import isotopologue

WANTED = {
    "H2O": ("[2H]O", "[2H]O[2H]"),
    "formaldehyde": ("[2H]C=O", "[2H]C([2H])=O"),
    "methanol": ("[2H]OC", "[2H]CO", "[2H]C([2H])([2H])O", "[13CH3]O"),
    "ethyne": ("[2H]C#C",),
    "NH3": ("[2H]N",),
    "CH4": ("[2H]C", "[2H]C[2H]"),
    "acetonitrile": ("[2H]C([2H])([2H])C#N",),
    "formic_acid": ("[2H]C(=O)O", "[2H]OC=O"),
}


def row(smiles: str, number: int, direct: Anharmonic, made: Sequence[Anharmonic]) -> str:
    """Return the deviations of both kinds of isotopologue as a line of a table [cm⁻¹]."""
    count, sure = len(direct.modes), direct.force_field.wavenumbers > 400
    cells = [f"{smiles}{f' ({number})' if number > 1 else ''}"]
    for own in made:
        two = np.abs(np.sort(own.levels.energies) - np.sort(direct.levels.energies))[count:]
        off = np.abs(own.levels.fundamentals - direct.levels.fundamentals)
        worst = int(np.where(sure, off, 0).argmax())
        harmonics = np.abs(own.force_field.wavenumbers - direct.force_field.wavenumbers)
        cells += [
            f"{harmonics.max():.2f}",
            f"{off[sure].mean():.2f}, {off[worst]:.2f} ({direct.levels.fundamentals[worst]:.0f})",
            f"{off[~sure].max():.2f}" if (~sure).any() else "",
            f"{np.median(two):.2f}",
            f"{own.levels.zero_point - direct.levels.zero_point:+.2f}",
        ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print a line for each isotopologue."""
    engine = TBLite(method="GFN2-xTB")
    for name, texts in WANTED.items():
        start = Molecules(names=(name,)).load()[0]
        vibrations = tight(minimum(start, engine), engine)
        parents = [anharmonic(vibrations, engine, complete=each) for each in (True, False)]
        for smiles in texts:
            for number, masses in enumerate(Isotopes(smiles).masses(vibrations.atoms), start=1):
                atoms = vibrations.atoms.copy()
                atoms.set_masses(masses)
                direct = anharmonic(harmonic(atoms, engine), engine, complete=True)
                made = [isotopologue(parent, masses) for parent in parents]
                print(row(f"{name} {smiles}", number, direct, made), flush=True)


if __name__ == "__main__":
    main()
