"""Whether energies and forces agree: the work of forces between frames is the energy change."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from ase import Atoms

from palirs import units
from palirs.engines import Properties

NEAR = 0.35
"""Two frames of a molecule whose atoms lie within this [Å] are compared: along the line between
them the forces give the energy."""

MISFIT = 1.35
"""Factor between energies and forces that anharmonicity may make; the smallest of a wrong unit is
1.89."""


def consistency(labels: Sequence[tuple[Atoms, Properties]], pairs: int = 100) -> float | None:
    """Return the slope of energy differences of near frames against the work of the mean force.

    The trapezoidal rule leaves out the anharmonicity, which is of third order in the distance, so
    the nearest pairs are taken; a tenth of an Å still leaves ten per cent. Frames are turned onto
    each other first. ``None`` without such pairs.
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
            turn = rotation_matrix_from_points(y.T, x.T) if len(a) > 1 else np.eye(3)
            step = y @ turn.T - x
            distance = abs(step).max()
            if 1e-4 < distance < NEAR:
                samples.append(
                    (
                        distance,
                        -0.5 * ((p.forces + q.forces @ turn.T) * step).sum(),
                        q.energy - p.energy,
                    )
                )
    _, work, difference = np.array(sorted(samples)[:pairs]).reshape(-1, 3).T
    return float(work @ difference / (work @ work)) if len(work) >= 3 and work @ work > 0 else None


def guess(slope: float) -> str:
    """Return the unit that would make the slope 1, if there is one within a third."""
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
