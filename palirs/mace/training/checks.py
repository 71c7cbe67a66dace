"""Checks of labelled frames before a training."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.engines import Properties
from palirs.engines.consistency import consistency, guess
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)

MINIMUM_FRAMES = 10
"""Fewer labelled frames than this cannot be split into training, validation and test."""
LARGEST_FORCE = 1000.0
"""Larger forces on an atom [eV/Å] come from another unit, such as GROMACS's kJ/mol/nm."""
AGREEMENT = 1.8
"""Largest factor between energies and forces that anharmonicity explains in frames far apart; the
smallest of a wrong unit is 1.89."""
LARGE_DIPOLE = 0.6
"""Median dipole over the extent of a neutral molecule [e]; more is a warning, not an error. In e·Å
molecules without metals have less (HF 0.53, water 0.31, formamide 0.29); Debye, 4.8 times as large,
show in those above 0.13."""
FAR_OUT = ("normal_mode", "thermal", "quantum", "turned", "exploration")
"""Origins of structures that the program draws far from the optimum on purpose."""
OUTLIER = 20.0
"""Distance from the median, in median absolute deviations, beyond which a frame is listed."""


def check_labels(frames: Sequence[Atoms], dipoles: bool = True) -> list[str]:
    """Check labelled frames before they are learnt.

    Parameters
    ----------
    frames : sequence of Atoms
        With energy [eV], forces [eV/Å] and dipole [e·Å].
    dipoles : bool
        Whether dipoles are needed.

    Returns
    -------
    list of str
        What is odd, but may be right: outliers among the frames of a molecule, and large dipoles.
        They are logged as warnings, outliers of :data:`FAR_OUT` in one line a molecule, as
        information.

    Raises
    ------
    PalirsError
        If a label is missing, has the wrong shape, is not finite, or is of a size that only a wrong
        unit explains.
    """
    if len(frames) < MINIMUM_FRAMES:
        raise PalirsError(
            f"training: {len(frames)} labelled frames, at least {MINIMUM_FRAMES} are needed; "
            "sample or label more"
        )
    for number, atoms in enumerate(frames):
        _check_frame(number, atoms, dipoles)
    groups: dict[tuple[str, bytes], list[int]] = {}
    for number, atoms in enumerate(frames):
        key = str(atoms.info.get(keys.MOLECULE)), atoms.numbers.tobytes()
        groups.setdefault(key, []).append(number)
    remarks = []
    for (name, _), members in groups.items():
        outliers = _outliers(name, frames, members)
        _check_units(name, [frames[i] for i in members if i not in outliers])
        far = [n for n in outliers if frames[n].info.get(keys.ORIGIN) in FAR_OUT]
        for number, line in outliers.items():
            if number not in far:
                log.warning("labels: %s", line)
        if far:
            log.info(
                "labels: %d of %d structures of %s stand out, drawn far from its optimum on "
                "purpose; one of them: %s",
                len(far),
                len(members),
                name,
                outliers[far[0]],
            )
        large = _large_dipoles(name, [frames[i] for i in members]) if dipoles else []
        for line in large:
            log.warning("labels: %s", line)
        remarks += [*outliers.values(), *large]
    return remarks


def _check_frame(number: int, atoms: Atoms, dipoles: bool) -> None:
    frame = f"training frame {number} ({atoms.info.get(keys.MOLECULE)})"
    labels: list[tuple[str, Any, tuple[int, ...]]] = [
        (keys.ENERGY, atoms.info.get(keys.ENERGY), ()),
        (keys.FORCES, atoms.arrays.get(keys.FORCES), (len(atoms), 3)),
    ]
    if dipoles:
        labels.append((keys.DIPOLE, atoms.info.get(keys.DIPOLE), (3,)))
    for key, value, shape in labels:
        if value is None:
            raise PalirsError(f"{frame}: no {key}; label the frame or remove it")
        if np.shape(value) != shape:
            raise PalirsError(
                f"{frame}: {key} has shape {np.shape(value)}, it should have {shape}; label the "
                "frame again or remove it"
            )
        if not np.isfinite(value).all():
            raise PalirsError(f"{frame}: {key} is not finite; remove the frame")
    largest = float(np.abs(atoms.arrays[keys.FORCES]).max())
    if largest > LARGEST_FORCE:
        raise PalirsError(
            f"{frame}: a force of {largest:.3g} eV/Å; convert {keys.FORCES} to eV/Å, or remove the "
            "frame"
        )
    if dipoles:
        extent = _extent(atoms)
        size = float(np.linalg.norm(atoms.info[keys.DIPOLE]))
        if size > extent:
            raise PalirsError(
                f"{frame}: a dipole of {size:.3g} e·Å is more than two charges at the ends of the "
                f"molecule ({extent:.2g} Å) have; convert {keys.DIPOLE} to e·Å "
                "(1 Debye = 0.2082 e·Å), or remove the frame"
            )


def _extent(atoms: Atoms) -> float:
    differences = atoms.positions[:, None] - atoms.positions[None]
    return max(float(np.linalg.norm(differences, axis=-1).max()), 1.0)


def _large_dipoles(name: str, frames: Sequence[Atoms]) -> list[str]:
    share = float(
        np.median([np.linalg.norm(atoms.info[keys.DIPOLE]) / _extent(atoms) for atoms in frames])
    )
    if share < LARGE_DIPOLE:
        return []
    return [
        f"dipoles of {name} are {share:.2g} e times its extent, much for a neutral molecule: are "
        "they in e·Å, not in Debye?"
    ]


def _check_units(name: str, frames: Sequence[Atoms]) -> None:
    slope = consistency(
        [
            (atoms, Properties(atoms.info[keys.ENERGY], atoms.arrays[keys.FORCES]))
            for atoms in frames
        ]
    )
    if slope is not None and not 1 / AGREEMENT < slope < AGREEMENT:
        raise PalirsError(
            f"labels of {name}: differences of {keys.ENERGY} are {slope:.3g} times what "
            f"{keys.FORCES} say{guess(slope)}; convert energies to eV and forces to eV/Å"
        )


def _outliers(name: str, frames: Sequence[Atoms], members: Sequence[int]) -> dict[int, str]:
    """Return the numbers of frames far from the others, with a sentence about each."""
    if len(members) < MINIMUM_FRAMES:
        return {}
    values = {
        "energy [eV]": np.array([frames[i].info[keys.ENERGY] for i in members]),
        "largest force [eV/Å]": np.array(
            [np.linalg.norm(frames[i].arrays[keys.FORCES], axis=1).max() for i in members]
        ),
    }
    outliers = {}
    for quantity, column in values.items():
        middle = float(np.median(column))
        spread = float(np.median(np.abs(column - middle)))
        for k in map(int, np.flatnonzero(np.abs(column - middle) > OUTLIER * max(spread, 1e-3))):
            outliers[members[k]] = (
                f"frame {members[k]} ({name}): {quantity} {column[k]:.5g}, "
                f"the median is {middle:.5g}"
            )
    return outliers
