"""The many-body tensor representation of structures, invariant to rotation and atom order."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from dscribe.core.system import System
from dscribe.descriptors import MBTR

TERMS = (
    ("inverse_distance", (0.0, 1.2), 0.02, 0.5),
    ("cosine", (-1.0, 1.0), 0.05, 0.5),
)
"""Distributed function, range, broadening, and decay of the weight with length [1/Å]."""
POINTS = 100
"""Number of grid points of each distribution."""
NEGLIGIBLE = 1e-3
"""Weight below which pairs and triples are left out."""


def _system(atoms: Atoms) -> System:
    """Return a structure as dscribe has it.

    Its own function passes arguments to ASE by position, between which ASE 3.27 put a new one:
    https://github.com/SINGROUP/dscribe/issues/165, open as of dscribe 2.1.2.
    """
    plain = System.__new__(System)
    Atoms.__init__(plain, numbers=atoms.numbers, positions=atoms.positions)
    plain.wyckoff_positions = plain.equivalent_atoms = None
    plain._cell_inverse = plain._displacement_tensor = plain._distance_matrix = (
        plain._inverse_distance_matrix
    ) = None
    return plain


System.from_atoms = staticmethod(_system)


def mbtr(frames: Sequence[Atoms]) -> np.ndarray:
    """Return the many-body tensor representation of each frame, ``[F, D]``.

    Huo and Rupp 2022, doi:10.1088/2632-2153/aca005, by dscribe (Himanen et al. 2020,
    doi:10.1016/j.cpc.2019.106949): distributions of inverse distances (1/Å) and of cosines of
    angles, exponentially weighted, each normalised to length one. The published study gives no
    settings of its own.

    Parameters
    ----------
    frames : sequence of Atoms
        Isolated molecules; the elements among them set the length of the representation.
    """
    species = sorted({symbol for atoms in frames for symbol in atoms.symbols})
    parts = []
    for function, (low, high), width, scale in TERMS:
        term = MBTR(
            species=species,
            geometry={"function": function},
            grid={"min": low, "max": high, "n": POINTS, "sigma": width},
            weighting={"function": "exp", "scale": scale, "threshold": NEGLIGIBLE},
            normalize_gaussians=True,
            normalization="none",
            periodic=False,
        )
        values = np.asarray(term.create(list(frames))).reshape(len(frames), -1)
        length = np.linalg.norm(values, axis=1, keepdims=True)
        parts.append(values / np.where(length > 0, length, 1.0))  # two atoms have no angle
    return np.concatenate(parts, axis=1)
