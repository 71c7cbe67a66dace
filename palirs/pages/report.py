"""The report of a study: its chapters, what should be known before its numbers are used, what it cost, and how to do it again."""

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np

from palirs.journal import Journal
from palirs.learning.quality.convergence import STRONG_INTENSITY
from palirs.pages.method import method
from palirs.pages.page import Chapter, render
from palirs.production import duration
from palirs.production.trajectories import broken
from palirs.report import sections, spectral
from palirs.report.sections import Section
from palirs.results import StudyResults
from palirs.settings import StudySettings
from palirs.spectra.bands import band_error

LIBRARIES = (
    "torch",
    "mace-torch",
    "e3nn",
    "ase",
    "numpy",
    "scipy",
    "scikit-learn",
    "dscribe",
    "rdkit",
    "tblite",
    "hydra-core",
    "mlflow",
)
FEW = 10
"""Test structures, below which an error is a guess."""
UNSURE = 0.1
"""Standard error of a band, or error of intensities, that is worth a warning."""


def chapters(
    found: StudyResults, study: StudySettings, journal: Journal, config: str
) -> list[Chapter]:
    """Return what the report consists of; draws every figure.

    Parameters
    ----------
    found : StudyResults
        What the study found.
    study : StudySettings
        The settings.
    journal : Journal
        Of the study.
    config : str
        Its settings as YAML.
    """
    store, used = found.spectra, round(found.history[-1].get("labels.used", 0))
    done = [
        kind
        for kind in ("predicted", "reference")
        if any(store.file(name, kind).exists() for name in store.molecules)
    ]
    text, cited = method(study, store.molecules, len(found.history), used, done)
    return [
        Chapter(
            "Spectra",
            [
                *spectral.spectra(found),
                *spectral.conformers(found),
                *spectral.temperatures(found),
                *spectral.lengths(found),
            ],
        ),
        Chapter("Normal modes", spectral.modes(found)),
        Chapter(
            "Learning",
            [sections.learning_curves(found), sections.data(found), *sections.coverage(found)],
        ),
        Chapter(
            "Errors",
            [
                *sections.test_set(found),
                sections.errors(found),
                *sections.parities(found),
                *sections.reliability(found),
                *sections.ended_early(found),
            ],
        ),
        Chapter("Method", text=text),
        Chapter("References", text=render("references.html", cited=cited)),
        Chapter("Cost", cost(found, study, journal)),
        Chapter("How to do it again", again(journal)),
        Chapter("Settings", [Section("Settings", code=config)]),
    ]


def warnings(found: StudyResults, study: StudySettings) -> list[str]:
    """Return what should be known before a number of a study is used, in sentences."""
    last, goals = found.history[-1], study.learning
    told = [
        f"{name} is no longer the molecule that was given: in its optimum by {study.engine.name} {change}. All numbers are of that one."
        for name, change in found.rearranged.items()
    ]
    if (error := last["harmonic.mae_cm1"]) >= goals.harmonic_mae:
        told.append(
            f"Harmonic frequencies are off by {error:.1f} cm⁻¹ on average; the goal of {goals.harmonic_mae:g} cm⁻¹ was not reached."
        )
    if failed := int(last.get("harmonic.failed", 0)):
        told.append(
            f"The committee does not find the optimum of {failed} molecule(s); frequencies are told without them."
        )
    expected = found.expected[-1]
    if goals.forces_mae is not None and not expected < goals.forces_mae:
        known = f"Forces are expected to be off by {expected:.1f} meV/Å along MD"
        known = (
            known
            if np.isfinite(expected)
            else "How far the forces are off along MD is not known: no exploration came after the last training"
        )
        told.append(f"{known}; the goal is {goals.forces_mae:g} meV/Å.")
    if (share := found.intensities.get(STRONG_INTENSITY, 0.0)) > (goals.intensities or UNSURE):
        further = "with learning.intensities=0.05 the study goes on to learn until they are better"
        if goals.intensities is not None:
            further = f"the goal was {goals.intensities:.0%}, learning.iterations may be raised"
        told.append(
            f"Harmonic intensities of strong modes are off by {share:.0%} on average, areas of bands are no surer; {further}."
        )
    if len(found.test) < FEW:
        told.append(f"Errors are those of {len(found.test)} test structures: too few to rely on.")
    if study.temperature > max(study.sampler.temperatures):
        told.append(
            f"The spectra are of {study.temperature:g} K, hotter than what the committee has explored."
        )
    return [*told, *_of_spectra(found)]


def _of_spectra(found: StudyResults) -> list[str]:
    store, told = found.spectra, []
    for name in store.molecules:
        known = store.read(name)
        if "predicted" in known and known["predicted"].blocks is None:
            told.append(
                f"How sure the spectrum of {name} is, is not known: there is too little MD to tell."
            )
        elif (
            "predicted" in known
            and (error := band_error(known["predicted"], store.window)) > UNSURE
        ):
            told.append(
                f"Strong bands of {name} are sure to {error:.0%} only; more MD makes them surer (spectrum.production.until=0.05)."
            )
        if "experiment" in known and known["experiment"].doubt:
            told.append(f"The measured spectrum of {name}: {known['experiment'].doubt}.")
        alike = {key.rpartition(".")[2]: value for key, value in found.compared[name].items()}
        if alike.get("pcc_ml_ref_high", 1.0) < alike.get("pcc_ref_ref_low", 0.0):
            told.append(
                f"The prediction for {name} is less like the engine's own MD (PCC {alike['pcc_ml_ref']:.3f}) than the halves of that are "
                f"like each other ({alike['pcc_ref_ref']:.3f}): the difference is not that of too little MD."
            )
    if ended := broken(found.directory / "trajectories"):
        told.append(
            f"{len(ended)} trajectories, of any iteration or temperature, ended early and are left out; the reasons are among the errors."
        )
    return told


def headline(found: StudyResults) -> dict[str, float]:
    """Return the largest error of a strong band, and the mean likeness of prediction and reference, of the molecules that have them."""
    store, told = found.spectra, {}
    known = {name: store.read(name) for name in store.molecules}
    errors = [
        band_error(one["predicted"], store.window) for one in known.values() if "predicted" in one
    ]
    alike = [
        value
        for one in found.compared.values()
        for key, value in one.items()
        if key.endswith(".pcc_ml_ref")
    ]
    told |= {"band_error": float(np.nanmax(errors))} if np.isfinite(errors).any() else {}
    return told | ({"pcc_ml_ref": float(np.mean(alike))} if alike else {})


def cost(found: StudyResults, study: StudySettings, journal: Journal) -> list[Section]:
    """Tell what the study took: reference calculations, time and memory of each stage, and the MD that they stand for."""
    rows, stages = [], journal.stages()
    for name, told in stages.items():
        row = {
            "stage": name.replace("_", " "),
            "reference calculations": f"{told['labels']:.0f}" if "labels" in told else "",
        }
        rows.append(
            row
            | {
                "time": duration(told["seconds"]),
                "largest memory (MiB)": f"{told.get('memory_MiB', 0):,.0f}",
            }
        )
    if rows:
        whole = {
            "stage": "together",
            "time": duration(sum(told["seconds"] for told in stages.values())),
        }
        rows.append(
            {
                **whole,
                "reference calculations": f"{sum(told.get('labels', 0) for told in stages.values()):.0f}",
            }
        )
    used, store = found.history[-1].get("labels.used", 0), found.spectra
    known = [store.read(name).get("predicted") for name in store.molecules]
    time = sum(one.time or 0.0 for one in known if one is not None)
    said = "Reference calculations are those of vibrations and active learning, not the steps of the engine's own MD or labels of tests. "
    if time and used:
        steps = time * 1e3 / study.spectrum.timestep
        said = (
            f"The spectra rest on {used:.0f} reference calculations; the {steps:,.0f} steps of MD that they were made of, "
            f"{steps / used:,.0f} for each of them, were run with the committee instead of the engine. {said}"
        )
    said += (
        "Times are of all programs that worked on the study, without what one that was killed outright did not finish. Labels that were "
        "found in the store cost nothing."
    )
    parts = [
        ("exploration", "exploration"),
        ("labels", "labels"),
        ("training", "training"),
        ("frequencies", "harmonic"),
    ]
    iterations = [
        {
            "iteration": number,
            **{title: duration(metrics.get(f"time.{key}_s", 0.0)) for title, key in parts},
        }
        for number, metrics in enumerate(found.history)
    ]
    return [
        Section("Stages", rows=rows, note=said),
        Section("Time of each iteration", rows=iterations),
    ]


def again(journal: Journal) -> list[Section]:
    """Tell the commands that made the study, and what it was made with."""
    programs = journal.programs()
    rows = [
        {
            "begun": entry["time"],
            "task": entry["task"],
            "palirs": entry["version"] + _commit(entry),
            "processor": entry["processor"],
        }
        for entry in programs
    ]
    note = (
        "The settings below are all there are: with the same, and these versions on the same kind of processor, numbers are the same. "
        "A copy of labels.db in the new directory saves the reference calculations."
    )
    versions = [{"library": name, "version": version(name)} for name in LIBRARIES]
    return [
        Section("Commands and programs", rows=rows, note=note, code=_commands(programs)),
        Section("Libraries of the program that wrote this page", rows=versions),
    ]


def _commit(entry: dict) -> str:
    return (
        f" ({entry['commit'][:8]}{', changed since' if entry.get('changed') else ''})"
        if "commit" in entry
        else ""
    )


def _commands(programs: Sequence[dict]) -> str:
    return "\n".join(dict.fromkeys(f"python {entry['command']}" for entry in programs))
