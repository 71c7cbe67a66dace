"""A MACE dipole model in which every layer is read out and every parameter has a gradient.

The stock ``AtomicDipolesMACE`` keeps only vectors in its last layer, which leaves the gates of that
layer's read-out at zero and more than half of the weights without a gradient. Here both layers keep
scalars and vectors. Each layer gives every atom a vector and a latent charge; the charges are
shifted so that they sum to zero (an ion's dipole is about the mean of the positions, where a charge
that is spread evenly has none):

    μ = Σ_i (d_i + q_i r_i),   Σ_i q_i = 0.

The dipole of a translated molecule is therefore the same, and it turns with the molecule.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from ase import Atoms
from torch import Tensor, nn

from palirs import keys
from palirs.mace.backend import (
    EquivariantProductBasisBlock,
    LinearNodeEmbeddingBlock,
    NonLinearReadoutBlock,
    RadialEmbeddingBlock,
    RealAgnosticInteractionBlock,
    RealAgnosticResidualInteractionBlock,
    building,
    o3,
)
from palirs.mace.compiled import CompilerError, Kernel, UnsupportedError
from palirs.mace.forces.static import in_a_row
from palirs.mace.models.graphs import graph, species
from palirs.mace.models.potential import hidden_irreps
from palirs.mace.models.shape import Shape, of_data
from palirs.mace.settings import Architecture
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DipoleShape(Shape):
    """Everything that fixes a dipole model but its weights; ``max_L`` counts as at least 1."""

    kind: ClassVar[str] = "dipole"

    @classmethod
    def of(cls, frames: Sequence[Atoms], architecture: Architecture) -> "DipoleShape":
        """Derive elements and scales from labelled frames."""
        dipoles = np.array([atoms.info[keys.DIPOLE] / np.sqrt(len(atoms)) for atoms in frames])
        return cls(
            **of_data(frames, architecture), scale=float(max(np.sqrt((dipoles**2).mean()), 1e-3))
        )

    def build(self) -> "DipoleNetwork":
        """Make the module with fresh weights drawn from torch's global generator."""
        with building(self.architecture.dtype):
            return DipoleNetwork(self)


class DipoleNetwork(nn.Module):
    """MACE layers with a vector and a charge read out of each (see the module's description)."""

    def __init__(self, shape: DipoleShape):
        super().__init__()
        a = shape.architecture
        hidden = hidden_irreps(a) if a.max_L else hidden_irreps(a) + o3.Irreps(f"{a.channels}x1o")
        attributes, scalars = o3.Irreps(f"{len(shape.elements)}x0e"), o3.Irreps(f"{a.channels}x0e")
        edge = o3.Irreps.spherical_harmonics(a.max_ell)
        messages = (edge * a.channels).sort()[0].simplify()
        self.scale = shape.scale
        self.embedding = LinearNodeEmbeddingBlock(attributes, scalars)
        self.radial = RadialEmbeddingBlock(a.cutoff, a.bessel, 5)
        self.spherical = o3.SphericalHarmonics(edge, normalize=True, normalization="component")
        self.interactions, self.products, self.vectors, self.charges = (
            nn.ModuleList() for _ in range(4)
        )
        before = scalars
        for layer in range(a.layers):
            after = hidden
            if layer == a.layers - 1:  # higher orders would not be read out
                after = o3.Irreps(f"{a.channels}x0e+{a.channels}x1o")
            residual = layer > 0 or a.residual_first
            block = (
                RealAgnosticResidualInteractionBlock if residual else RealAgnosticInteractionBlock
            )
            self.interactions.append(
                block(
                    node_attrs_irreps=attributes,
                    node_feats_irreps=before,
                    edge_attrs_irreps=edge,
                    edge_feats_irreps=o3.Irreps(f"{a.bessel}x0e"),
                    target_irreps=messages,
                    hidden_irreps=after,
                    avg_num_neighbors=shape.mean_neighbours,
                    radial_MLP=list(a.radial_mlp),
                )
            )
            self.products.append(
                EquivariantProductBasisBlock(
                    messages,
                    after,
                    a.correlation,
                    use_sc=residual,
                    num_elements=len(shape.elements),
                )
            )
            self.vectors.append(o3.Linear(after, o3.Irreps("1x1o")))
            self.charges.append(
                NonLinearReadoutBlock(after, o3.Irreps("16x0e"), nn.functional.silu)
            )
            before = after

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the dipole of each molecule, ``[B, 3]`` [e·Å]."""
        positions, system = inputs["positions"], inputs["batch"]
        sender, receiver = inputs["edge_index"]
        molecules = inputs["ptr"].numel() - 1
        arms = positions[receiver] - positions[sender]
        lengths = torch.linalg.norm(arms, dim=-1, keepdim=True)
        attributes = self.spherical(arms)
        radial, cutoff = self.radial(lengths, inputs["node_attrs"], inputs["edge_index"], None)
        features, of_layers = self.embedding(inputs["node_attrs"]), []
        for interaction, product in zip(self.interactions, self.products, strict=True):
            features, skip = interaction(
                node_attrs=inputs["node_attrs"],
                node_feats=features,
                edge_attrs=attributes,
                edge_feats=radial,
                edge_index=inputs["edge_index"],
                cutoff=cutoff,
            )
            features = product(node_feats=features, sc=skip, node_attrs=inputs["node_attrs"])
            of_layers.append(features)
        return self.read(of_layers, positions, system, molecules)

    def read(
        self, of_layers: Sequence[Tensor], positions: Tensor, system: Tensor, molecules: int
    ) -> Tensor:
        """Return the dipoles from the features of every layer, each ``[N, irreps]``."""
        vectors, charges = torch.zeros_like(positions), torch.zeros_like(positions[:, 0])
        for features, vector, charge in zip(of_layers, self.vectors, self.charges, strict=True):
            vectors = vectors + vector(features)
            charges = charges + charge(features)[:, 0]
        neutral = charges - _mean_of_each(charges[:, None], system, molecules)[system, 0]
        centred = positions - _mean_of_each(positions, system, molecules)[system]
        atomic = self.scale * (vectors + neutral[:, None] * centred)
        return atomic.new_zeros(molecules, 3).index_add(0, system, atomic)


def _mean_of_each(values: Tensor, system: Tensor, molecules: int) -> Tensor:
    sums = values.new_zeros(molecules, values.shape[1]).index_add(0, system, values)
    counts = values.new_zeros(molecules).index_add(0, system, torch.ones_like(values[:, 0]))
    return sums / counts[:, None]


class DipoleModel:
    """A trained dipole model, or several that differ by seed, ready to evaluate.

    Parameters
    ----------
    *members : pairs of DipoleShape and DipoleNetwork
        Architecture and scales, and the weights.
    """

    def __init__(self, *members: tuple[DipoleShape, DipoleNetwork]):
        self.shapes = [shape for shape, _ in members]
        self.networks = [network.eval() for _, network in members]
        if len({shape.elements for shape in self.shapes}) != 1:
            raise PalirsError(
                "the members of a committee of dipole models must know the same elements"
            )
        for network in self.networks:
            network.requires_grad_(False)

    def __len__(self) -> int:
        return len(self.networks)

    @cached_property
    def kernel(self) -> Kernel | None:
        """The layers as compiled code, or ``None`` where that cannot be had."""
        try:
            return Kernel(self.networks)
        except (CompilerError, UnsupportedError) as problem:
            log.warning("dipoles take the slower path, MACE's own code: %s", problem)
            return None

    def evaluate(self, frames: Sequence[Atoms], batch_atoms: int = 1500) -> np.ndarray:
        """Return dipoles of the frames, ``[members, B, 3]`` [e·Å]."""
        parts = in_a_row([atoms.numbers for atoms in frames], range(len(frames)), batch_atoms)
        dipoles = [
            self.of_positions(
                [frames[i].numbers for i in part], [frames[i].positions for i in part]
            )
            for part in parts
        ]
        return np.concatenate(dipoles, axis=1)

    @torch.no_grad()
    def of_positions(
        self, numbers: Sequence[np.ndarray], positions: Sequence[np.ndarray]
    ) -> np.ndarray:
        """Return dipoles ``[members, B, 3]`` [e·Å] of one batch given as arrays."""
        elements, counts = self.shapes[0].elements, [len(z) for z in numbers]
        centred = np.concatenate([x - x.mean(axis=0) for x in positions])
        if self.kernel is not None:
            return self.kernel.batch(species(numbers, elements), counts).dipoles(centred)
        types = [getattr(torch, shape.architecture.dtype) for shape in self.shapes]
        dipoles = [
            network(graph(numbers, elements, dtype).inputs(torch.tensor(centred, dtype=dtype)))
            for network, dtype in zip(self.networks, types, strict=True)
        ]
        return torch.stack(dipoles).double().numpy()
