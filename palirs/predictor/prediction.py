"""From a molecule to its infrared spectrum with a trained predictor: relax, analyse, run MD, transform."""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols

from palirs import keys
from palirs.executors import Serial, cores
from palirs.geometry.embedding import canonical_of
from palirs.mace.models.committee import Committee, force_spread
from palirs.mace.models.files import load, load_dipoles
from palirs.mace.models.predictor import Predictor as Potential
from palirs.mace.settings import Evaluation
from palirs.molecules import Molecules, check, check_whole, on_grid
from palirs.predictor.bundle import Predictor, open_predictor
from palirs.production import Run, densities_of, simulate, spectrum_of
from palirs.production.trajectories import geometries
from palirs.recipes import PalirsError, explained
from palirs.report.bands import table
from palirs.settings import MD, Spectroscopy
from palirs.spectra import Spectrum
from palirs.vibrations import Harmonic, minimum

log = logging.getLogger(__name__)

MET = 400
"""Structures along the MD, about, whose disagreement is looked at."""
FAR = 2.0
"""An expected force error so many times that of the learnt molecules is told; along MD of molecules
that were not learnt it was found 1.3 to 2.8 times too low, so that the true one may be five times
as large."""


@dataclass(frozen=True)
class Prediction(Spectrum):
    """A predicted spectrum, and what is to be known of it.

    Attributes
    ----------
    molecule : Atoms
        At the committee's optimum.
    temperature : float
        [K].
    bands : list of dict
        As :func:`palirs.report.bands.table` has them.
    harmonic : Harmonic
        Frequencies [cm⁻¹] and intensities [km/mol] by committee and dipole model.
    expected_error : float
        Of the forces along the MD [eV/Å]: the members' disagreement times what it was worth on
        frames that were not learnt.
    learnt : bool
        Whether the molecule is one that the models learnt.
    warnings : tuple of str
        Why the spectrum may be wrong.
    """

    molecule: Atoms = field(default_factory=Atoms, kw_only=True)
    temperature: float = field(default=300.0, kw_only=True)
    bands: list[dict[str, Any]] = field(default_factory=list, kw_only=True, repr=False)
    harmonic: Harmonic | None = field(default=None, kw_only=True, repr=False)
    expected_error: float = field(default=float("nan"), kw_only=True)
    learnt: bool = field(default=False, kw_only=True)
    warnings: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def name(self) -> str:
        """Of the molecule."""
        return str(self.molecule.info[keys.MOLECULE])

    def figure(self):
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
    md, settings = _settings(predictor, length, replicas)
    if not (np.isfinite(temperature) and 0 < temperature <= 5000):
        raise PalirsError(f"temperature = {temperature:g} K: it should be above 0 and at most 5000")
    start = _molecule(molecule, predictor)
    place, dipoles = predictor.source
    committee = load(place)
    assert isinstance(committee, Committee)
    with (
        Serial(threads=threads or cores()).open() as executor,
        tempfile.TemporaryDirectory(prefix="palirs-") as folder,
    ):
        own = minimum(start, Potential(committee.double(), load_dipoles(dipoles)))
        (run,) = simulate(
            (place, dipoles), [own], md, settings, temperature, seed, executor, Path(folder), "predicted", Evaluation()
        )  # fmt: skip
        if not run.enough(settings.complete):
            raise PalirsError(
                f"molecule {run.molecule!r}: {len(run.dipoles)} of {len(run.broken)} trajectories ended well, the others: "
                f"{next(filter(None, run.broken))}; the models do not know this molecule, or not at {temperature:g} K"
            )
        expected = expected_error(
            committee, own.atoms, Path(folder), float(predictor.about.get("calibration") or np.nan)
        )
    return _prediction(predictor, own, run, settings, temperature, expected)


def _settings(predictor: Predictor, length: float, replicas: int) -> tuple[MD, Spectroscopy]:
    """Return the settings of the study, with as much MD as is asked for."""
    known = {one.name for one in fields(Spectroscopy)} - {
        "production",
        "reference",
        "experiment",
        "conformers",
    }
    with explained("predict"):
        md = MD(replicas=replicas, thermalisation=0.5, length=length)
        mine = {key: value for key, value in predictor.about["spectrum"].items() if key in known}
        return md, Spectroscopy(production=md, reference=None, **mine)


def _molecule(molecule: str | Atoms, predictor: Predictor) -> Atoms:
    if isinstance(molecule, Atoms):
        start = molecule.copy()
        start.info.setdefault(keys.MOLECULE, str(start.symbols))
        check(start)
        check_whole(start)
    else:
        found = Molecules(names=(molecule,)).load()
        if len(found) > 1:
            raise PalirsError(
                f"molecule = {molecule!r}: these are {len(found)} molecules; give one"
            )
        start = found[0]
    known = {chemical_symbols[number] for number in predictor.about["elements"]}
    if strange := sorted(set(start.get_chemical_symbols()) - known):
        raise PalirsError(
            f"molecule {start.info[keys.MOLECULE]!r}: the models have never seen {', '.join(strange)}; they know {', '.join(sorted(known))}"
        )
    return start


def expected_error(
    committee: Committee, optimum: Atoms, trajectories: Path, factor: float
) -> float:
    """Return the error of the forces to be expected along the MD of one molecule [eV/Å], from a directory of its trajectories.

    It is the members' disagreement times ``factor``, see
    :class:`palirs.learning.calibration.Calibration`.
    """
    frames = geometries(sorted(trajectories.rglob("*.xyz")))
    if not frames:
        return float("nan")
    met = [
        on_grid(Atoms(optimum.numbers, positions=atoms.positions))
        for atoms in frames[:: 1 + len(frames) // MET]
    ]
    return factor * float(
        np.mean(
            [
                float(force_spread(torch.tensor(one)).mean())
                for one in committee.evaluate(met).forces
            ]
        )
    )


def _prediction(
    predictor: Predictor,
    own: Harmonic,
    run: Run,
    settings: Spectroscopy,
    temperature: float,
    expected: float,
) -> Prediction:
    about, name = predictor.about, run.molecule
    label = f"palirs ({about['engine']}), {temperature:g} K, {len(run.dipoles)} × {settings.production.length:g} ps"
    spectrum = spectrum_of(run.dipoles, settings, temperature, label)
    same = canonical_of(own.atoms)
    learnt = same is not None and same in {canonical_of(atoms) for atoms in predictor.learnt}
    warnings = list(_doubts(about, own, temperature, expected, learnt))
    if any(run.broken):
        warnings.append(
            f"{sum(map(bool, run.broken))} of {len(run.broken)} trajectories were left out: {next(filter(None, run.broken))}"
        )
    for text in warnings:
        log.warning("%s: %s", name, text)
    rows = table(
        {"predicted": spectrum}, settings.window, own, own, densities_of(run.rates, settings)
    )
    values = {one.name: getattr(spectrum, one.name) for one in fields(Spectrum)}
    return Prediction(
        **values, molecule=own.atoms, temperature=temperature, bands=rows, harmonic=own, expected_error=expected, learnt=learnt,
        warnings=tuple(warnings),
    )  # fmt: skip


def _doubts(
    about: dict[str, Any], own: Harmonic, temperature: float, expected: float, learnt: bool
) -> Sequence[str]:
    """Return why the spectrum may be wrong."""
    found = []
    usual = float(about.get("expected_meV_per_A") or np.nan)
    told = f"the forces are expected to be off by {1e3 * expected:.1f} meV/Å along this MD"
    compared = (
        f"{told} ({usual:.1f} for the molecules that were learnt)" if np.isfinite(usual) else told
    )
    if not np.isfinite(expected):
        found.append(
            "the members' disagreement was never calibrated, so nothing is known of the error of the forces"
        )
    elif 1e3 * expected > FAR * (
        usual if np.isfinite(usual) else float(about.get("forces_goal_meV_per_A") or 10.0)
    ):
        found.append(f"out of domain: {compared}")
    if not learnt:
        found.append(
            f"the models did not learn this molecule; {compared}, and that is often too low for molecules that were not learnt"
        )
    if temperature > max(about["temperatures"]):
        found.append(
            f"{temperature:g} K is hotter than what the models have explored ({max(about['temperatures']):g} K)"
        )
    if own.frequencies[0] < -10:
        found.append(f"the optimum is a saddle point ({-own.frequencies[0]:.0f}i cm⁻¹)")
    return found
