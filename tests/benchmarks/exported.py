"""Files for other programs, read by these: Open Babel, SchNetPack's loader and spectra, TRAVIS.

    pip install --no-deps --target others openbabel-wheel==3.1.1.23 schnetpack==2.1.1
    apt install travis       # 220729-1; or its path as the last argument
    python run.py task=spectra study=STUDY spectrum.geometry_interval=2    # all geometries are kept
    python run.py task=export_trajectories layout=travis study=STUDY
    python run.py task=export_trajectories layout=schnetpack study=STUDY
    python -m tests.benchmarks.exported STUDY/trajectories/methanol-300K-001 others [travis]

Of methanol, at 300 K, with dipoles every 2 fs. Of SchNetPack only the files of its loader and of
its spectra are run, as they are, without its other dependencies.
"""

import os
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import numpy as np

from palirs.engines import TBLite
from palirs.molecules import table
from palirs.spectra import infrared_spectrum
from palirs.units import DEBYE
from palirs.vibrations import minimum
from palirs.vibrations.molden import write_molden

TEMPERATURE, INTERVAL = 300.0, 2.0
BANDS = ((950, 1150), (1200, 1400), (2750, 3050), (3400, 3750))
"""Of methanol [cm⁻¹]."""
ANSWERS = "n y 2000 # # ir # 2 0 y 3 2 3 4 n" + 20 * " #"
"""To TRAVIS of July 2022, one a line, # for return: box of 2000 pm, function ir, 2 fs, dipole mode
3 with numbers 2 to 4 of the comment line, and its defaults, which are 2048 lags (cos² window)."""


def open_babel(folder: Path) -> None:
    """Compare what Open Babel reads from a Molden file of methanol with what was written."""
    from openbabel import openbabel  # type: ignore

    vibrations = minimum(table()["methanol"], TBLite())
    write_molden(folder / "m.molden", vibrations, "methanol")
    conversion, molecule = openbabel.OBConversion(), openbabel.OBMol()
    conversion.SetInFormat("molden")
    assert conversion.ReadFile(molecule, str(folder / "m.molden"))
    read = openbabel.toVibrationData(molecule.GetData(openbabel.VibrationData))
    modes = np.array([[(v.GetX(), v.GetY(), v.GetZ()) for v in mode] for mode in read.GetLx()])
    atoms = openbabel.OBMolAtomIter(molecule)
    positions = np.array([(atom.GetX(), atom.GetY(), atom.GetZ()) for atom in atoms])
    weighted = (modes * vibrations.atoms.get_masses()[:, None] ** 0.5).reshape(len(modes), -1)
    weighted /= np.linalg.norm(weighted, axis=1, keepdims=True)
    lengths = np.linalg.norm(vibrations.modes, axis=(1, 2))
    for name, deviation in {
        "wavenumbers (cm⁻¹)": np.array(read.GetFrequencies()) - vibrations.frequencies,
        "intensities (km/mol)": np.array(read.GetIntensities()) - vibrations.intensities,
        "positions (Å)": positions - vibrations.atoms.positions,
        "displacements": modes - vibrations.modes / lengths[:, None, None],
        "overlaps with masses": weighted @ weighted.T - np.eye(len(modes)),
    }.items():
        print(f"Open Babel, {name}: off by at most {np.abs(deviation).max():.1e}")


def schnetpack(file: Path, dipoles: np.ndarray) -> None:
    """Compare SchNetPack's loader and infrared spectrum with what was written, and with ours."""
    place = next(
        Path(path) / "schnetpack" for path in sys.path if Path(path, "schnetpack").exists()
    )
    for name, folder in (("schnetpack", place), ("schnetpack.md", place / "md")):
        module = types.ModuleType(name)
        module.__path__ = [str(folder)]
        sys.modules[name] = module
    from schnetpack import units  # type: ignore
    from schnetpack.md.data import HDF5Loader, IRSpectrum  # type: ignore

    loaded = HDF5Loader(str(file))
    print(f"SchNetPack: {loaded.time_step / units.fs:.9f} fs, {loaded.n_molecules} trajectories")
    theirs, off, wavenumber = [], [], np.array([])
    for number, own in enumerate(dipoles):
        read = loaded.get_property("dipole_moment", atomistic=False, mol_idx=number)
        off.append(np.abs(read / units.Debye - own * DEBYE).max())
        spectrum = IRSpectrum(loaded, resolution=2048)
        spectrum.compute_spectrum(number)
        wavenumber, intensity = spectrum.get_spectrum()
        theirs.append(intensity)
    print(f"SchNetPack, dipoles: off by at most {max(off):.1e} D")
    ours = infrared_spectrum(dipoles, INTERVAL, max_lag=2048 * INTERVAL, method="schnetpack")
    _compare("SchNetPack", wavenumber, np.mean(theirs, axis=0), ours)
    ours = infrared_spectrum(dipoles, INTERVAL, max_lag=2048 * INTERVAL)
    _compare("SchNetPack, beside our physical method", wavenumber, np.mean(theirs, axis=0), ours)


def travis(program: str, place: Path, dipoles: np.ndarray, folder: Path) -> None:
    """Compare TRAVIS' infrared spectrum of all trajectories with ours, in km/mol per cm⁻¹."""
    spectra = []
    for number in range(len(dipoles)):
        subprocess.run(
            [program, "-nocolor", "-p", str(place / f"{number}.xyz")],
            input=ANSWERS.replace(" ", "\n").replace("#", "") + "\n",
            cwd=folder,
            env={**os.environ, "HOME": str(folder)},
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (file,) = folder.glob("ir_spectrum_*.csv")
        wavenumber, intensity, _ = np.loadtxt(file, delimiter=";", unpack=True)
        spectra.append(intensity / TEMPERATURE)
        file.unlink()
    ours = infrared_spectrum(dipoles, INTERVAL, temperature=TEMPERATURE, max_lag=2048 * INTERVAL)
    _compare("TRAVIS", wavenumber, np.mean(spectra, axis=0), ours)


def _compare(name: str, wavenumber: np.ndarray, theirs: np.ndarray, ours) -> None:
    """Print how two spectra differ, and the tops, centres and areas of bands."""
    own = np.interp(wavenumber, ours.wavenumber, ours.intensity)
    used = (wavenumber > 100) & (wavenumber < 4900)
    correlation = np.corrcoef(theirs[used], own[used])[0, 1]
    largest = np.abs(theirs - own)[used].max() / own.max()
    print(f"{name}: 1 - PCC {1 - correlation:.1e}, largest difference {largest:.1e} of the top")
    for low, high in BANDS:
        band = (wavenumber > low) & (wavenumber < high)
        x, step = wavenumber[band], wavenumber[1] - wavenumber[0]
        cells = [
            f"{x[y.argmax()]:8.1f} {x @ y / y.sum():8.1f} {y.sum() * step:10.4g}"
            for y in (theirs[band], own[band])
        ]
        print(f"    {low} to {high} cm⁻¹: top, centre, area {cells[0]}; ours {cells[1]}")


def main() -> None:
    """Compare all three."""
    trajectories, others, *program = sys.argv[1:]
    sys.path.append(others)
    place = Path(trajectories)
    out = place.parents[1] / "exported"
    count = len(list(out.glob(f"{place.name}-travis/*.xyz")))
    dipoles = np.array([np.fromfile(place / f"{n}.dipoles").reshape(-1, 3) for n in range(count)])
    with tempfile.TemporaryDirectory() as folder:
        open_babel(Path(folder))
        schnetpack(out / f"{place.name}.hdf5", dipoles)
        absolute = (out / f"{place.name}-travis").absolute()
        travis((program or ["travis"])[0], absolute, dipoles, Path(folder))


if __name__ == "__main__":
    main()
