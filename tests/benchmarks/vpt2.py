"""Anharmonic levels beside published ones, and beside those of another program.

    python -m tests.benchmarks.vpt2 published [functional/basis]
    python -m tests.benchmarks.vpt2 <python with overtone-vpt2 and tblite> H2O,CH4,acetonitrile,...

``published``: Hartree-Fock and density functional theory by PySCF at the level of the source.
Otherwise: GFN2-xTB, beside overtone-vpt2 0.1.0 (PyPI), which differentiates the same forces with
steps of its own; it runs in a Python of its own."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from palirs.engines import Engine
from palirs.engines.pyscf import PySCF
from palirs.engines.tblite import TBLite
from palirs.molecules import Molecules
from palirs.vibrations import minimum
from palirs.vibrations.anharmonic.calculation import Anharmonic, anharmonic, tight


@dataclass(frozen=True)
class Published:
    """Fundamentals in the order of our modes [cm⁻¹], and where they are from."""

    molecule: str
    functional: str
    basis: str
    harmonic: tuple[float, ...]
    fundamentals: tuple[float, ...]
    zero_point: float
    source: str


PYVPT2 = "pyvpt2, pyvpt2/tests at 238a4b99; the same within its tolerance by CFOUR"
CQCPARSE = "Gaussian 16, wlevand/CQCParse at fe9b2c71, examples/dftGaussian"
PUBLISHED = (
    Published(
        "H2O",
        "hf",
        "6-31g*",
        (1826.815, 4060.220, 4177.827),
        (1826.815 - 54.064, 4060.220 - 158.235, 4177.827 - 177.971),
        5032.431 - 70.352,
        PYVPT2,
    ),
    Published(
        "formaldehyde",
        "hf",
        "6-31g*",
        (1335.490, 1382.783, 1679.742, 2031.018, 3157.717, 3230.268),
        (
            1335.490 - 17.450,
            1382.783 - 18.921,
            1679.742 - 33.156,
            2031.018 - 25.587,
            3157.717 - 142.830,
            3230.268 - 129.220,
        ),
        6408.509 - 77.218,
        PYVPT2,
    ),
    Published(
        "HCN",
        "hf",
        "cc-pvdz",
        (869.159, 869.159, 2421.452, 3645.134),
        (869.159 - 19.894, 869.159 - 19.894, 2421.452 - 23.662, 3645.134 - 125.133),
        np.nan,
        f"{PYVPT2}; density fitting there",
    ),
    Published(
        "H2O",
        "b3lyp",
        "6-311++g(d,p)",
        (1602.806, 3817.177, 3922.239),
        (1554.846, 3640.760, 3734.527),
        np.nan,
        "Gaussian 16, McCoyGroup/Psience at 2e82f7fa, ci/tests/TestData; grid not stated",
    ),
    Published(
        "formaldehyde",
        "b3lyp",
        "cc-pvdz",
        (1186.520, 1253.056, 1515.365, 1832.931, 2864.980, 2917.325),
        (1167.450, 1233.413, 1483.967, 1808.055, 2706.412, 2651.062),
        5705.818,
        CQCPARSE,
    ),
    Published(
        "formaldehyde",
        "hf",
        "cc-pvqz",
        (1338.080, 1372.192, 1652.153, 1996.530, 3084.542, 3152.994),
        (1320.714, 1351.970, 1620.165, 1971.318, 2954.078, 3045.508),
        6226.066,
        CQCPARSE,
    ),
)
OVERTONE = """
import json, sys
from pathlib import Path
import numpy as np
from ase import Atoms
from overtone import calculate_anharmonics
from tblite.ase import TBLite
given = json.loads(sys.stdin.read())
atoms = Atoms(given["numbers"], positions=given["positions"])
make = lambda: TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
result = calculate_anharmonics(
    atoms, make, Path(sys.argv[1]), derivative_source="forces", harmonic_delta=0.002,
    anharmonic_delta=0.15, method="gvpt2")
levels = [one.energy for one in result.get_transitions(["fundamental"])]
print("RESULT", json.dumps(levels))
"""


def levels(name: str, engine: Engine) -> Anharmonic:
    """Return the anharmonic levels of a molecule by an engine."""
    start = minimum(Molecules(names=(name,)).load()[0], engine)
    return anharmonic(tight(start, engine), engine, complete=False)


def published(rows: Sequence[Published]) -> None:
    """Print deviations from published fundamentals, a row for each molecule and level."""
    print("| molecule | level | largest: harmonic | shift | fundamentals | zero point | s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        begun = time.perf_counter()
        engine = PySCF(
            functional=row.functional,
            basis=row.basis,
            density_fitting=False,
            grid=5,
            dispersion=None,
            convergence=1e-12,
        )
        result = levels(row.molecule, engine)
        harmonic = result.vibrations.frequencies - row.harmonic
        off = result.levels.fundamentals - row.fundamentals
        zero_point = result.levels.zero_point - row.zero_point
        largest = (np.abs(values).max() for values in (harmonic, off - harmonic, off))
        print(
            f"| {row.molecule} | {row.functional}/{row.basis} | "
            f"{' | '.join(f'{value:.2f}' for value in largest)} | {zero_point:+.2f} | "
            f"{time.perf_counter() - begun:.0f} |",
            flush=True,
        )


def beside_overtone(python: str, names: Sequence[str]) -> None:
    """Print deviations from overtone-vpt2 with the same forces."""
    print("| molecule | modes | fundamentals: mean, largest | ours and theirs where largest |")
    print("| --- | --- | --- | --- |")
    for name in names:
        result = levels(name, TBLite(method="GFN2-xTB"))
        atoms, count = result.vibrations.atoms, len(result.modes)
        given = {"numbers": atoms.numbers.tolist(), "positions": atoms.positions.tolist()}
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [python, "-c", OVERTONE, folder],
                input=json.dumps(given),
                capture_output=True,
                text=True,
                check=False,
            )
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
        if not lines:
            print(f"| {name} | {count} | {done.stderr.strip().splitlines()[-1]} | |", flush=True)
            continue
        theirs = np.sort(json.loads(lines[0].partition(" ")[2]))
        off = np.abs(np.sort(result.levels.fundamentals) - theirs)
        worst = int(off.argmax())
        print(
            f"| {name} | {count} | {off.mean():.2f}, {off.max():.2f} | "
            f"{np.sort(result.levels.fundamentals)[worst]:.1f}, {theirs[worst]:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1] == "published":
        levels_asked = sys.argv[2:]
        published(
            [
                row
                for row in PUBLISHED
                if not levels_asked or f"{row.functional}/{row.basis}" in levels_asked
            ]
        )
    else:
        beside_overtone(sys.argv[1], sys.argv[2].split(","))
