"""Production: long MD whose dipoles become spectra, driven by the committee or by the reference engine itself.

Both use the same integrator, thermostat and time step, so a difference between the spectra is a difference between the forces and
dipoles.
"""

import os
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from tqdm import tqdm

from palirs import keys
from palirs.dynamics import CommitteeField, EngineField, Noise, initial_state, kinetic_temperature, langevin
from palirs.engines import Engine
from palirs.executors import shares
from palirs.mace.committee import Committee, force_spread
from palirs.mace.dipole import DipoleModel
from palirs.mace.files import load
from palirs.randomness import stream
from palirs.sampling import largest
from palirs.settings import MD, Spectroscopy
from palirs.spectra import Spectrum, infrared_spectrum, mean_spectrum, undo_verlet_shift

THERMALISATION_FRICTION = 10.0
"""Friction before recording starts [ps⁻¹]: a molecule that starts at rest in its optimum is warm after a few tenths of a picosecond,
where production friction would need five."""


@dataclass(frozen=True)
class Run:
    """Recorded trajectories of one molecule.

    Attributes
    ----------
    numbers : numpy.ndarray
        Shape ``[atoms]``, atomic numbers.
    dipoles : numpy.ndarray
        Shape ``[replicas, frames, 3]`` [e·Å].
    positions : numpy.ndarray
        Shape ``[replicas, frames, atoms, 3]`` [Å].
    temperature : numpy.ndarray
        Shape ``[replicas]`` [K], mean kinetic temperature.
    spread : numpy.ndarray
        Shape ``[replicas]`` [eV/Å], largest force spread of the committee met on the way; zero for an engine.
    settings : str
        What the trajectories depend on; a file made with other settings is not taken for this one.
    """

    numbers: np.ndarray
    dipoles: np.ndarray
    positions: np.ndarray
    temperature: np.ndarray
    spread: np.ndarray
    settings: str = ""

    def save(self, path: Path) -> None:
        """Write one ``.npz`` file atomically; positions are kept in float32."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, **{**vars(self), "positions": self.positions.astype(np.float32)})
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Run":
        """Read what :meth:`save` wrote."""
        with np.load(path) as stored:
            values = {name: stored[name] for name in stored.files}
        return cls(**{**values, "settings": str(values["settings"])})


Source = tuple[Path, Path] | Engine
"""Where forces and dipoles come from: a directory with a committee and the file of a dipole model, or an engine."""


def simulate(
    source: Source, optima: Sequence[Atoms], md: MD, settings: Spectroscopy, temperature: float, seed: int, executor: Executor
) -> list[Run]:
    """Run all replicas of all molecules, shared out over the workers of the executor.

    Each trajectory has its own random stream, so what it does depends neither on the workers nor on the molecules beside it.

    Parameters
    ----------
    source : Source
        Committee and dipole model, or engine.
    optima : sequence of Atoms
        Start geometries.
    md, settings
        Lengths, time step, intervals.
    temperature : float
        [K].
    seed : int
        Of the study.
    executor : Executor
        Runs the shares.
    """
    kind = "reference" if isinstance(source, Engine) else "production"
    trajectories = [(atoms, replica) for atoms in optima for replica in range(md.replicas)]
    seeds = [stream(seed, kind, atoms.info[keys.MOLECULE], temperature, replica) for atoms, replica in trajectories]
    jobs = [
        executor.submit(_share, source, [atoms for atoms, _ in part], own, md, settings, temperature, f"{kind} MD", number)
        for number, (part, own) in enumerate(zip(shares(trajectories, executor), shares(seeds, executor), strict=True))
    ]
    recorded = [trajectory for job in jobs for trajectory in job.result()]
    runs = []
    for first, atoms in zip(range(0, len(recorded), md.replicas), optima, strict=True):
        mine = recorded[first : first + md.replicas]
        dipoles, positions, heat, spread = (np.array(values) for values in zip(*mine, strict=True))
        runs.append(Run(atoms.numbers, dipoles, positions, heat, spread, fingerprint(md, settings, temperature, seed)))
    return runs


def spectrum_of(dipoles: np.ndarray, settings: Spectroscopy, temperature: float, label: str) -> Spectrum:
    """Mean spectrum, with its standard deviation, of trajectories ``[replicas, frames, 3]`` [e·Å] at a temperature [K]."""
    interval = settings.stride * settings.timestep
    spectra = [
        infrared_spectrum(dipole, interval, temperature=temperature, max_lag=settings.max_lag, method=settings.method) for dipole in dipoles
    ]
    return mean_spectrum([undo_verlet_shift(spectrum, settings.timestep).within(0.0, 5000.0) for spectrum in spectra], label)


def fingerprint(md: MD, settings: Spectroscopy, temperature: float, seed: int) -> str:
    """Return what trajectories depend on, besides forces."""
    return f"{md} timestep={settings.timestep} friction={settings.friction} stride={settings.stride} T={temperature} seed={seed}"


def _share(source: Source, molecules: Sequence[Atoms], seeds, md: MD, settings: Spectroscopy, temperature: float, title: str, number: int):
    """Run in the worker: thermalise, record; return dipoles, positions, temperature and spread of each trajectory."""
    field, model = _open(source, molecules)
    noise = Noise(seeds, [len(atoms) for atoms in molecules])
    target = torch.full((len(molecules),), temperature, dtype=torch.float64)
    state = initial_state(molecules, field, target, noise)
    before, steps = round(md.thermalisation * 1e3 / settings.timestep), round(md.length * 1e3 / settings.timestep)
    positions, dipoles, heat, spread = [], [], torch.zeros(len(molecules)), torch.zeros(len(molecules))
    for step in tqdm(range(before + steps), desc=title, unit="step", position=number, leave=False, mininterval=2):
        friction = THERMALISATION_FRICTION if step < before else settings.friction
        state = langevin(state, field, noise, settings.timestep, friction, target)
        if step < before or (step - before) % settings.stride:
            continue
        positions.append(state.positions.numpy())
        heat = heat + kinetic_temperature(state)
        if state.dipole is not None:
            dipoles.append(state.dipole.numpy())
        if state.members is not None:
            spread = torch.maximum(spread, largest(force_spread(state.members), state))
    split = np.split(np.array(positions), np.cumsum(state.counts)[:-1], axis=1)
    along = (
        np.array(dipoles).transpose(1, 0, 2) if model is None else [_dipoles(model, a, x) for a, x in zip(molecules, split, strict=True)]
    )
    return list(zip(along, split, heat.numpy() / len(positions), spread.numpy(), strict=True))


def _open(source: Source, molecules: Sequence[Atoms]) -> tuple[CommitteeField | EngineField, DipoleModel | None]:
    if isinstance(source, Engine):
        return EngineField(source, molecules), None
    committee, model = (load(path) for path in source)
    assert isinstance(committee, Committee) and isinstance(model, DipoleModel)
    return CommitteeField(committee, molecules), model


def _dipoles(model: DipoleModel, atoms: Atoms, positions: np.ndarray, batch: int = 128) -> np.ndarray:
    parts = []
    for start in range(0, len(positions), batch):
        chunk = positions[start : start + batch]
        parts.append(model.of_positions([atoms.numbers] * len(chunk), list(chunk))[0])
    return np.concatenate(parts)
