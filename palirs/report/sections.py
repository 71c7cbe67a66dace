"""The sections of the report: each draws its figure or fills its table from what the study directory holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from palirs import keys
from palirs.descriptors import mbtr
from palirs.learning.calibration import calibrate
from palirs.learning.errors import Parity, above, dipole_parity, potential_parity
from palirs.learning.frequencies import compare_intensities, own_vibrations
from palirs.learning.iterations import expected_errors
from palirs.mace.models.committee import Committee
from palirs.mace.models.dipole import DipoleModel
from palirs.molecules import read_frames
from palirs.production.trajectories import broken, geometries
from palirs.report import figures
from palirs.report.comparison import Shelf
from palirs.report.tables import read_table, write_table
from palirs.vibrations import Harmonic

DRAWN = 1500
"""Structures of one kind in a figure, at most about."""
ENGINES = "engine's own MD"
USUAL = 95.0
IN_TABLE = (
    *(
        "harmonic.mae_cm1",
        "harmonic.rmse_cm1",
        "energy.mae_meV",
        "forces.mae_meV_per_A",
        "forces.rmse_meV_per_A",
        "dipole.mae_mD",
    ),
    *("harmonic.intensity_mae_km_per_mol", "harmonic.intensity_relative"),
)
"""Metrics that are told of each iteration."""


@dataclass(frozen=True)
class Section:
    """Something to look at under one heading.

    Attributes
    ----------
    heading : str
        Of it.
    figure : Path or None
        A PNG file.
    rows : sequence of mapping or None
        A table.
    plot : plotly figure or None
        What a screen shows instead of the figure, which then is for paper.
    note, code : str
        A sentence; text in a fixed font.
    """

    heading: str
    figure: Path | None = None
    rows: Sequence[Mapping[str, object]] | None = None
    plot: Any = None
    note: str = ""
    code: str = ""


@dataclass(frozen=True)
class Findings:
    """What a study has found.

    Attributes
    ----------
    directory : Path
        Of the study.
    shelf : Shelf
        Its spectra.
    history : list of dict
        Metrics of each iteration.
    first, final, test : list of Atoms
        Labelled frames of the first and the last iteration, and those of the last that are only for
        errors.
    optima : dict
        Energy of each molecule's optimum [eV].
    references : dict
        Optimum and vibrations of each molecule by the engine.
    committee : Committee
        Of the last iteration.
    dipole : DipoleModel or None
        Trained on the data of the last iteration.
    rearranged : dict
        What became of molecules whose optimum is another molecule, by name.
    goals : tuple
        Of the harmonic frequencies [cm⁻¹] and of the forces [meV/Å], if there is one.
    """

    directory: Path
    shelf: Shelf
    history: list[dict[str, float]]
    first: list[Atoms]
    final: list[Atoms]
    test: list[Atoms]
    optima: dict[str, float]
    references: dict[str, Harmonic]
    committee: Committee
    dipole: DipoleModel | None
    goals: tuple[float, float | None]
    rearranged: dict[str, str] = field(default_factory=dict)

    @cached_property
    def expected(self) -> list[float]:
        """Error of the forces that is expected along the exploration by the committee of each iteration [meV/Å], where it is known."""
        return expected_errors(self.directory)

    @cached_property
    def potential(self) -> tuple[Parity, Parity]:
        """Energies [meV] and forces [meV/Å] of the test frames."""
        return potential_parity(self.committee, self.test)[:2]

    @cached_property
    def own(self) -> dict[str, Harmonic]:
        """Vibrations of committee and dipole model, in the engine's order of modes, of molecules whose optimum they find."""
        return own_vibrations(self.committee, self.dipole, list(self.references.values()))

    @cached_property
    def compared(self) -> dict[str, dict[str, float]]:
        """How alike the spectra of each molecule are, by :meth:`palirs.report.comparison.Shelf.compare`."""
        return {molecule: self.shelf.compare(molecule) for molecule in self.shelf.molecules}

    @cached_property
    def intensities(self) -> dict[str, float]:
        """How far harmonic intensities are off, by :func:`palirs.learning.frequencies.compare_intensities`."""
        return (
            {}
            if self.dipole is None
            else compare_intensities(
                self.committee, self.dipole, list(self.references.values())
            ).metrics()
        )

    @cached_property
    def dipoles(self) -> Parity | None:
        """Dipoles of the test frames [mDebye]."""
        return None if self.dipole is None else dipole_parity(self.dipole, self.test)

    def figure(self, name: str) -> Path:
        """Return the file of a figure."""
        return self.directory / "figures" / f"{name}.png"


def learning_curves(found: Findings) -> Section:
    """Errors of each iteration, drawn and as a table."""
    rows = []
    for number, (metrics, expected) in enumerate(zip(found.history, found.expected, strict=True)):
        row: dict[str, object] = {
            "iteration": number,
            "structures": f"{metrics['dataset.size']:.0f}",
        }
        row |= (
            {"reference calculations": f"{metrics['labels.used']:.0f}"}
            if "labels.used" in metrics
            else {}
        )
        row |= _with_errors(
            {
                key: metrics[key]
                for name in IN_TABLE
                for key in (name, name.replace("mae_", "mae_se_"))
                if key in metrics
            }
        )
        rows.append(row | {"forces, expected along MD (meV/Å)": expected})
    drawn = figures.save(
        figures.learning_curves(found.history, found.expected, found.goals),
        found.figure("learning_curves"),
    )
    note = "Energies and forces are those of the test structures, ± standard error; frequencies those of all modes of the optima."
    return Section("Learning curves", drawn, rows, note=note)


def data(found: Findings) -> Section:
    """How high above the optima the first and the final data lie."""
    first, final = (
        np.array(
            [atoms.info[keys.ENERGY] - found.optima[atoms.info[keys.MOLECULE]] for atoms in frames]
        )
        for frames in (found.first, found.final)
    )
    return Section(
        "Energies of the data",
        figures.save(
            figures.energy_distribution(first, final), found.figure("energy_distribution")
        ),
    )


def coverage(found: Findings) -> list[Section]:
    """Where the engine's own MD, the final data, the first data and the test set lie, by the principal components of MBTR."""
    sets = {
        ENGINES: _of_the_engine(found.directory),
        "final data": found.final,
        "initial data": found.first,
        "test set": read_frames(file)
        if (file := found.directory / "test_set" / "test_set.xyz").exists()
        else [],
    }
    sets = {name: some[:: 1 + len(some) // DRAWN] for name, some in sets.items()}
    rows = mbtr([atoms for some in sets.values() for atoms in some])
    ends = np.cumsum([len(some) for some in sets.values()])[:-1]
    pca = PCA(2, svd_solver="randomized", random_state=0).fit(rows)
    places = dict(zip(sets, np.split(pca.transform(rows), ends), strict=True))
    drawn = figures.principal_components(places, pca.explained_variance_ratio_)
    counted = covered(sets, dict(zip(sets, np.split(rows, ends), strict=True)))
    title = f"Share of {ENGINES} that is as near to a labelled structure as {USUAL:g} % of these are to one another (MBTR)"
    return [
        Section("Where the data lie", figures.save(drawn, found.figure("principal_components"))),
        *([Section(title, rows=counted)] if counted else []),
    ]


def _of_the_engine(directory: Path) -> list[Atoms]:
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
    sets: Mapping[str, Sequence[Atoms]], rows: Mapping[str, np.ndarray]
) -> list[dict[str, object]]:
    """Return how much of the engine's own MD the first and the final data cover, molecule by molecule.

    Covered is a frame whose nearest labelled structure is not further than :data:`USUAL` per cent
    of the labelled ones are from their nearest: the distance to the nearest neighbour as the domain
    of a model.

    Parameters
    ----------
    sets : mapping
        Structures of :data:`ENGINES`, ``initial data`` and ``final data``.
    rows : mapping
        Their descriptors, ``[F, D]``.
    """
    names = {
        name: np.array([str(atoms.info[keys.MOLECULE]) for atoms in some])
        for name, some in sets.items()
    }
    found = []
    for molecule in dict.fromkeys(names[ENGINES].tolist()):
        md, first, final = (
            rows[name][names[name] == molecule] for name in (ENGINES, "initial data", "final data")
        )
        if len(final) < 2 or not len(first):
            continue
        apart = cdist(final, final)
        np.fill_diagonal(apart, np.inf)
        usual = np.percentile(apart.min(axis=1), USUAL)
        near = {
            name: float((cdist(md, some).min(axis=1) <= usual).mean())
            for name, some in (("initial", first), ("final", final))
        }
        found.append(
            {
                "molecule": molecule,
                "frames": len(md),
                **{f"by {name} data": share for name, share in near.items()},
            }
        )
    return found


def test_set(found: Findings) -> list[Section]:
    """Errors of each iteration on the test set, if there is one, and of the last by molecule."""
    titles = {
        "errors": "Errors on the test set, by iteration",
        "molecules": "Errors of the last iteration on the test set, by molecule",
    }
    tables = {title: found.directory / "test_set" / f"{name}.csv" for name, title in titles.items()}
    return [
        Section(title, rows=read_table(file)) for title, file in tables.items() if file.exists()
    ]


def parities(found: Findings) -> list[Section]:
    """Predicted against reference values of the test frames."""
    energy, forces = found.potential
    drawn = [
        ("Energies", "Energy above the optimum", "meV", above(energy, found.optima), "energy"),
        ("Forces", "Forces", "meV/Å", forces, "forces"),
    ]
    if found.dipoles is not None:
        drawn.append(("Dipoles", "Dipole", "mDebye", found.dipoles, "dipole"))
    return [
        Section(
            heading,
            figures.save(figures.parity(title, unit, values), found.figure(f"{name}_parity")),
        )
        for heading, title, unit, values, name in drawn
    ]


def errors(found: Findings) -> Section:
    """Errors on the test frames, molecule by molecule; also written to ``errors.csv``."""
    energy, forces = found.potential
    named = [(energy, "energy", "meV"), (forces, "forces", "meV_per_A")]
    named += [(found.dipoles, "dipole", "mD")] if found.dipoles is not None else []
    rows = []
    for what in ("molecule", "origin"):
        parts = [parity.by(getattr(parity, what), name, unit) for parity, name, unit in named]
        for name in parts[0]:
            frames = int((getattr(energy, what) == name).sum())
            metrics = {key: value for part in parts for key, value in part[name].items()}
            rows.append({"frames_of": name, "test_frames": frames, **metrics})
    write_table(found.directory / "errors.csv", rows)
    return Section(
        "Errors on the test frames of the last iteration, by molecule and by origin",
        rows=[_with_errors(row) for row in rows],
    )


def _with_errors(row: Mapping[str, object]) -> dict[str, object]:
    """Return a row for readers: each mean absolute error with its standard error, names without underscores."""
    told: dict[str, object] = {}
    for key, value in row.items():
        error = row.get(key.replace("mae_", "mae_se_"))
        if "mae_se_" not in key:
            text = f"{value:.3g}" if isinstance(value, float) else str(value).replace("_", " ")
            told[key] = text + (f" ± {error:.2g}" if "mae_" in key and error is not None else "")
    return told


def reliability(found: Findings) -> list[Section]:
    """How well the committee's disagreement tells its error, if it has several members."""
    known = calibrate(found.committee, found.test)
    if not known.spread.min() > 0:
        return []
    origins = [str(atoms.info.get(keys.ORIGIN, "unknown")) for atoms in found.test]
    return [
        Section(
            "Disagreement and error of the committee",
            figures.save(figures.reliability(known, origins), found.figure("reliability")),
        )
    ]


def ended_early(found: Findings) -> list[Section]:
    """Trajectories that ended early and why, if there are any."""
    rows = [
        {"trajectory": place, "reason": reason}
        for place, reason in broken(found.directory / "trajectories").items()
    ]
    return [Section("Trajectories that ended early and are left out", rows=rows)] if rows else []
