"""Langevin dynamics that stays on a GPU: forces, integrator and noise in one CUDA graph.

A step of a few molecules is some hundred kernels of a few microseconds each; launched one by one
they wait for the host, and for the transfer of the positions. Here a step is captured once and
replayed; the noise of a block of steps is transferred before it, the recorded frames after it. The
noise is drawn on the host, so trajectories agree with those of a CPU to rounding; all sums have a
fixed order, so they are the same in every run.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from palirs.dynamics.motion import Moving, Stretch
from palirs.dynamics.noise import BLOCK
from palirs.mace.forces.devices import is_out_of_memory
from palirs.mace.forces.rewriting import summands


class DeviceForces(Protocol):
    """Energies ``[members, B]`` and forces ``[members, N, 3]`` on a device, in float64."""

    device: str
    members: int
    counts: tuple[int, ...]

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate every member."""
        ...

    def cut(self, error: Exception) -> None:
        """Use less memory from now on, after an out-of-memory error."""
        ...


class DeviceMotion:
    """Integrates one batch of molecules on a device.

    Parameters
    ----------
    forces : DeviceForces
        Forces of a committee.
    """

    def __init__(self, forces: DeviceForces):
        self.members, self._forces = forces.members, forces
        self._on_gpu = forces.device != "cpu"
        system = torch.repeat_interleave(
            torch.arange(len(forces.counts)), torch.tensor(forces.counts)
        )
        atoms, there = summands(system, len(forces.counts))
        self._system = system.to(forces.device)
        self._atoms, self._there = atoms.to(forces.device), there[:, :, None].to(forces.device)
        self._now: dict[str, Tensor] = {}
        self._steps: dict[tuple[float, float, bool], Callable[[], None]] = {}

    def langevin(self, now: Moving, stretch: Stretch) -> list[np.ndarray]:
        """Do the steps of :func:`palirs.dynamics.langevin`.

        Returns
        -------
        list of numpy.ndarray
            At the R steps that are kept: positions, velocities ``[R, N, 3]``, energy ``[R, B]``,
            forces ``[R, members, N, 3]``.
        """
        if stretch.count > BLOCK:
            return self._in_blocks(now, stretch)
        state = self._now or self._allocate(now)
        for name, values in self._sent(now, stretch).items():
            state[name][: len(values)].copy_(torch.from_numpy(np.ascontiguousarray(values)))
        step = self._step(stretch)
        state["step"].zero_()
        for _ in range(stretch.count):
            step()
        for name in ("positions", "velocities", "forces", "heat", "energy", "members"):
            getattr(now, name)[...] = state[name].cpu().numpy()
        kept = torch.tensor([step - 1 for step in stretch.kept], dtype=torch.long)
        return [
            state[f"{name}_then"][kept.to(state["step"].device)].cpu().numpy()
            for name in ("positions", "velocities", "energy", "members")
        ]

    def _in_blocks(self, now: Moving, stretch: Stretch) -> list[np.ndarray]:
        tracks = []
        for first in range(0, stretch.count, BLOCK):
            count = min(BLOCK, stretch.count - first)
            kept = [step - first for step in stretch.kept if first < step <= first + count]
            noise = None if stretch.noise is None else stretch.noise[first : first + count]
            tracks.append(self.langevin(now, replace(stretch, count=count, kept=kept, noise=noise)))
        return [np.concatenate(pieces) for pieces in zip(*tracks, strict=True)]

    def _allocate(self, now: Moving) -> dict[str, Tensor]:
        def zeros(like: np.ndarray, *leading: int) -> Tensor:
            shape = (*leading, *like.shape)
            return torch.zeros(shape, dtype=torch.float64, device=self._forces.device)

        names = ("positions", "velocities", "forces", "heat", "energy", "members")
        state = {name: zeros(getattr(now, name)) for name in names}
        state |= {
            f"{name}_then": zeros(getattr(now, name), BLOCK)
            for name in ("positions", "velocities", "energy", "members")
        }
        state |= {name: zeros(now.positions[:, :1]) for name in ("masses", "kick", "width")}
        state["noise"] = zeros(now.positions, BLOCK)
        state["step"] = torch.zeros(1, dtype=torch.long, device=self._forces.device)
        self._now = state
        return state

    @staticmethod
    def _sent(now: Moving, stretch: Stretch) -> dict[str, np.ndarray]:
        values = {
            name: getattr(now, name) for name in ("positions", "velocities", "forces", "heat")
        }
        values |= {name: getattr(stretch, name)[:, None] for name in ("masses", "kick", "width")}
        return values if stretch.noise is None else values | {"noise": stretch.noise}

    def _step(self, stretch: Stretch) -> Callable[[], None]:
        key = stretch.timestep, stretch.damping, stretch.noise is not None
        if key not in self._steps:
            once = lambda: self._move(stretch)  # noqa: E731
            self._steps[key] = self._captured(once) if self._on_gpu else once
        return self._steps[key]

    def _captured(self, step: Callable[[], None]) -> Callable[[], None]:
        """Capture a step as a CUDA graph and restore the state from before."""
        before = {name: tensor.clone() for name, tensor in self._now.items()}
        while True:
            try:
                warmup = torch.cuda.Stream()
                warmup.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(warmup):  # compiles, and initialises libraries
                    for _ in range(2):
                        step()
                torch.cuda.current_stream().wait_stream(warmup)
                torch.cuda.synchronize()
                torch.cuda.empty_cache()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    step()
                break
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._forces.cut(error)
                self._steps.clear()  # their graphs use buffers that no longer exist
        for name, tensor in before.items():
            self._now[name].copy_(tensor)
        return graph.replay

    def _move(self, stretch: Stretch) -> None:
        """Do one step in place; see :func:`palirs.dynamics.langevin` for the equations."""
        now, half = self._now, 0.5 * stretch.timestep
        velocities = now["velocities"] + now["kick"] * now["forces"]
        positions = now["positions"] + half * velocities
        if stretch.noise is not None:
            noise = now["noise"].index_select(0, now["step"])[0]
            before = velocities
            velocities = stretch.damping * velocities + now["width"] * noise
            drift = self._sums(now["masses"] * velocities) / self._sums(now["masses"])
            velocities = velocities - drift[self._system]
            gained = now["masses"] * (velocities**2 - before**2)
            now["heat"] += stretch.kinetic * self._sums(gained).sum(dim=1)
        positions = positions + half * velocities
        energy, members = self._forces(positions)
        forces = members.mean(dim=0)
        after = {
            "positions": positions,
            "velocities": velocities + now["kick"] * forces,
            "energy": energy.mean(dim=0),
            "members": members,
        }
        for name, values in after.items():
            now[name].copy_(values)
            now[f"{name}_then"].index_copy_(0, now["step"], values[None])
        now["forces"].copy_(forces)
        now["step"] += 1

    def _sums(self, values: Tensor) -> Tensor:
        """Sum values of atoms ``[N, k]`` over each molecule, ``[B, k]``, in a fixed order."""
        return torch.where(self._there, values[self._atoms], 0.0).sum(dim=1)
