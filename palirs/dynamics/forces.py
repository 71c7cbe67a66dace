"""Where the forces of a batch of trajectories come from: a committee of potentials, or the reference engine itself."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from palirs.dynamics.device import DeviceMotion
from palirs.dynamics.motion import Motion
from palirs.engines import Engine, EngineFailure, Properties

if TYPE_CHECKING:
    from palirs.mace.forces.members import Evaluator


class Found(NamedTuple):
    """Energy ``[B]`` [eV], forces ``[N, 3]`` [eV/Å]; of committees also ``[members, N, 3]``, of engines dipoles ``[B, 3]`` [e·Å]."""

    energy: Tensor
    forces: Tensor
    members: Tensor | None = None
    dipole: Tensor | None = None


class Field(Protocol):
    """Forces as a function of the positions of a whole batch."""

    def __call__(self, positions: Tensor) -> Found:
        """Evaluate at positions ``[N, 3]`` [Å]."""
        ...

    @property
    def motion(self) -> Motion | DeviceMotion | None:
        """What does many steps in one call of compiled code, if the forces come from such."""
        ...

    @property
    def failures(self) -> dict[int, str]:
        """Trajectories for which there are no forces any more, and why; what is returned for them is not a number."""
        ...

    @property
    def hopeless(self) -> set[int]:
        """Those among them that would fail again."""
        ...

    def only(self, trajectories: Sequence[int]) -> "Field":
        """Return the field of some of the trajectories."""
        ...

    def memory(self, trajectory: int) -> dict[str, np.ndarray]:
        """Return what the next evaluation of a trajectory depends on besides its positions."""
        ...

    def remember(self, trajectory: int, values: dict[str, np.ndarray]) -> None:
        """Take what :meth:`memory` returned, in another process perhaps."""
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

    def __call__(self, positions: Tensor) -> Found:
        """Evaluate every member at once."""
        energy, members = self.evaluator(positions)
        return Found(energy.mean(dim=0), members.mean(dim=0), members)

    @property
    def failures(self) -> dict[int, str]:
        """None: a committee always answers."""
        return {}

    @property
    def hopeless(self) -> set[int]:
        """None."""
        return set()

    def only(self, trajectories: Sequence[int]) -> "CommitteeField":
        """Return the field of some of the trajectories."""
        return CommitteeField(self.evaluator.only(trajectories))

    def memory(self, trajectory: int) -> dict[str, np.ndarray]:
        """Nothing."""
        return {}

    def remember(self, trajectory: int, values: dict[str, np.ndarray]) -> None:
        """Nothing."""


class EngineField:
    """Forces and dipoles of a reference engine, one molecule after the other.

    Each trajectory has a calculator of its own: one that starts from what it calculated last then
    starts from the trajectory's own last step, whatever else is in the batch.

    Parameters
    ----------
    engine : Engine
        What calculates.
    molecules : sequence of Atoms
        One per trajectory.
    """

    motion = None

    def __init__(self, engine: Engine, molecules: Sequence[Atoms]):
        self._engine = engine
        self._molecules = [Atoms(atoms.numbers, positions=atoms.positions) for atoms in molecules]
        self._calculators = [engine.start() for _ in molecules]
        self.failures: dict[int, str] = {}
        self.hopeless: set[int] = set()

    def __call__(self, positions: Tensor) -> Found:
        """Evaluate each trajectory; one whose engine fails has no numbers from then on."""
        pieces = positions.split([len(atoms) for atoms in self._molecules])
        found = [self._one(number, piece.numpy()) for number, piece in enumerate(pieces)]
        return Found(
            energy=torch.tensor([properties.energy for properties in found], dtype=torch.float64),
            forces=torch.tensor(np.concatenate([properties.forces for properties in found])),
            dipole=torch.tensor(np.array([properties.dipole for properties in found])),
        )

    def _one(self, number: int, positions: np.ndarray) -> Properties:
        if number not in self.failures:
            atoms = self._molecules[number]
            atoms.positions = positions
            try:
                return self._engine.run(self._calculators[number], atoms)
            except EngineFailure as failure:
                self.failures[number] = f"{self._engine.name} failed: {failure}"
                self.hopeless |= {number} if failure.final else set()
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
        some.hopeless = {new for new, old in enumerate(trajectories) if old in self.hopeless}
        return some

    def memory(self, trajectory: int) -> dict[str, np.ndarray]:
        """Return what the calculator of a trajectory keeps from its last step."""
        return self._engine.carried(self._calculators[trajectory])

    def remember(self, trajectory: int, values: dict[str, np.ndarray]) -> None:
        """Give it back."""
        if values:
            self._engine.carry(self._calculators[trajectory], values)
