"""Ring polymers: each atom is a ring of beads on springs, which has the statistics of its nucleus.

Thermostatted ring-polymer MD (Rossi, Ceriotti and Manolopoulos 2014, doi:10.1063/1.4883861),
integrated by BCOCB (Korol, Rosa-Raices, Bou-Rabee and Miller 2020, doi:10.1063/1.5134810).

The beads x_j of P are held as the modes a_k of the free ring, x_j = Σ_k T_jk a_k and
a_k = (1/P) Σ_j T_jk x_j, with T_j0 = 1, √2 cos(2πjk/P) for 0 < k < P/2, (−1)^j for k = P/2 and
√2 sin(2πjk/P) above. T/√P is orthogonal; in this scale a_0 is the centroid, each mode has the mass
of its atom and the temperature of the study, its force is f_k = (1/P) Σ_j T_jk F_j, and

    H = Σ_k (m v_k²/2 + m ω_k² a_k²/2) + (1/P) Σ_j V(x_j),   ω_k = 2 (P k_B T/ħ) sin(kπ/P),

is the Hamiltonian of the ring over P. Sums over beads and modes are done one after the other: a
reduction of torch may add in another order in the last columns of a wide batch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from palirs.dynamics.forces import Field, RingField
from palirs.dynamics.noise import Noise
from palirs.dynamics.state import State, degrees_of_freedom, without_drift
from palirs.units import BOLTZMANN, CM1_PER_EV, EV_PER_AMU_A2_FS2, HBAR

DAMPING = 0.5
"""λ: the friction of a mode is 2λω_k, critical for the free ring at 1. Rossi et al. take 0.5."""


@dataclass(frozen=True)
class Ring:
    """Modes of the ring polymers of B trajectories with N atoms in all.

    Attributes
    ----------
    positions, velocities, forces : Tensor
        a_k, v_k, f_k; shape ``[beads, N, 3]`` [Å], [Å/fs], [eV/Å].
    counts : tuple of int
        Atoms of each trajectory.
    members : Tensor or None
        Shape ``[beads, members, N, 3]`` [eV/Å], forces of each member on each bead; ``None`` after
        a restart, until the next step.
    """

    positions: Tensor
    velocities: Tensor
    forces: Tensor
    counts: tuple[int, ...]
    members: Tensor | None = None

    @property
    def beads(self) -> Tensor:
        """Positions of the beads, ``[beads, N, 3]`` [Å]."""
        return beads_of(self.positions)

    def only(self, trajectories: Sequence[int]) -> "Ring":
        """Return the rings of some of the trajectories."""
        pieces = torch.arange(sum(self.counts)).split(self.counts)
        atoms = torch.cat([pieces[i] for i in trajectories])
        return Ring(
            self.positions[:, atoms],
            self.velocities[:, atoms],
            self.forces[:, atoms],
            tuple(self.counts[i] for i in trajectories),
            None if self.members is None else self.members[:, :, atoms],
        )

    def values(self, trajectory: int) -> dict[str, np.ndarray]:
        """Return the arrays of a trajectory, for :meth:`restored`."""
        return {
            f"ring_{name}": getattr(self, name).split(self.counts, dim=1)[trajectory].numpy()
            for name in ("positions", "velocities", "forces")
        }

    @classmethod
    def restored(cls, values: Sequence[dict[str, np.ndarray]], counts: tuple[int, ...]) -> "Ring":
        """Return the rings of trajectories from the :meth:`values` of each."""
        positions, velocities, forces = (
            torch.tensor(np.concatenate([each[f"ring_{name}"] for each in values], axis=1))
            for name in ("positions", "velocities", "forces")
        )
        return cls(positions, velocities, forces, counts)


def initial_rings(
    molecules: Sequence[Atoms],
    field: RingField,
    temperature: Tensor,
    noise: Noise,
    centroids: Tensor | None = None,
    before: Sequence[tuple[np.ndarray | None, np.ndarray | None]] = (),
) -> tuple[State, Ring]:
    """Return centroids and rings at the start: all beads in one place, modes with thermal momenta.

    The rings open within femtoseconds, as the modes have frictions of the order of ω_k. Beads drawn
    from the free ring, which does not know of the bonds, would spread a hydrogen atom over 0.12 Å
    in each direction at 300 K, twice as far as along O-H, where no model has seen it.

    Parameters
    ----------
    molecules : sequence of Atoms
        One per trajectory.
    field : RingField
        Forces of the batch.
    temperature : Tensor
        Shape ``[B]`` [K].
    noise : Noise
        Of ``beads`` × atoms of each trajectory.
    centroids : Tensor, optional
        Shape ``[B]`` [K], of the velocities of the centroids, if it is another one.
    before : sequence, optional
        Modes [Å] and velocities [Å/fs], ``[beads, atoms, 3]``, of trajectories that are continued;
        velocities ``[atoms, 3]`` are those of centroids. ``None``: in one place, or drawn.
    """
    counts = tuple(len(atoms) for atoms in molecules)
    system = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    masses = torch.tensor(np.concatenate([atoms.get_masses() for atoms in molecules]))[:, None]
    positions = torch.tensor(np.concatenate([atoms.positions for atoms in molecules]))
    warmth = temperature.expand(field.beads, -1).clone()
    warmth[0] = temperature if centroids is None else centroids
    velocities = _by_mode(noise.draw(), field.beads, counts) * torch.sqrt(
        BOLTZMANN * warmth[:, system, None] / (masses * EV_PER_AMU_A2_FS2)
    )
    velocities[0] = without_drift(velocities[0], masses, system, len(counts))
    modes = torch.zeros_like(velocities)
    modes[0] = positions
    ends = np.cumsum(counts).tolist()
    for (given, moving), end, count in zip(before, ends, counts, strict=False):
        own = slice(end - count, end)
        if given is not None:
            modes[:, own] = torch.tensor(given)
        if moving is not None:
            known = torch.tensor(moving).reshape(-1, count, 3)
            velocities[: len(known), own] = known
    output = field(beads_of(modes))
    ring = Ring(modes, velocities, modes_of(output.forces), counts, output.members)
    state = State(
        positions=modes[0],
        velocities=velocities[0],
        forces=ring.forces[0],
        energy=output.energy,
        members=None,
        dipole=None,
        heat=torch.zeros(len(counts), dtype=torch.float64),
        masses=masses,
        system=system,
        counts=counts,
    )
    return state, ring


def ring_polymer(
    state: State,
    ring: Ring,
    field: Field,
    noise: Noise,
    timestep: float,
    friction: float,
    temperature: Tensor,
) -> tuple[State, Ring]:
    """Advance the ring polymers of every trajectory by one step.

    B: v_k ← v_k + (Δt/2) f_k/m. C: half a step of the free ring by the square root of the Cayley
    transform, a_k ← c a_k + s v_k and v_k ← c v_k − ω_k² s a_k, with c = 2/√(4 + ω_k²Δt²) and
    s = Δt/√(4 + ω_k²Δt²), which conserves its energy. O: v_k ← d_k v_k + sqrt((1 − d_k²) k_B T/m) ξ
    with d_k = exp(−γ_k Δt), γ_k = 2λω_k, and the friction of Langevin dynamics for the centroid,
    whose centre of mass stays at rest. Then C, new forces and B. With one bead this is
    :func:`palirs.dynamics.langevin`.

    Parameters
    ----------
    state : State
        Centroids before the step: the first mode, the mean energy and the heat.
    ring : Ring
        All modes before the step.
    field : Field
        A :class:`RingField`.
    noise : Noise
        ξ, one stream per trajectory, of ``beads`` × atoms.
    timestep : float
        Δt [fs].
    friction : float
        Of the centroids [ps⁻¹]; 0 leaves them to themselves.
    temperature : Tensor
        Shape ``[B]`` [K].
    """
    inertia, system = state.masses * EV_PER_AMU_A2_FS2, state.system
    kick = 0.5 * timestep / inertia
    omega = frequencies(len(ring.positions), temperature)
    turn = _turn(omega, timestep, system)
    velocities = ring.velocities + kick * ring.forces
    positions, before = _half_free(ring.positions, velocities, *turn)
    rate = 2 * DAMPING * omega
    rate[0] = 1e-3 * friction
    damping = _exp(-timestep * rate)[:, system, None]
    width = torch.sqrt((1 - damping**2) * BOLTZMANN * temperature[system][:, None] / inertia)
    velocities = damping * before + width * _by_mode(noise.draw(), len(omega), ring.counts)
    if friction > 0:
        velocities[0] = without_drift(velocities[0], state.masses, system, len(ring.counts))
    heat = state.heat + _kinetic(state, velocities) - _kinetic(state, before)
    positions, velocities = _half_free(positions, velocities, *turn)
    output = field(beads_of(positions))
    forces = modes_of(output.forces)
    velocities = velocities + kick * forces
    centroid = replace(
        state,
        positions=positions[0],
        velocities=velocities[0],
        forces=forces[0],
        energy=output.energy,
        heat=heat,
    )
    return centroid, Ring(positions, velocities, forces, ring.counts, output.members)


def ring_energy(state: State, ring: Ring, temperature: Tensor) -> Tensor:
    """Return H of the module's description less the heat of the thermostats, ``[B]`` [eV]."""
    omega = frequencies(len(ring.positions), temperature)[:, state.system, None]
    springs = _kinetic(state, omega * ring.positions)
    return state.energy + _kinetic(state, ring.velocities) + springs - state.heat


def virial_kinetic_energy(state: State, ring: Ring, temperature: Tensor) -> Tensor:
    """Return the centroid virial estimator of the kinetic energy of the nuclei, ``[B]`` [eV].

    (3N − 3)/2 k_B T − (1/2P) Σ_j (x_j − x̄)·F_j, where the last sum is P Σ_{k>0} a_k·f_k (Herman,
    Bruskin and Berne 1982, doi:10.1063/1.442815). The centre of mass counts as at rest.
    """
    product = (ring.positions[1:] * ring.forces[1:]).sum(dim=-1)
    return 0.5 * degrees_of_freedom(state) * BOLTZMANN * temperature - 0.5 * _per_trajectory(
        state, product
    )


def kinetic_share(beads: int, wavenumber: float, temperature: float) -> float:
    """Return which share of an oscillator's quantum kinetic energy P beads have.

    (k_B T/2) Σ_k ω²/(ω² + ω_k²) over (ħω/4) coth(ħω/2k_B T).

    Parameters
    ----------
    beads : int
        P.
    wavenumber : float
        ω/2πc [cm⁻¹].
    temperature : float
        [K].
    """
    thermal, quantum = BOLTZMANN * temperature, wavenumber / CM1_PER_EV
    ring = HBAR * frequencies(beads, torch.tensor([temperature], dtype=torch.float64))[:, 0]
    finite = 0.5 * thermal * float((quantum**2 / (quantum**2 + ring**2)).sum())
    return finite / (0.25 * quantum / math.tanh(0.5 * quantum / thermal))


def frequencies(beads: int, temperature: Tensor) -> Tensor:
    """Return ω_k = 2 (P k_B T/ħ) sin(kπ/P), ``[beads, B]`` [rad/fs]."""
    sines = torch.tensor([math.sin(k * math.pi / beads) for k in range(beads)], dtype=torch.float64)
    return (2 * beads * BOLTZMANN / HBAR) * sines[:, None] * temperature


@cache
def transform(beads: int) -> np.ndarray:
    """Return T of the module's description, ``[beads, modes]``."""
    j, k = np.arange(beads)[:, None], np.arange(beads)
    angle = 2 * np.pi * (j * k % beads) / beads
    wave = np.sqrt(2) * np.where(2 * k < beads, np.cos(angle), np.sin(angle))
    wave = np.where(2 * k == beads, 1.0 - 2.0 * (j % 2), wave)
    return np.where(k == 0, 1.0, wave)


@cache
def _columns(beads: int, inverse: bool) -> list[np.ndarray]:
    """Return the columns of T or of its inverse, Tᵀ/P, each ``[beads, 1, 1]``."""
    matrix = transform(beads).T / beads if inverse else transform(beads)
    return [np.ascontiguousarray(column)[:, None, None] for column in matrix.T]


def beads_of(modes: Tensor) -> Tensor:
    """Return the positions of beads from those of modes, both ``[beads, N, 3]``."""
    return _product(_columns(len(modes), inverse=False), modes)


def modes_of(beads: Tensor) -> Tensor:
    """Return the positions of modes from those of beads, or their forces, ``[beads, N, 3]``."""
    return _product(_columns(len(beads), inverse=True), beads)


def _product(columns: Sequence[np.ndarray], values: Tensor) -> Tensor:
    """Return a matrix, given by its columns, times ``values`` ``[beads, N, 3]``, in order."""
    vectors, part = values.numpy(), np.empty(values.shape)
    total = columns[0] * vectors[0]
    for column, vector in zip(columns[1:], vectors[1:], strict=True):
        total += np.multiply(column, vector, out=part)
    return torch.from_numpy(total)


def _turn(omega: Tensor, timestep: float, system: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return c, s and ω²s of half a free step, ``[beads, N, 1]``."""
    length = torch.sqrt(4 + (omega * timestep) ** 2)
    cosine, sine = 2 / length, timestep / length
    back = omega**2 * sine
    return cosine[:, system, None], sine[:, system, None], back[:, system, None]


def _half_free(
    positions: Tensor, velocities: Tensor, cosine: Tensor, sine: Tensor, back: Tensor
) -> tuple[Tensor, Tensor]:
    return cosine * positions + sine * velocities, cosine * velocities - back * positions


def _exp(values: Tensor) -> Tensor:
    """Return the exponential ``[beads, B]``, each number as if it were alone."""
    exponentials = [[math.exp(value) for value in row] for row in values.tolist()]
    return torch.tensor(exponentials, dtype=torch.float64)


def _by_mode(drawn: Tensor, beads: int, counts: Sequence[int]) -> Tensor:
    """Return noise ``[beads × N, 3]``, trajectory after trajectory, as ``[beads, N, 3]``."""
    pieces = drawn.split([beads * count for count in counts])
    return torch.cat([piece.reshape(beads, -1, 3) for piece in pieces], dim=1)


def _kinetic(state: State, velocities: Tensor) -> Tensor:
    """Return Σ m v²/2 over atoms and modes, ``[B]`` [eV]."""
    return _per_trajectory(
        state, 0.5 * EV_PER_AMU_A2_FS2 * (state.masses * velocities**2).sum(dim=-1)
    )


def _per_trajectory(state: State, values: Tensor) -> Tensor:
    """Sum values ``[modes, N]`` over modes and the atoms of each trajectory, ``[B]``."""
    index = state.system.repeat(len(values))
    return values.new_zeros(len(state.counts)).index_add(0, index, values.reshape(-1))
