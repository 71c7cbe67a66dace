"""What every model says of itself beside its weights."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from ase import Atoms

from palirs.mace.models.graphs import mean_neighbours
from palirs.mace.settings import Architecture


@dataclass(frozen=True, kw_only=True)
class Shape(ABC):
    """Everything that fixes a model but its weights; written as JSON beside them.

    Attributes
    ----------
    architecture : Architecture
        Size of the model.
    elements : tuple of int
        Atomic numbers it knows, ascending.
    scale : float
        Unit of what an atom contributes: of its interaction energy [eV], or of its dipole [e·Å].
    mean_neighbours : float
        Normalisation of the messages.
    """

    kind: ClassVar[str]
    architecture: Architecture
    elements: tuple[int, ...]
    scale: float
    mean_neighbours: float

    def as_dict(self) -> dict:
        """Return plain JSON types."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict) -> Self:
        """Rebuild from :meth:`as_dict`."""
        plain = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
            if name != "kind"
        }
        return cls(**{**plain, "architecture": Architecture(**values["architecture"])})

    @abstractmethod
    def build(self) -> Any:
        """Make the module with fresh weights drawn from torch's global generator."""


def of_data(frames: Sequence[Atoms], architecture: Architecture) -> dict[str, Any]:
    """Return architecture, elements and mean number of neighbours for a shape that is to learn these frames."""
    return {
        "architecture": architecture,
        "elements": tuple(sorted({int(z) for atoms in frames for z in atoms.numbers})),
        "mean_neighbours": mean_neighbours(
            [atoms.positions for atoms in frames], architecture.cutoff
        ),
    }
