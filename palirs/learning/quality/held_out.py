"""The held-out test set as published, and the errors of every iteration on it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from sklearn.cluster import KMeans

from palirs import keys
from palirs.learning.completed import read_dataset, read_metrics
from palirs.learning.quality.calibration import calibrate
from palirs.learning.quality.errors import Parity, dipole_parity, potential_parity
from palirs.mace.models.dipole import DipoleModel
from palirs.mace.models.files import load_committee
from palirs.recipes import PalirsError

STARTS = 10
"""Of k-means; the best is taken."""


def spread_out(
    features: np.ndarray, clusters: int, per_cluster: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the indices of frames drawn at random from each cluster, ``[clusters * per_cluster]``.

    k-means (Lloyd 1982, doi:10.1109/TIT.1982.1056489) by scikit-learn. A cluster that has fewer
    frames gives all of them, the others make up for it in turn.

    Parameters
    ----------
    features : numpy.ndarray
        Shape ``[F, D]``.
    clusters, per_cluster : int
        How many, and how many frames of each.
    rng : numpy.random.Generator
        For starts and draws.

    Raises
    ------
    ValueError
        If there are not as many frames.
    """
    wanted = clusters * per_cluster
    if len(features) < wanted:
        raise ValueError(
            f"{len(features)} frames are too few to draw {clusters} × {per_cluster} from"
        )
    groups = KMeans(clusters, n_init=STARTS, random_state=int(rng.integers(2**31))).fit_predict(
        features
    )
    waiting = [
        list(rng.permutation(np.flatnonzero(groups == number))) for number in range(clusters)
    ]
    taken: list[int] = []
    while len(taken) < wanted:
        for members in waiting:
            if members and len(taken) < wanted:
                taken.append(int(members.pop()))
    return np.sort(taken)


KEPT = (
    "dataset.size",
    "labels.used",
    "harmonic.mae_cm1",
    "harmonic.rmse_cm1",
    "harmonic.held_out_mae_cm1",
    "harmonic.held_out_curvature",
)
"""Metrics of an iteration that are shown beside its errors on the test set."""


def errors_of_iterations(
    places: Sequence[Path], frames: Sequence[Atoms], dipole: DipoleModel | None
) -> list[dict[str, float]]:
    """Return the errors of each iteration on held-out frames of the molecules that it had learnt.

    Parameters
    ----------
    places : sequence of Path
        Directories of iterations.
    frames : sequence of Atoms
        Labelled.
    dipole : DipoleModel or None
        That of the last iteration; the others have none.

    Returns
    -------
    list of dict
        ``energy.mae_meV`` and so on with standard errors, harmonic errors and labels of the
        iteration, and ``committee.coverage_90``, the share of frames whose error is below the 90 %
        bound of the iteration's calibration.
    """
    rows = []
    for number, place in enumerate(places):
        metrics, committee = read_metrics(place), load_committee(place)
        learnt = {atoms.info[keys.MOLECULE] for atoms in read_dataset(place)}
        tested = [atoms for atoms in frames if atoms.info[keys.MOLECULE] in learnt]
        energy, forces, _ = potential_parity(committee, tested)
        row: dict[str, float] = {"iteration": number, "molecules": len(learnt)}
        for key in KEPT:
            if key in metrics:
                row[key] = metrics[key]
        row |= energy.metrics("energy", "meV") | forces.metrics("forces", "meV_per_A")
        if "committee.calibration_90" in metrics:
            covered = calibrate(committee, tested).ratios <= metrics["committee.calibration_90"]
            row["committee.coverage_90"] = float(covered.mean())
        if dipole is not None and number == len(places) - 1:
            row |= dipole_parity(dipole, tested).metrics("dipole", "mD")
        rows.append(row)
    return rows


def by_molecule(
    place: Path, frames: Sequence[Atoms], dipole: DipoleModel | None
) -> list[dict[str, object]]:
    """Return the errors of an iteration on the frames of each molecule."""
    committee = load_committee(place)
    energy, forces, _ = potential_parity(committee, frames)
    parts: list[tuple[Parity, str, str]] = [
        (energy, "energy", "meV"),
        (forces, "forces", "meV_per_A"),
    ]
    if dipole is not None:
        parts.append((dipole_parity(dipole, frames), "dipole", "mD"))
    metrics = [parity.by(parity.molecule, name, unit) for parity, name, unit in parts]
    return [
        {
            "molecule": name,
            "frames": energy.count(name),
            **{k: v for part in metrics for k, v in part[name].items()},
        }
        for name in sorted(metrics[0])
    ]


def check_drawn_alike(file: Path, settings: Mapping[str, object]) -> None:
    """Raise :class:`PalirsError` if the test set was drawn with other settings; write them once."""
    if file.exists():
        drawn = json.loads(file.read_text())
        changed = [
            f"{key}: {drawn.get(key)} -> {value}"
            for key, value in settings.items()
            if drawn.get(key) != value
        ]
        if changed:
            raise PalirsError(
                f"the test set in {file.parent} was drawn with other settings "
                f"({'; '.join(changed)}); remove it to draw another"
            )
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(settings, indent=1))
    part.rename(file)
