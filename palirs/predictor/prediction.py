"""From a molecule to its spectrum with a predictor: relaxation, harmonic analysis, MD."""

import logging
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from palirs import keys
from palirs.executors import Serial, cores
from palirs.geometry.embedding import canonical_of
from palirs.learning.quality.calibration import mean_spread
from palirs.mace.models.committee import Committee
from palirs.mace.models.files import load_committee, load_dipole_model
from palirs.mace.models.predictor import Predictor as Potential
from palirs.molecules import Molecules, check, check_whole, on_grid
from palirs.molecules.checks import check_learnt
from palirs.predictor.bundle import Predictor, open_predictor
from palirs.production import Production, Run, assign, densities_of
from palirs.production.trajectories import geometries
from palirs.recipes import PalirsError, explained
from palirs.settings import MD, Spectroscopy
from palirs.spectra import Spectrum
from palirs.vibrations import Harmonic, minimum

if TYPE_CHECKING:
    from palirs.report import interactive

log = logging.getLogger(__name__)

VISITED = 400
"""Structures along the MD, about, on which the disagreement of the committee is evaluated."""
FAR = 2.0
"""An expected force error this many times that of the learnt molecules gives a warning. For other
molecules it was 1.3 to 2.8 times too low, so the true one may be five times as large."""
STUDY_ONLY = ("production", "reference", "experiment", "conformers")
"""Settings of spectra that a predictor does not take over from its study."""


@dataclass(frozen=True)
class Prediction(Spectrum):
    """A predicted spectrum, its bands, and how far it can be trusted.

    Attributes
    ----------
    molecule : Atoms
        At the committee's optimum.
    temperature : float
        [K].
    bands : list of dict
        Rows of :func:`palirs.production.assign`.
    harmonic : Harmonic
        Frequencies [cm⁻¹] and intensities [km/mol] by committee and dipole model.
    expected_error : float
        Of the forces along the MD [eV/Å]: the members' disagreement times its calibration on frames
        that were not learnt.
    learnt : bool
        Whether the molecule is one that the models learnt; false if its bonds are not known.
    warnings : tuple of str
        Why the spectrum may be wrong.
    """

    molecule: Atoms = field(default_factory=Atoms, kw_only=True)
    temperature: float = field(default=300.0, kw_only=True)
    bands: list[dict[str, float | str]] = field(default_factory=list, kw_only=True, repr=False)
    harmonic: Harmonic | None = field(default=None, kw_only=True, repr=False)
    expected_error: float = field(default=float("nan"), kw_only=True)
    learnt: bool = field(default=False, kw_only=True)
    warnings: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def name(self) -> str:
        """Of the molecule."""
        return str(self.molecule.info[keys.MOLECULE])

    def figure(self) -> "interactive.go.Figure":
        """Return an interactive figure (Plotly)."""
        from palirs.report.interactive import spectra_figure

        return spectra_figure(
            f"{self.name}, {self.temperature:g} K", {"predicted": self}, self.bands
        )

    def _repr_html_(self) -> str:
        from palirs.report.interactive import summary

        return summary(f"{self.name}, {self.temperature:g} K", self, self.bands, self.warnings)


def predict(
    molecule: str | Atoms,
    model: str | Path | Predictor,
    temperature: float = 300.0,
    *,
    length: float = 15.0,
    replicas: int = 12,
    seed: int = 1,
    threads: int | None = None,
) -> Prediction:
    """Predict the infrared spectrum of a molecule.

    Parameters
    ----------
    molecule : str or Atoms
        A name, a SMILES, or a structure.
    model : str, Path or Predictor
        A study, the directory of a predictor, or an MLflow model
        (``models:/palirs-methanol-gfn2/1``).
    temperature : float
        Of the MD [K].
    length : float
        Of each trajectory [ps].
    replicas : int
        Trajectories.
    seed : int
        Of velocities and noise.
    threads : int, optional
        All cores by default.

    Raises
    ------
    PalirsError
        For a molecule that cannot be treated, elements that the models do not know, values out of
        range, or MD that falls apart.
    """
    predictor = model if isinstance(model, Predictor) else open_predictor(model)
    md, settings = settings_of(predictor, length, replicas)
    if not (np.isfinite(temperature) and 0 < temperature <= 5000):
        raise PalirsError(f"temperature = {temperature:g} K: it should be above 0 and at most 5000")
    start = start_geometry(molecule, predictor)
    committee = load_committee(predictor.directory)
    with (
        Serial(threads=threads or cores()).open() as executor,
        tempfile.TemporaryDirectory(prefix="palirs-") as folder,
    ):
        production = Production(
            source=predictor.source,
            kind="predicted",
            model="predicted",
            label=f"palirs ({predictor.about['engine']})",
            md=md,
            settings=settings,
            temperature=temperature,
            seed=seed,
            directory=Path(folder),
        )
        dipole = load_dipole_model(predictor.dipole_files)
        vibrations = minimum(start, Potential(committee.double(), dipole))
        (run,) = production.run([vibrations], executor)
        if not run.enough(settings.complete):
            raise PalirsError(
                f"molecule {run.molecule!r}: {len(run.dipoles)} of {len(run.broken)} trajectories "
                f"ended well, the others: {next(filter(None, run.broken))}; the models do not know "
                f"this molecule, or not at {temperature:g} K"
            )
        calibration = float(predictor.about.get("calibration") or np.nan)
        expected = expected_error(committee, vibrations.atoms, Path(folder), calibration)
    return _prediction(predictor, production, vibrations, run, expected)


def settings_of(predictor: Predictor, length: float, replicas: int) -> tuple[MD, Spectroscopy]:
    """Return the settings of the study, with as much MD as is asked for."""
    names = {one.name for one in fields(Spectroscopy)} - set(STUDY_ONLY)
    kept = {key: value for key, value in predictor.about["spectrum"].items() if key in names}
    with explained("predict"):
        md = MD(replicas=replicas, thermalisation=0.5, length=length)
        return md, Spectroscopy(production=md, reference=None, **kept)


def start_geometry(molecule: str | Atoms, predictor: Predictor) -> Atoms:
    """Return a molecule with a name, checked for what the models know."""
    if isinstance(molecule, Atoms):
        start = molecule.copy()
        start.info.setdefault(keys.MOLECULE, str(start.symbols))
        check(start)
        check_whole(start)
    else:
        molecules = Molecules(names=(molecule,)).load()
        if len(molecules) > 1:
            raise PalirsError(
                f"molecule = {molecule!r}: these are {len(molecules)} molecules; give one"
            )
        start = molecules[0]
    check_learnt(start, predictor.learnt)
    elements = {chemical_symbols[number] for number in predictor.about["elements"]}
    if unknown := sorted(set(start.get_chemical_symbols()) - elements):
        raise PalirsError(
            f"molecule {start.info[keys.MOLECULE]!r}: the models have never seen "
            f"{', '.join(unknown)}; they know {', '.join(sorted(elements))}"
        )
    return start


def expected_error(
    committee: Committee, optimum: Atoms, trajectories: Path, factor: float
) -> float:
    """Return the expected error of the forces along the MD of a molecule [eV/Å]; NaN without MD.

    It is the members' disagreement times ``factor``, see
    :class:`palirs.learning.quality.calibration.Calibration`. ``trajectories`` is a directory.
    """
    frames = geometries(sorted(trajectories.rglob("*.xyz")))
    if not frames:
        return float("nan")
    visited = [
        on_grid(Atoms(optimum.numbers, positions=atoms.positions))
        for atoms in frames[:: 1 + len(frames) // VISITED]
    ]
    return factor * float(mean_spread(committee.evaluate(visited)).mean())


def _prediction(
    predictor: Predictor,
    production: Production,
    vibrations: Harmonic,
    run: Run,
    expected: float,
) -> Prediction:
    spectrum, settings = production.spectrum(run), production.settings
    learnt = was_learnt(vibrations.atoms, predictor.learnt)
    temperature = production.temperature
    warnings = _warnings(predictor.about, vibrations, temperature, expected, learnt)
    if any(run.broken):
        warnings.append(
            f"{sum(map(bool, run.broken))} of {len(run.broken)} trajectories were left out: "
            f"{next(filter(None, run.broken))}"
        )
    for text in warnings:
        log.warning("%s: %s", run.molecule, text)
    densities = densities_of(run.rates, settings)
    rows = assign({"predicted": spectrum}, settings.window, vibrations, vibrations, densities)
    values = {each.name: getattr(spectrum, each.name) for each in fields(Spectrum)}
    return Prediction(
        **values,
        molecule=vibrations.atoms,
        temperature=temperature,
        bands=rows,
        harmonic=vibrations,
        expected_error=expected,
        learnt=bool(learnt),
        warnings=tuple(warnings),
    )


def was_learnt(molecule: Atoms, learnt: Iterable[Atoms]) -> bool | None:
    """Tell whether a molecule is one of those learnt, by its bonds.

    ``None`` if RDKit cannot tell the bonds of it, or of one of the same atoms.
    """
    formula = sorted(molecule.numbers)
    names = [canonical_of(each) for each in learnt if sorted(each.numbers) == formula]
    name = canonical_of(molecule) if names else None
    if name is not None and name in names:
        return True
    return None if names and None in (name, *names) else False


def _warnings(
    about: Mapping[str, Any],
    vibrations: Harmonic,
    temperature: float,
    expected: float,
    learnt: bool | None,
) -> list[str]:
    """Return why the spectrum may be wrong."""
    warnings = []
    usual = float(about.get("expected_meV_per_A") or np.nan)
    error = f"the forces are expected to be off by {1e3 * expected:.1f} meV/Å along this MD"
    if np.isfinite(usual):
        error += f" ({usual:.1f} for the molecules that were learnt)"
    goal = float(about.get("forces_goal_meV_per_A") or 10.0)
    if not np.isfinite(expected):
        warnings.append(
            "the members' disagreement was never calibrated, so nothing is known of the error of "
            "the forces"
        )
    elif 1e3 * expected > FAR * (usual if np.isfinite(usual) else goal):
        warnings.append(f"out of domain: {error}")
    if learnt is None:
        warnings.append(
            "RDKit cannot tell its bonds, so whether the models learnt this molecule is not known; "
            f"{error}, and that is often too low for molecules that were not learnt"
        )
    elif not learnt:
        warnings.append(
            f"the models did not learn this molecule; {error}, and that is often too low for "
            "molecules that were not learnt"
        )
    hottest = max(about["temperatures"])
    if temperature > hottest:
        warnings.append(
            f"{temperature:g} K is hotter than what the models have explored ({hottest:g} K)"
        )
    if vibrations.frequencies[0] < -10:
        warnings.append(f"the optimum is a saddle point ({-vibrations.frequencies[0]:.0f}i cm⁻¹)")
    return warnings
