"""The description of a model beside its weights, and modules made from it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, ClassVar, Self, TypedDict, TypeVar

import torch
from ase import Atoms
from torch import nn

from palirs.mace.models.graphs import mean_neighbours
from palirs.mace.settings import Architecture

Module = TypeVar("Module", bound=nn.Module)


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
    def build(self) -> nn.Module:
        """Make the module with fresh weights drawn from torch's global generator."""

    def unfilled(self) -> nn.Module:
        """Return a module of this shape whose weights are still to be set.

        Building takes e3nn half a second (coupling coefficients, generated code); it is done once
        per process and shape, and copied.
        """
        return copy_module(_template(self))


@lru_cache(maxsize=16)
def _template(shape: Shape) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # its random weights are never used
        return shape.build()


def copy_module(module: Module) -> Module:
    """Return a copy with tensors of its own that shares the generated code.

    :func:`copy.deepcopy` compiles e3nn's generated code to TorchScript on the way, which takes as
    long as building the module.
    """
    copies: dict[int, Any] = {}

    def copied(original: Any) -> Any:
        if original is None or id(original) in copies:
            return copies.get(id(original))
        if isinstance(original, nn.Module):
            copy = object.__new__(type(original))
            copy.__dict__.update(original.__dict__)
            for kind in ("_parameters", "_buffers", "_modules"):
                parts = getattr(original, kind)
                copy.__dict__[kind] = type(parts)((name, copied(p)) for name, p in parts.items())
        elif isinstance(original, nn.Parameter):
            copy = nn.Parameter(original.detach().clone(), original.requires_grad)
        else:
            copy = original.clone()
        copies[id(original)] = copy
        return copy

    return copied(module)


class OfData(TypedDict):
    """What a shape derives from its training data."""

    architecture: Architecture
    elements: tuple[int, ...]
    mean_neighbours: float


def of_data(frames: Sequence[Atoms], architecture: Architecture) -> OfData:
    """Return architecture, elements and mean number of neighbours for training on these frames."""
    return {
        "architecture": architecture,
        "elements": tuple(sorted({int(z) for atoms in frames for z in atoms.numbers})),
        "mean_neighbours": mean_neighbours(
            [atoms.positions for atoms in frames], architecture.cutoff
        ),
    }
