"""Forces of a batch of trajectories, from a committee of potentials or the reference engine."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from palirs.dynamics.device import DeviceMotion
from palirs.dynamics.motion import Motion
from palirs.engines import Engine, EngineFailure, Properties
from palirs.geometry.electrons import Electrons

if TYPE_CHECKING:
    from palirs.mace.forces.members import Evaluator


class ForceOutput(NamedTuple):
    """What a field returns for B trajectories with N atoms in all.

    Attributes
    ----------
    energy : Tensor
        Shape ``[B]`` [eV].
    forces : Tensor
        Shape ``[N, 3]`` [eV/Å].
    members : Tensor or None
        Shape ``[members, N, 3]`` [eV/Å], forces of each member of a committee.
    dipole : Tensor or None
        Shape ``[B, 3]`` [e·Å], of an engine.
    """

    energy: Tensor
    forces: Tensor
    members: Tensor | None = None
    dipole: Tensor | None = None


class Field(Protocol):
    """Forces as a function of the positions of a whole batch."""

    def __call__(self, positions: Tensor) -> ForceOutput:
        """Evaluate at positions ``[N, 3]`` [Å]."""
        ...

    @property
    def motion(self) -> Motion | DeviceMotion | None:
        """Runs many steps in one call, on the CPU or a device; ``None`` without compiled forces."""
        ...

    @property
    def failures(self) -> dict[int, str]:
        """Trajectories whose forces have failed, and why; what is returned for them is NaN."""
        ...

    @property
    def failed_permanently(self) -> set[int]:
        """Those of the :attr:`failures` that would fail again."""
        ...

    def only(self, trajectories: Sequence[int]) -> "Field":
        """Return the field of some of the trajectories."""
        ...

    def carried_state(self, trajectory: int) -> dict[str, np.ndarray]:
        """Return what the next evaluation of a trajectory depends on, besides its positions."""
        ...

    def restore(self, trajectory: int, values: dict[str, np.ndarray]) -> None:
        """Restore what :meth:`carried_state` returned, perhaps in another process."""
        ...


class CommitteeField:
    """Mean forces of a committee on a batch of molecules.

    Parameters
    ----------
    evaluator : Evaluator
        From :meth:`palirs.mace.Committee.evaluator`.
    """

    def __init__(self, evaluator: "Evaluator"):
        self.evaluator = evaluator
        self.motion: Motion | DeviceMotion | None = None
        if evaluator.compiled is not None:
            self.motion = Motion(*evaluator.compiled)
        elif evaluator.resident is not None:
            self.motion = DeviceMotion(evaluator.resident)

    def __call__(self, positions: Tensor) -> ForceOutput:
        """Evaluate every member at once."""
        energy, members = self.evaluator(positions)
        return ForceOutput(energy.mean(dim=0), members.mean(dim=0), members)

    @property
    def failures(self) -> dict[int, str]:
        """Empty: a committee does not fail."""
        return {}

    @property
    def failed_permanently(self) -> set[int]:
        """Empty."""
        return set()

    def only(self, trajectories: Sequence[int]) -> "CommitteeField":
        """Return the field of some of the trajectories."""
        return CommitteeField(self.evaluator.only(trajectories))

    def carried_state(self, trajectory: int) -> dict[str, np.ndarray]:
        """Return nothing: forces depend on the positions only."""
        return {}

    def restore(self, trajectory: int, values: dict[str, np.ndarray]) -> None:
        """Do nothing."""


class RingField:
    """Mean forces of a committee on every bead of a batch of ring polymers.

    Sums over members and beads are done in order: a reduction of torch may add in another order in
    the last columns of a wide batch, and a trajectory would depend on the others.

    Parameters
    ----------
    evaluator : Evaluator
        Of all first beads, then all second ones, and so on.
    beads : int
        P.
    trajectories : int
        B.
    """

    motion = None

    def __init__(self, evaluator: "Evaluator", beads: int, trajectories: int):
        self._evaluator, self.beads, self._trajectories = evaluator, beads, trajectories

    def __call__(self, positions: Tensor) -> ForceOutput:
        """Evaluate the beads at ``[beads, N, 3]`` [Å].

        The energy is the mean over the beads, ``[B]``; forces have shape ``[beads, N, 3]``, those
        of the members ``[beads, members, N, 3]``.
        """
        energy, members = self._evaluator(positions.reshape(-1, 3))
        count = len(members)
        energy = _in_order(_in_order(energy).reshape(self.beads, -1)) / (count * self.beads)
        forces = (_in_order(members) / count).reshape(positions.shape)
        on_beads = members.unflatten(1, positions.shape[:2]).movedim(0, 1)
        return ForceOutput(energy, forces, on_beads)

    @property
    def failures(self) -> dict[int, str]:
        """Empty: a committee does not fail."""
        return {}

    @property
    def failed_permanently(self) -> set[int]:
        """Empty."""
        return set()

    def only(self, trajectories: Sequence[int]) -> "RingField":
        """Return the field of some of the trajectories."""
        kept = [
            bead * self._trajectories + number
            for bead in range(self.beads)
            for number in trajectories
        ]
        return RingField(self._evaluator.only(kept), self.beads, len(trajectories))

    def carried_state(self, trajectory: int) -> dict[str, np.ndarray]:
        """Return nothing: forces depend on the positions only."""
        return {}

    def restore(self, trajectory: int, values: dict[str, np.ndarray]) -> None:
        """Do nothing."""


class EngineField:
    """Forces and dipoles of a reference engine, one molecule after the other.

    Each trajectory has its own calculator, so a calculation that starts from the previous one
    starts from the last step of the same trajectory, whatever else is in the batch.

    Parameters
    ----------
    engine : Engine
        Calculates energies, forces and dipoles.
    molecules : sequence of Atoms
        One per trajectory.
    """

    motion = None

    def __init__(self, engine: Engine, molecules: Sequence[Atoms]):
        self._engine = engine
        self._molecules = [
            Atoms(atoms.numbers, positions=atoms.positions, info=Electrons.of(atoms).info)
            for atoms in molecules
        ]
        self._calculators = [engine.start() for _ in molecules]
        self.failures: dict[int, str] = {}
        self.failed_permanently: set[int] = set()

    def __call__(self, positions: Tensor) -> ForceOutput:
        """Evaluate each trajectory; one whose engine fails gives NaN from then on."""
        pieces = positions.split([len(atoms) for atoms in self._molecules])
        results = [self._properties(number, piece.numpy()) for number, piece in enumerate(pieces)]
        return ForceOutput(
            energy=torch.tensor([result.energy for result in results], dtype=torch.float64),
            forces=torch.tensor(np.concatenate([result.forces for result in results])),
            dipole=torch.tensor(np.array([result.dipole for result in results])),
        )

    def _properties(self, number: int, positions: np.ndarray) -> Properties:
        if number not in self.failures:
            atoms = self._molecules[number]
            atoms.positions = positions
            try:
                return self._engine.run(self._calculators[number], atoms)
            except EngineFailure as failure:
                self.failures[number] = f"{self._engine.name} failed: {failure}"
                if failure.final:
                    self.failed_permanently.add(number)
        return Properties(np.nan, np.full(positions.shape, np.nan), np.full(3, np.nan))

    def only(self, trajectories: Sequence[int]) -> "EngineField":
        """Return the field of some of the trajectories, with their calculators."""
        some = EngineField.__new__(EngineField)
        some._engine = self._engine
        some._molecules = [self._molecules[i] for i in trajectories]
        some._calculators = [self._calculators[i] for i in trajectories]
        some.failures = {
            new: self.failures[old] for new, old in enumerate(trajectories) if old in self.failures
        }
        some.failed_permanently = {
            new for new, old in enumerate(trajectories) if old in self.failed_permanently
        }
        return some

    def carried_state(self, trajectory: int) -> dict[str, np.ndarray]:
        """Return what the calculator of a trajectory carries over from its last step."""
        return self._engine.carried(self._calculators[trajectory])

    def restore(self, trajectory: int, values: dict[str, np.ndarray]) -> None:
        """Restore what :meth:`carried_state` returned."""
        if values:
            self._engine.carry(self._calculators[trajectory], values)


def _in_order(values: Tensor) -> Tensor:
    """Sum over the first axis."""
    total = values[0].clone()
    for value in values[1:]:
        total += value
    return total
