"""The MACE potential: from an architecture and data to a module."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols

from palirs import keys
from palirs.mace.backend import (
    RealAgnosticInteractionBlock,
    RealAgnosticResidualInteractionBlock,
    ScaleShiftMACE,
    building,
    o3,
)
from palirs.mace.models.shape import Shape, of_data
from palirs.mace.settings import Architecture
from palirs.recipes import PalirsError


@dataclass(frozen=True, kw_only=True)
class PotentialShape(Shape):
    """Everything that fixes a potential but its weights.

    Attributes
    ----------
    atomic_energies : tuple of float
        E0 of each element [eV].
    scale : float
        [eV]: the RMS force of the data in eV/Å times 1 Å.
    mlp : int
        Width of the last read-out.
    envelope : int
        Order of the polynomial of the cutoff.
    """

    kind: ClassVar[str] = "potential"
    atomic_energies: tuple[float, ...]
    mlp: int = 16
    envelope: int = 5

    @classmethod
    def of(
        cls,
        frames: Sequence[Atoms],
        architecture: Architecture,
        energies: dict[str, float] | None = None,
    ) -> "PotentialShape":
        """Derive elements, scales and, unless given by symbol [eV], E0s from labelled frames."""
        values = of_data(frames, architecture)
        forces = np.concatenate([atoms.arrays[keys.FORCES].ravel() for atoms in frames])
        return cls(
            **values,
            atomic_energies=(
                fitted_energies(frames, values["elements"])
                if energies is None
                else given_energies(energies, values["elements"])
            ),
            scale=float(max(np.sqrt((forces**2).mean()), 1e-3)),
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
                interaction_cls_first=RealAgnosticResidualInteractionBlock
                if a.residual_first
                else RealAgnosticInteractionBlock,
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
    text = "+".join(
        f"{architecture.channels}x{order}{'eo'[order % 2]}"
        for order in range(architecture.max_L + 1)
    )
    return o3.Irreps(text)  # pyright: ignore[reportReturnType]


def fitted_energies(frames: Sequence[Atoms], elements: Sequence[int]) -> tuple[float, ...]:
    """Atomic energies E0 [eV], fitted to the total energies by :func:`least_norm`."""
    energies = np.array([atoms.info[keys.ENERGY] for atoms in frames])
    return tuple(map(float, least_norm(frames, elements, energies)))


def least_norm(
    frames: Sequence[Atoms], elements: Sequence[int], energies: np.ndarray
) -> np.ndarray:
    """Energy of each element [eV] whose sums are nearest to the energies of the frames.

    One molecule, or molecules of one composition, leave the problem singular; the solution of least
    norm is then taken, which still reproduces the mean energy of each composition, so that the
    network has only the differences to learn.
    """
    counts = np.array(
        [[(atoms.numbers == z).sum() for z in elements] for atoms in frames], dtype=float
    )
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
        raise PalirsError(
            f"training.atomic_energies: no energy of {', '.join(missing)}; "
            "give it, or atomic_energies=fitted"
        )
    return tuple(float(energies[chemical_symbols[z]]) for z in elements)
