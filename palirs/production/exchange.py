"""Trajectories in the forms that other programs read: positions and dipoles of production MD.

Extended XYZ for ASE and OVITO; for TRAVIS (Brehm et al. 2020, doi:10.1063/5.0005078), which takes
dipoles from the comment lines of an XYZ file; and the HDF5 file of SchNetPack's MD (Schütt et al.
2023, doi:10.1063/5.0138367).
"""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.geometry.electrons import Electrons
from palirs.production.jobs import Job
from palirs.production.trajectories import Kept
from palirs.recipes import PalirsError
from palirs.settings import Spectroscopy
from palirs.units import DEBYE, ENERGY, EV_PER_AMU_A2_FS2, LENGTH
from palirs.version import VERSION

log = logging.getLogger(__name__)

TIME = LENGTH["nm"] * np.sqrt(EV_PER_AMU_A2_FS2 / ENERGY["kJ/mol"])
"""Unit of time of SchNetPack's MD, from its nm, kJ/mol and Dalton [fs]: 1000."""


@dataclass(frozen=True)
class Trajectory:
    """A complete trajectory: dipoles at even times, and the geometries of some of them.

    Attributes
    ----------
    name : str
        Number of the replica.
    molecule : Atoms
        Start geometry.
    interval : float
        Time between dipoles [fs]; the first is one interval after the thermalisation.
    dipoles : numpy.ndarray
        Shape ``[frames, 3]`` [e·Å]; of an ion about its centre of mass.
    kept : Kept
        Geometries.
    """

    name: str
    molecule: Atoms
    interval: float
    dipoles: np.ndarray
    kept: Kept

    @property
    def frames(self) -> np.ndarray:
        """Number of the dipole that each geometry belongs to, ``[geometries]``, from zero."""
        return np.rint(self.kept.times / self.interval).astype(int) - 1


def complete_trajectories(
    jobs: Sequence[Job], steps: int, settings: Spectroscopy
) -> list[Trajectory]:
    """Read the trajectories of a molecule that reached their end, after this many steps.

    Raises
    ------
    PalirsError
        If there is none.
    """
    trajectories = []
    for job in jobs:
        recording = job.recording
        end = recording.checkpoint(job.settings)
        if end.broken or end.step < steps:
            continue
        interval = settings.stride * settings.timestep
        dipoles, kept = recording.dipoles(end.frames), recording.kept(end)
        trajectories.append(Trajectory(job.place.name, job.molecule, interval, dipoles, kept))
    folder = jobs[0].place.parent
    if not trajectories:
        raise PalirsError(f"{folder}: no trajectory made with these settings is complete")
    if left_out := len(jobs) - len(trajectories):
        log.warning("%s: %d of %d trajectories are not complete", folder, left_out, len(jobs))
    return trajectories


def write_extxyz(place: Path, trajectories: Sequence[Trajectory]) -> str:
    """Write the kept geometries of each trajectory as extended XYZ, ``<place>/N.xyz``.

    ``dipole`` [e·Å] and ``energy`` [eV] are where ASE looks for them; ``info`` also says
    ``time_fs``, ``interval_fs`` (between the frames) and charge and multiplicity of an ion. Returns
    what was written, in words.
    """
    for each in trajectories:
        between = np.diff(each.kept.times[:2]).sum()
        state = {keys.MOLECULE: each.molecule.info[keys.MOLECULE], "interval_fs": f"{between:.10g}"}
        state |= Electrons.of(each.molecule).info
        always = " ".join(f"{key}={value}" for key, value in state.items())
        headers = [
            f"Properties=species:S:1:pos:R:3 time_fs={time:.10g} energy={energy:.8f} "
            f'dipole="{_numbers(dipole)}" {always} pbc="F F F"'
            for time, energy, dipole in zip(
                each.kept.times, each.kept.energies, each.dipoles[each.frames], strict=True
            )
        ]
        _write_xyz(place / f"{each.name}.xyz", each, headers)
    return f"{place}/*.xyz: extended XYZ, dipole [e·Å], energy [eV]"


def write_travis(place: Path, trajectories: Sequence[Trajectory]) -> str:
    """Write each trajectory as XYZ with dipoles [Debye] in its comment lines, for TRAVIS.

    The files are ``<place>-travis/N.xyz``. TRAVIS (its source of 29 July 2022, ``ParseDipole``)
    numbers what can be read as a number in a comment line: 1 is the time [fs], 2 to 4 are the
    dipole, which it takes in its dipole mode 3. Three numbers alone it would take for the edges of
    a cell. Mode 2, a file of dipoles, goes wrong unseen where an analysis leaves out frames.

    Raises
    ------
    PalirsError
        If geometries were kept of some of the dipoles only: TRAVIS wants both for every frame.
    """
    place = place.with_name(f"{place.name}-travis")
    for each in trajectories:
        if len(each.frames) < len(each.dipoles):
            name = each.molecule.info[keys.MOLECULE]
            raise PalirsError(
                f"{name}: TRAVIS wants a geometry with every dipole, and {len(each.frames)} of "
                f"{len(each.dipoles)} were kept; spectrum.geometry_interval={each.interval:g} "
                "with task=spectra (for the engine's own MD task=aimd) runs the same trajectories "
                "again and keeps all"
            )
        comments = [
            f"{time:.10g} {_numbers(dipole)}"
            for time, dipole in zip(each.kept.times, each.dipoles * DEBYE, strict=True)
        ]
        _write_xyz(place / f"{each.name}.xyz", each, comments)
    interval = trajectories[0].interval
    return f"{place}/*.xyz: XYZ every {interval:g} fs; comment lines: time [fs], dipole [Debye]"


def write_schnetpack(place: Path, trajectories: Sequence[Trajectory]) -> str:
    """Write trajectories of a molecule as one HDF5 file of SchNetPack's MD, ``<place>.hdf5``.

    What its ``HDF5Loader`` reads: the trajectories are its molecules, numbered from zero; its
    replicas are the beads of one ring polymer, so there is one. In its units: time step [ps],
    positions [nm], energies [kJ/mol], and dipoles, which have no unit there, in e·nm. Positions and
    energies of frames whose geometry was not kept are NaN. Trajectories are cut to the shortest.
    """
    import h5py  # takes long to import

    frames, count = min(len(each.dipoles) for each in trajectories), len(trajectories)
    numbers = np.concatenate([each.molecule.numbers for each in trajectories])
    counts = np.array([len(each.molecule) for each in trajectories])
    energies, positions = np.full((frames, count), np.nan), []
    for column, each in enumerate(trajectories):
        of_kept = np.full((frames, 3 * len(each.molecule)), np.nan)
        kept = each.frames[each.frames < frames]
        of_kept[kept] = each.kept.positions[: len(kept)].reshape(len(kept), -1) / LENGTH["nm"]
        energies[kept, column] = each.kept.energies[: len(kept)] / ENERGY["kJ/mol"]
        positions.append(of_kept)
    dipoles = np.stack([each.dipoles[:frames] for each in trajectories], axis=1) / LENGTH["nm"]
    common = {"entries": frames, "n_replicas": 1, "n_molecules": count, "n_atoms": counts}
    structures = common | {
        "total_n_atoms": len(numbers),
        "atom_types": numbers,
        "masses": np.concatenate([each.molecule.get_masses() for each in trajectories]),
        "pbc": np.zeros((count, 3), dtype=bool),
        "has_cells": False,
        "has_velocities": False,
        "time_step": trajectories[0].interval / TIME,
    }
    properties = common | {
        "shapes": json.dumps({"dipole_moment": [count, 3]}),
        "positions": json.dumps({"dipole_moment": [0, 3 * count]}),
    }
    file = place.with_name(f"{place.name}.hdf5")
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    with h5py.File(part, "w", libver="latest") as stream:  # an older one cannot be read in SWMR
        stream.attrs["made_by"] = f"palirs {VERSION}; nm, ps, kJ/mol, e nm"
        for name, values, attributes in (
            ("molecules", np.hstack([energies, *positions]), structures),
            ("properties", dipoles.reshape(frames, -1), properties),
        ):
            dataset = stream.create_dataset(name, data=values[:, None], compression="gzip")
            dataset.attrs.update(attributes)
    part.replace(file)
    interval = trajectories[0].interval
    between = interval * np.diff(trajectories[0].frames[:2]).sum()
    return f"{file}: {count} trajectories, dipoles every {interval:g} fs, positions {between:g} fs"


LAYOUTS = {"extxyz": write_extxyz, "travis": write_travis, "schnetpack": write_schnetpack}
"""What writes the trajectories of a molecule, by the name of the form."""


def _write_xyz(file: Path, trajectory: Trajectory, comments: Sequence[str]) -> None:
    """Write the kept geometries of a trajectory with a comment line each, atomically."""
    symbols = trajectory.molecule.get_chemical_symbols()
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as stream:
        for comment, positions in zip(comments, trajectory.kept.positions, strict=True):
            stream.write(f"{len(symbols)}\n{comment}\n")
            for symbol, (x, y, z) in zip(symbols, positions, strict=True):
                stream.write(f"{symbol:2s} {x:14.8f} {y:14.8f} {z:14.8f}\n")
    part.replace(file)


def _numbers(vector: np.ndarray) -> str:
    """Return the components of a vector, with digits that keep what a dipole model tells."""
    return " ".join(f"{component:.10f}" for component in vector)
