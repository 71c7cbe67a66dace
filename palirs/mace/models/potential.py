"""The MACE potential: from an architecture and data to a module, and its training objective."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from torch import Tensor

from palirs import keys
from palirs.mace.backend import RealAgnosticInteractionBlock, RealAgnosticResidualInteractionBlock, ScaleShiftMACE, building, o3
from palirs.mace.compiled import TrainingBatch
from palirs.mace.models.graphs import Graph, mean_neighbours
from palirs.mace.settings import Architecture, Training
from palirs.recipes import PalirsError


@dataclass(frozen=True)
class PotentialShape:
    """Everything that fixes a potential but its weights; written as JSON beside them.

    Attributes
    ----------
    architecture : Architecture
        Size of the model.
    elements : tuple of int
        Atomic numbers it knows, ascending.
    atomic_energies : tuple of float
        E0 of each element [eV].
    scale : float
        Unit of the interaction energy of an atom [eV]: the RMS force of the data in eV/Å times 1 Å.
    mean_neighbours : float
        Normalisation of the messages.
    mlp : int
        Width of the last read-out.
    envelope : int
        Order of the polynomial of the cutoff.
    """

    architecture: Architecture
    elements: tuple[int, ...]
    atomic_energies: tuple[float, ...]
    scale: float
    mean_neighbours: float
    kind: str = "potential"
    mlp: int = 16
    envelope: int = 5

    @classmethod
    def of(cls, frames: Sequence[Atoms], architecture: Architecture, energies: dict[str, float] | None = None) -> "PotentialShape":
        """Derive elements, scales and, unless given by symbol [eV], E0s from labelled frames."""
        elements = tuple(sorted({int(z) for atoms in frames for z in atoms.numbers}))
        forces = np.concatenate([atoms.arrays[keys.FORCES].ravel() for atoms in frames])
        return cls(
            architecture=architecture,
            elements=elements,
            atomic_energies=fitted_energies(frames, elements) if energies is None else given_energies(energies, elements),
            scale=float(max(np.sqrt((forces**2).mean()), 1e-3)),
            mean_neighbours=mean_neighbours([atoms.positions for atoms in frames], architecture.cutoff),
        )

    def as_dict(self) -> dict:
        """Return plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "PotentialShape":
        """Rebuild from :meth:`as_dict`."""
        return cls(
            **{
                **values,
                "architecture": Architecture(**values["architecture"]),
                "elements": tuple(values["elements"]),
                "atomic_energies": tuple(values["atomic_energies"]),
            }
        )

    def build(self) -> ScaleShiftMACE:
        """Make the module with fresh weights drawn from torch's global generator."""
        a = self.architecture
        with building(a.dtype):
            return ScaleShiftMACE(
                atomic_inter_scale=self.scale,
                atomic_inter_shift=0.0,
                r_max=a.cutoff,
                num_bessel=a.bessel,
                num_polynomial_cutoff=self.envelope,
                max_ell=a.max_ell,
                interaction_cls=RealAgnosticResidualInteractionBlock,
                interaction_cls_first=RealAgnosticResidualInteractionBlock if a.residual_first else RealAgnosticInteractionBlock,
                num_interactions=a.layers,
                num_elements=len(self.elements),
                hidden_irreps=hidden_irreps(a),
                MLP_irreps=o3.Irreps(f"{self.mlp}x0e"),
                atomic_energies=np.array([self.atomic_energies]),
                avg_num_neighbors=self.mean_neighbours,
                atomic_numbers=list(self.elements),
                correlation=a.correlation,
                gate=torch.nn.functional.silu,
                radial_MLP=list(a.radial_mlp),
            )


def hidden_irreps(architecture: Architecture) -> "o3.Irreps":
    """Irreps of the messages: ``channels`` of each order up to ``max_L`` with natural parity."""
    text = "+".join(f"{architecture.channels}x{order}{'eo'[order % 2]}" for order in range(architecture.max_L + 1))
    return o3.Irreps(text)  # pyright: ignore[reportReturnType]


def fitted_energies(frames: Sequence[Atoms], elements: Sequence[int]) -> tuple[float, ...]:
    """Atomic energies E0 [eV] by least squares of the total energies on the compositions, see :func:`least_norm`."""
    return tuple(map(float, least_norm(frames, elements, np.array([atoms.info[keys.ENERGY] for atoms in frames]))))


def least_norm(frames: Sequence[Atoms], elements: Sequence[int], energies: np.ndarray) -> np.ndarray:
    """Energy of each element [eV] whose sums are nearest to the energies of the frames.

    One molecule, or molecules of one composition, leave the problem singular; the solution of least norm is then taken, which still
    reproduces the mean energy of each composition, so that the network has only the differences to learn.
    """
    counts = np.array([[(atoms.numbers == z).sum() for z in elements] for atoms in frames], dtype=float)
    return np.linalg.lstsq(counts, energies, rcond=1e-10)[0]


def given_energies(energies: dict[str, float], elements: Sequence[int]) -> tuple[float, ...]:
    """Atomic energies E0 [eV] by symbol, in the order of the elements.

    Raises
    ------
    PalirsError
        If an element is missing.
    """
    missing = [chemical_symbols[z] for z in elements if chemical_symbols[z] not in energies]
    if missing:
        raise PalirsError(f"training.atomic_energies: no energy of {', '.join(missing)}; give it, or atomic_energies=fitted")
    return tuple(float(energies[chemical_symbols[z]]) for z in elements)


@dataclass
class PotentialObjective:
    """Loss and errors of a potential on labelled frames."""

    shape: PotentialShape
    training: Training

    def targets(self, frames: Sequence[Atoms], dtype: torch.dtype) -> dict[str, list[Tensor]]:
        """Return interaction energies (total minus E0) and forces of each frame."""
        e0 = dict(zip(self.shape.elements, self.shape.atomic_energies, strict=True))
        energy = [atoms.info[keys.ENERGY] - sum(e0[int(z)] for z in atoms.numbers) for atoms in frames]
        return {
            "energy": [torch.tensor([e], dtype=dtype) for e in energy],
            "forces": [torch.tensor(atoms.arrays[keys.FORCES], dtype=dtype) for atoms in frames],
        }

    def predict(self, model: ScaleShiftMACE, graph: Graph, positions: Tensor, training: bool) -> dict[str, Tensor]:
        """Return interaction energies ``[B]`` [eV] and forces ``[N, 3]`` [eV/Å] by MACE's own code."""
        out = model(graph.inputs(positions.detach().requires_grad_(True)), training=training)
        return {"energy": out["interaction_energy"], "forces": out["forces"]}

    def predict_compiled(
        self, model: ScaleShiftMACE, batch: TrainingBatch, positions: np.ndarray
    ) -> tuple[dict[str, Tensor], Callable[[], np.ndarray]]:
        """Return the same by compiled code, and a function that gives the gradient after ``backward``."""
        energy, forces = (torch.from_numpy(values).requires_grad_(True) for values in batch.forces(positions))

        def gradient() -> np.ndarray:
            by_energy, by_forces = (torch.zeros_like(x) if x.grad is None else x.grad for x in (energy, forces))
            return batch.forces_back(positions, by_energy.numpy(), by_forces.numpy())

        return {"energy": energy, "forces": forces}, gradient

    def errors(self, predictions: dict[str, Tensor], targets: dict[str, Tensor], counts: Tensor) -> dict[str, Tensor]:
        """Return the deviations: energy per atom ``[B]`` [eV] and forces ``[N, 3]`` [eV/Å]."""
        return {
            "energy": (predictions["energy"] - targets["energy"]) / counts,
            "forces": predictions["forces"] - targets["forces"],
        }

    def loss(self, errors: dict[str, Tensor], late: bool = False) -> Tensor:
        """Weighted errors of energy per atom and forces, see :class:`Training`; ``late`` takes the weights of the second stage."""
        stage = self.training.second_stage if late and self.training.second_stage else self.training
        energy, forces = errors["energy"], errors["forces"]
        return stage.energy_weight * norm(energy[:, None], self.training) + stage.forces_weight * norm(forces, self.training)


def norm(errors: Tensor, training: Training) -> Tensor:
    """Mean of the deviations ``[n, components]`` in the norm of the loss."""
    if training.loss == "mse":
        return (errors**2).mean()
    if training.loss == "huber":
        return torch.nn.functional.huber_loss(errors, torch.zeros_like(errors), delta=training.huber_delta)
    return errors.abs().mean() if errors.shape[1] == 1 else length(errors).mean()


def length(vectors: Tensor) -> Tensor:
    """Length of each vector, smooth at zero (within 1e-4 of the unit)."""
    return torch.sqrt((vectors**2).sum(dim=-1) + 1e-8)
