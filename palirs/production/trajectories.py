"""Files of a trajectory, which can be killed at any time and continues from its last checkpoint.

``N.dipoles`` holds the dipole of every recorded frame (float64, little-endian, three per frame)
[e·Å], ``N.modes`` the rates of its normal coordinates (float16, little-endian, as many per frame as
there are modes) [eV^1/2], ``N.xyz`` some of the geometries (extended XYZ, for ASE), ``N.npz`` the
checkpoint: the state of the trajectory and the lengths of the other files. What was written after
the last checkpoint is cut off when the trajectory is continued, and ignored when it is read.
"""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from palirs.molecules import read_frames
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """How far a trajectory is, and its state there.

    Attributes
    ----------
    settings : str
        Fingerprint of the trajectory; one made with other settings is not continued.
    step : int
        Steps done, including thermalisation.
    frames : int
        Number of recorded dipoles.
    geometry_bytes : int
        Length of the file of geometries.
    values : dict
        Arrays of the state: positions, velocities, forces and so on.
    broken : str
        Why it ended early; empty if it did not.
    retry : bool
        It may be continued all the same: its engine failed, which may not happen again.
    foreign : bool
        The files are those of a trajectory made with other settings.
    """

    settings: str
    step: int = 0
    frames: int = 0
    geometry_bytes: int = 0
    values: dict[str, np.ndarray] = field(default_factory=dict)
    broken: str = ""
    retry: bool = False
    foreign: bool = False

    @property
    def ended(self) -> bool:
        """Whether it ended early, for good."""
        return bool(self.broken) and not self.retry


@dataclass(frozen=True)
class Kept:
    """The geometries of one trajectory that were kept.

    Attributes
    ----------
    times : numpy.ndarray
        Shape ``[geometries]`` [fs], since the end of the thermalisation.
    energies : numpy.ndarray
        Shape ``[geometries]`` [eV], potential energies.
    positions : numpy.ndarray
        Shape ``[geometries, N, 3]`` [Å].
    """

    times: np.ndarray
    energies: np.ndarray
    positions: np.ndarray


class Recording:
    """The files of one trajectory.

    Parameters
    ----------
    place : Path
        Their common path, without suffix.
    modes : int
        Number of normal modes whose rates are recorded.
    """

    def __init__(self, place: Path, modes: int = 0):
        self.place, self.modes = place, modes
        self.dipole_file, self.geometry_file, self.mode_file, self.checkpoint_file = (
            place.parent / f"{place.name}{suffix}"
            for suffix in (".dipoles", ".xyz", ".modes", ".npz")
        )
        self._lengths: dict[Path, int] = {}

    def checkpoint(self, settings: str) -> Checkpoint:
        """Return the last checkpoint; an empty one if there is none made with these settings."""
        try:
            with np.load(self.checkpoint_file) as stored:
                values = {name: stored[name] for name in stored.files}
        except FileNotFoundError:
            return Checkpoint(settings)
        if str(values.pop("settings")) != settings:
            return Checkpoint(settings, foreign=True)
        numbers = [int(values.pop(name)) for name in ("step", "frames", "geometry_bytes")]
        broken, retry = str(values.pop("broken", "")), bool(values.pop("retry", False))
        return Checkpoint(settings, *numbers, values=values, broken=broken, retry=retry)

    def resume(self, at: Checkpoint) -> None:
        """Truncate the files to their lengths at the checkpoint.

        A trajectory that began without the rates of the modes continues without them.

        Raises
        ------
        PalirsError
            If a file is shorter.
        """
        self.place.parent.mkdir(parents=True, exist_ok=True)
        if at.foreign:
            self._set_aside()
        lengths = {self.dipole_file: 24 * at.frames, self.geometry_file: at.geometry_bytes}
        if at.frames and not self.mode_file.exists():
            self.modes = 0
        if self.modes:
            lengths[self.mode_file] = 2 * self.modes * at.frames
        for file, length in lengths.items():
            with file.open("ab") as stream:
                if stream.tell() < length:
                    raise PalirsError(
                        f"{file} is shorter than its checkpoint says; "
                        f"delete {self.checkpoint_file} to start this one again"
                    )
                stream.truncate(length)
            self._lengths[file] = length

    def _set_aside(self) -> None:
        """Rename the files of a trajectory made with other settings, which may have taken days."""
        files = (self.checkpoint_file, self.dipole_file, self.geometry_file, self.mode_file)
        number = next(
            n
            for n in count(1)
            if not any(file.with_name(f"{file.name}.old{n}").exists() for file in files)
        )
        log.warning(
            "%s was made with other settings; it is kept as %s.*.old%d and run anew",
            self.place,
            self.place.name,
            number,
        )
        for file in files:
            if file.exists():
                file.rename(file.with_name(f"{file.name}.old{number}"))

    def append(self, dipoles: np.ndarray, geometries: str, rates: np.ndarray | None = None) -> None:
        """Append dipoles ``[frames, 3]`` [e·Å], geometries as text, and recorded rates of modes.

        ``rates`` have shape ``[frames, modes]`` [eV^1/2].

        Raises
        ------
        PalirsError
            If a file is not as long as this recording left it: another program writes to it.
        """
        contents = {
            self.dipole_file: np.ascontiguousarray(dipoles, dtype="<f8").tobytes(),
            self.geometry_file: geometries.encode(),
        }
        if self.modes and rates is not None:
            contents[self.mode_file] = np.ascontiguousarray(rates, dtype="<f2").tobytes()
        for file, content in contents.items():
            with file.open("ab") as stream:
                if stream.tell() != self._lengths[file]:
                    raise PalirsError(
                        f"{file} has {stream.tell()} bytes where this program left "
                        f"{self._lengths[file]}: another program writes to it. End that one, and "
                        f"run again; what both wrote after the last checkpoint is cut off"
                    )
                stream.write(content)
            self._lengths[file] += len(content)

    def end(self, settings: str, reason: str, retry: bool) -> None:
        """End the trajectory at its last checkpoint; with ``retry`` it may be continued."""
        last = self.checkpoint(settings)
        log.warning("trajectory %s ended: %s", self.place, reason)
        self._write(
            settings,
            last.step,
            {"frames": last.frames, "geometry_bytes": last.geometry_bytes},
            {**last.values, "broken": reason, "retry": retry},
        )

    def save(self, settings: str, step: int, values: Mapping[str, ArrayLike]) -> None:
        """Write a checkpoint by one rename, after everything before it has reached the disk."""
        for file in self._lengths:
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        self._write(
            settings,
            step,
            {
                "frames": self._lengths[self.dipole_file] // 24,
                "geometry_bytes": self._lengths[self.geometry_file],
            },
            values,
        )

    def _write(
        self, settings: str, step: int, sizes: dict[str, int], values: Mapping[str, ArrayLike]
    ) -> None:
        part = self.checkpoint_file.with_suffix(".part")
        with part.open("wb") as stream:
            np.savez(stream, settings=settings, step=step, **sizes, **values)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(self.checkpoint_file)

    def dipoles(self, frames: int) -> np.ndarray:
        """Return the first dipoles, ``[frames, 3]`` [e·Å]."""
        return np.fromfile(self.dipole_file, dtype="<f8", count=3 * frames).reshape(-1, 3)

    def kept(self, at: Checkpoint) -> "Kept":
        """Return the geometries up to a checkpoint, written by :func:`geometry_lines`."""
        with self.geometry_file.open("rb") as stream:
            lines = stream.read(at.geometry_bytes).decode().splitlines()
        size = int(lines[0]) + 2 if lines else 1
        infos = [dict(word.split("=") for word in line.split()[1:3]) for line in lines[1::size]]
        rows = [line.split()[1:] for number, line in enumerate(lines) if number % size > 1]
        return Kept(
            times=np.array([float(info["time_fs"]) for info in infos]),
            energies=np.array([float(info["energy"]) for info in infos]),
            positions=np.array(rows, dtype=float).reshape(len(infos), -1, 3),
        )

    def rates(self, frames: int) -> np.ndarray | None:
        """Return the first rates of the modes, ``[frames, modes]`` [eV^1/2].

        ``None`` if they were not recorded from the start.
        """
        if not self.modes or not self.mode_file.exists():
            return None
        rates = np.fromfile(self.mode_file, dtype="<f2", count=self.modes * frames)
        if len(rates) < self.modes * frames:
            return None
        return rates.astype(float).reshape(frames, self.modes)


def broken(directory: Path) -> dict[str, str]:
    """Return why trajectories below a directory ended early, by name (``methanol-300K-001/3``)."""
    reasons = {}
    for file in sorted(directory.glob("*/*.npz")):
        with np.load(file) as stored:
            if "broken" in stored.files and str(stored["broken"]):
                reasons[f"{file.parent.name}/{file.stem}"] = str(stored["broken"])
    return reasons


def geometry_lines(atoms: Atoms, positions: np.ndarray, **info: float) -> str:
    """Return one frame as extended XYZ, with ``info`` in its second line."""
    symbols: Sequence[str] = atoms.get_chemical_symbols()
    header = (
        f"{len(atoms)}\nProperties=species:S:1:pos:R:3 "
        + " ".join(f"{key}={value:.8f}" for key, value in info.items())
        + ' pbc="F F F"\n'
    )
    return header + "".join(
        f"{symbol:2s} {x:14.8f} {y:14.8f} {z:14.8f}\n"
        for symbol, (x, y, z) in zip(symbols, positions, strict=True)
    )


def geometries(files: Iterable[Path]) -> list[Atoms]:
    """Return the recorded geometries of some trajectories (``N.xyz``), one after the other."""
    return [atoms for file in files if file.stat().st_size for atoms in read_frames(file)]
