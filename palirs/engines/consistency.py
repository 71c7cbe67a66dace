"""Consistency of energies and forces: the work between two frames is the energy change."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from ase import Atoms

from palirs import units
from palirs.engines import Properties

NEAR = 0.35
"""Largest displacement of an atom between two compared frames [Å]."""

MISFIT = 1.35
"""Largest factor between energies and forces by anharmonicity; the smallest by a wrong unit is
1.89."""


def consistency(labels: Sequence[tuple[Atoms, Properties]], pairs: int = 100) -> float | None:
    """Return the slope of energy differences against work for pairs of similar frames.

    Frames are aligned first. The work is that of the mean force, whose error is of third order in
    the distance (ten per cent at 0.1 Å), so the nearest pairs are used. ``None`` without such
    pairs.
    """
    groups: dict[bytes, list[tuple[Atoms, Properties]]] = {}
    for atoms, properties in labels:
        groups.setdefault(atoms.numbers.tobytes(), []).append((atoms, properties))
    from ase.build.rotate import rotation_matrix_from_points  # takes long to import

    samples = []  # distance, work, difference
    for group in groups.values():
        chosen = group[:: max(1, len(group) // 60)]
        for (a, p), (b, q) in combinations(chosen, 2):
            x, y = (atoms.positions - atoms.positions.mean(axis=0) for atoms in (a, b))
            rotation = rotation_matrix_from_points(y.T, x.T) if len(a) > 1 else np.eye(3)
            step = y @ rotation.T - x
            distance = abs(step).max()
            if 1e-4 < distance < NEAR:
                pair_work = -0.5 * ((p.forces + q.forces @ rotation.T) * step).sum()
                samples.append((distance, pair_work, q.energy - p.energy))
    _, work, difference = np.array(sorted(samples)[:pairs]).reshape(-1, 3).T
    return float(work @ difference / (work @ work)) if len(work) >= 3 and work @ work > 0 else None


def guess(slope: float) -> str:
    """Return, as the end of a sentence, which wrong unit explains a slope; empty if none does."""
    if slope < 0:
        return ": forces are gradients, with the sign turned" if abs(slope + 1) < MISFIT - 1 else ""
    if slope == 0:
        return ": energies do not change at all"
    fits = {
        f"energies in {name}": slope * factor
        for name, factor in units.ENERGY.items()
        if factor != 1
    }
    fits |= {
        f"forces in {name}": slope / factor for name, factor in units.FORCE.items() if factor != 1
    }
    best = min(fits.values(), key=lambda fit: abs(np.log(fit)))
    names = [
        name
        for name, fit in fits.items()
        if abs(np.log(fit / best)) < 0.02 and abs(np.log(fit)) < np.log(MISFIT)
    ]
    return f": as if {' or '.join(names)}" if names else ""
