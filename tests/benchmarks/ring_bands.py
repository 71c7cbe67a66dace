"""Where the modes of a molecule move along MD with classical nuclei and with ring polymers.

    python -m tests.benchmarks.ring_bands <study> methanol-300K-001 methanol-300K-001-16beads ...
    OMP_NUM_THREADS=1 python -m tests.benchmarks.ring_bands morse

For each directory of trajectories: mean wavenumber of the density of each mode within 300 cm⁻¹ of
its highest point, and full width at half of that, with standard errors over the trajectories
(jackknife). The window of the autocorrelation alone makes lines 33 cm⁻¹ wide, the study's friction
13 cm⁻¹. ``morse``: the length of a diatomic molecule whose fundamental is known.
"""

import sys
from pathlib import Path

import numpy as np

from palirs.production import densities_of
from palirs.settings import Spectroscopy
from tests.dynamics.test_ring_spectra import levels, morse, stretch

SETTINGS = Spectroscopy(dipole_interval=2.0)
AROUND = 300.0


def position(wavenumber: np.ndarray, density: np.ndarray) -> tuple[float, float]:
    """Return mean wavenumber around the highest point, and width at half its height [cm⁻¹]."""
    top = wavenumber[density.argmax()]
    near = np.abs(wavenumber - top) < AROUND
    mean = float((wavenumber * density)[near].sum() / density[near].sum())
    above = wavenumber[near][density[near] > 0.5 * density.max()]
    return mean, float(np.ptp(above))


def with_errors(rates: np.ndarray) -> np.ndarray:
    """Return positions and widths of the modes and their errors, ``[modes, 4]`` [cm⁻¹].

    ``rates`` have shape ``[trajectories, frames, modes]``.
    """

    def measured(chosen: np.ndarray) -> np.ndarray:
        densities = densities_of(chosen, SETTINGS)
        assert densities is not None
        return np.array([position(densities[0], density) for density in densities[1]])

    count = len(rates)
    without = np.array([measured(np.delete(rates, number, axis=0)) for number in range(count)])
    errors = np.sqrt((count - 1) / count * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    return np.hstack([measured(rates), errors])


def main(study: Path, *names: str) -> None:
    """Print a table for each directory of trajectories."""
    for name in names:
        files = sorted((study / "trajectories" / name).glob("*.modes"))
        longest = max(file.stat().st_size for file in files)
        files = [file for file in files if file.stat().st_size == longest]  # some ended early
        with np.load(files[0].with_suffix(".npz")) as end:
            frames, atoms = int(end["frames"]), len(end["positions"])
        modes = 3 * atoms - 6
        rates = [
            np.fromfile(file, "<f2")[: frames * modes].reshape(frames, modes) for file in files
        ]
        print(f"{name}: {len(files)} trajectories of {frames * 2e-3:g} ps")
        for number, row in enumerate(with_errors(np.array(rates, dtype=float)), start=1):
            mean, width, mean_error, width_error = row
            print(
                f"  mode {number}: {mean:.1f} ± {mean_error:.1f}, {width:.0f} ± {width_error:.0f}"
            )


def diatomic() -> None:
    """Print position and width of the stretch of a Morse oscillator with so many beads."""
    harmonic, fundamental = levels()
    print(f"harmonic {harmonic:.1f} cm⁻¹, fundamental {fundamental:.1f} cm⁻¹")
    for beads in (1, 16, 32):
        lengths = morse(beads, 40, 6_000)[1]
        means = [stretch(part, fundamental)[1] for part in np.split(lengths, 5)]
        error = np.std(means, ddof=1) / np.sqrt(len(means))
        near, mean = stretch(lengths, fundamental)
        width = position(near.wavenumber, near.intensity)[1]
        print(f"{beads} beads: {mean:.1f} ± {error:.1f} cm⁻¹, {width:.0f} wide", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "morse":
        diatomic()
    else:
        main(Path(sys.argv[1]), *sys.argv[2:])
