"""How much of the configurations visited by MD the labelled structures cover."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from palirs import keys
from palirs.descriptors import mbtr
from palirs.molecules import read_frames
from palirs.production.trajectories import geometries
from palirs.results.study import StudyResults

MOST = 1500
"""Structures of one set, at most about."""
ENGINE_MD = "engine's own MD"
NEIGHBOURS = 95.0
"""Percentile of the distances between neighbouring labelled structures."""


@dataclass(frozen=True)
class Coverage:
    """Sets of structures in the space of their MBTR descriptors.

    Attributes
    ----------
    components : dict
        The first two principal components of each set, ``[F, 2]``.
    variance : list of float
        Share of the variance along each component.
    covered : list of dict
        Rows of :func:`covered`.
    """

    components: dict[str, np.ndarray]
    variance: list[float]
    covered: list[dict[str, object]]


def coverage_of(results: StudyResults) -> Coverage:
    """Describe the engine's own MD, the final and the first data, and the test set of a study."""
    test_set = results.directory / "test_set" / "test_set.xyz"
    sets = {
        ENGINE_MD: _engine_frames(results.directory),
        "final data": results.final,
        "initial data": results.first,
        "test set": read_frames(test_set) if test_set.exists() else [],
    }
    sets = {name: frames[:: 1 + len(frames) // MOST] for name, frames in sets.items()}
    rows = mbtr([atoms for frames in sets.values() for atoms in frames])
    ends = np.cumsum([len(frames) for frames in sets.values()])[:-1]
    pca = PCA(2, svd_solver="randomized", random_state=0).fit(rows)
    return Coverage(
        dict(zip(sets, np.split(pca.transform(rows), ends), strict=True)),
        pca.explained_variance_ratio_.tolist(),
        covered(sets, dict(zip(sets, np.split(rows, ends), strict=True))),
    )


def _engine_frames(directory: Path) -> list[Atoms]:
    """Return the frames of the engine's own MD, each with its molecule."""
    frames = []
    for file in sorted(directory.glob("trajectories/*-reference/*.xyz")):
        molecule = file.parent.name.rsplit("-", 2)[0]
        frames += [
            Atoms(atoms.numbers, positions=atoms.positions, info={keys.MOLECULE: molecule})
            for atoms in geometries([file])
        ]
    return frames


def covered(
    sets: Mapping[str, Sequence[Atoms]], descriptors: Mapping[str, np.ndarray]
) -> list[dict[str, object]]:
    """Return the share of the engine's own MD that the first and the final data cover, by molecule.

    A frame is covered if its nearest labelled structure is not further than :data:`NEIGHBOURS` per
    cent of the final labelled structures are from their nearest neighbour: the distance to the
    nearest neighbour as the domain of a model.

    Parameters
    ----------
    sets : mapping
        Structures of :data:`ENGINE_MD`, ``initial data`` and ``final data``.
    descriptors : mapping
        Of the same, ``[F, D]``.
    """
    molecules = {
        name: np.array([str(atoms.info[keys.MOLECULE]) for atoms in frames])
        for name, frames in sets.items()
    }
    rows = []
    for molecule in dict.fromkeys(molecules[ENGINE_MD].tolist()):
        md, first, final = (
            descriptors[name][molecules[name] == molecule]
            for name in (ENGINE_MD, "initial data", "final data")
        )
        if len(final) < 2 or not len(first):
            continue
        distances = cdist(final, final)
        np.fill_diagonal(distances, np.inf)
        reach = np.percentile(distances.min(axis=1), NEIGHBOURS)
        row: dict[str, object] = {"molecule": molecule, "frames": len(md)}
        for name, data in (("initial", first), ("final", final)):
            row[f"by {name} data"] = float((cdist(md, data).min(axis=1) <= reach).mean())
        rows.append(row)
    return rows
