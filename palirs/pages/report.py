"""The report of a study: its chapters, caveats, what it cost, and how to reproduce it."""

from collections.abc import Collection, Sequence
from importlib.metadata import version

import numpy as np

from palirs.geometry.electrons import Electrons
from palirs.journal import Journal
from palirs.learning.completed import MEASURED, trained
from palirs.learning.quality.convergence import BEADS, STRONG_INTENSITY
from palirs.learning.quality.modes import INTENSITY, WAVENUMBER
from palirs.pages.method import method
from palirs.pages.page import Chapter, render
from palirs.production.trajectories import broken
from palirs.report import anharmonic, sections, spectral
from palirs.report.sections import Section
from palirs.results import StudyResults
from palirs.settings import StudySettings
from palirs.settings.md import kind_of_md
from palirs.spectra.bands import band_error
from palirs.spectra.store import COMPUTED, SpectrumStore
from palirs.units import duration
from palirs.vibrations import Harmonic

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
"""Test structures; the errors of fewer are unreliable."""
UNSURE = 0.1
"""Relative standard error of a band, or error of intensities, that is a caveat."""
MISSED = 0.15
"""Share of the harmonic intensity outside the window that is told."""


def chapters(
    results: StudyResults, study: StudySettings, journal: Journal, config: str
) -> list[Chapter]:
    """Draw every figure and return the chapters of the report.

    Parameters
    ----------
    results : StudyResults
        Of the study.
    study : StudySettings
        The settings.
    journal : Journal
        Of the study.
    config : str
        Its settings as YAML.
    """
    store = results.spectra
    labels = round(results.history[-1].get("labels.used", 0))
    kinds = _kinds(store)
    if any(results.anharmonic(name, "committee") for name in store.molecules):
        kinds.append("anharmonic")
    states = {name: Electrons.of(each.atoms) for name, each in results.references.items()}
    told = {name: str(electrons) for name, electrons in states.items() if not electrons.ordinary}
    text, cited = method(study, store.molecules, trained(results.history), labels, kinds, told)
    return [
        Chapter(
            "Spectra",
            [
                *spectral.spectra(results),
                *spectral.conformers(results),
                *spectral.temperatures(results),
                *spectral.lengths(results),
            ],
        ),
        Chapter(
            "Normal modes",
            [
                *spectral.modes(results),
                *anharmonic.levels(results),
                *anharmonic.isotopologues(results),
            ],
        ),
        Chapter(
            "Learning",
            [
                sections.learning_curves(results),
                sections.data(results),
                *sections.coverage(results),
            ],
        ),
        Chapter(
            "Errors",
            [
                *sections.test_set(results),
                sections.errors(results),
                *sections.parities(results),
                *sections.reliability(results),
                *sections.ended_early(results),
            ],
        ),
        Chapter("Method", text=text),
        Chapter("References", text=render("references.html", cited=cited)),
        Chapter("Cost", cost(results, study, journal)),
        Chapter("Reproduce", reproduce(journal)),
        Chapter("Settings", [Section("Settings", code=config)]),
    ]


def _kinds(store: SpectrumStore) -> list[str]:
    """Return the kinds of computed spectra that there are."""
    return [
        kind
        for kind in COMPUTED
        if any(store.file(name, kind).exists() for name in store.molecules)
    ]


def caveats(results: StudyResults, study: StudySettings) -> list[str]:
    """Return what limits the use of a study's numbers, in sentences."""
    return [
        *_of_models(results, study),
        *of_nuclei(study, _kinds(results.spectra), results.history[-1].get(BEADS)),
        *_of_spectra(results),
        *_of_trajectories(results),
    ]


def _of_models(results: StudyResults, study: StudySettings) -> list[str]:
    last, goals = results.history[-1], study.learning
    sentences = [
        f"{name} is no longer the molecule that was given: in its {study.engine.name} optimum "
        f"{change}. All numbers are of the molecule that it has become."
        for name, change in results.rearranged.items()
    ]
    errors = {"": last["harmonic.mae_cm1"], " of the modes held out": last.get(WAVENUMBER, 0.0)}
    kind, error = max(errors.items(), key=lambda item: item[1])
    if error >= goals.harmonic_mae:
        sentences.append(
            f"Harmonic frequencies{kind} are off by {error:.1f} cm⁻¹ on average; the goal of "
            f"{goals.harmonic_mae:g} cm⁻¹ was not reached."
        )
    if failed := int(last.get("harmonic.failed", 0)):
        sentences.append(
            f"The committee does not find the optimum of {failed} molecule(s); errors of "
            "frequencies leave them out."
        )
    if goals.forces_mae is not None:
        measured, kind = last.get(MEASURED), kind_of_md(last.get(BEADS))
        sentences += _of_forces(measured, results.expected[-1], goals.forces_mae, kind)
    errors = [results.intensities.get(STRONG_INTENSITY, 0.0), last.get(INTENSITY, 0.0)]
    if (share := max(errors)) > (goals.intensities or UNSURE):
        if goals.intensities is None:
            advice = "continue the study with learning.intensities=0.05 to improve them"
        else:
            advice = f"the goal was {goals.intensities:.0%}; learning.iterations may be raised"
        sentences.append(
            f"Harmonic intensities of strong modes are off by {share:.0%} on average, and band "
            f"areas are no more accurate; {advice}."
        )
    if len(results.test) < FEW:
        sentences.append(
            f"Errors are those of {len(results.test)} test structures: too few to rely on."
        )
    if study.temperature > max(study.sampler.temperatures):
        sentences.append(
            f"The spectra are of {study.temperature:g} K, hotter than the committee's exploration."
        )
    return sentences


def _of_forces(measured: float | None, expected: float, goal: float, kind: str = "MD") -> list[str]:
    """Return a caveat where the forces along MD miss the goal, or are not known.

    Measured on frames of MD that were not learnt, or expected. ``kind``: which MD it is.
    """
    if (expected if measured is None else measured) < goal:
        return []
    if measured is not None:
        return [f"Forces are off by {measured:.1f} meV/Å along {kind}; the goal is {goal:g} meV/Å."]
    sentence = f"Forces are expected to be off by {expected:.1f} meV/Å along {kind}"
    if not np.isfinite(expected):
        sentence = (
            f"The error of the forces along {kind} is not known: there was no exploration after "
            "the last training"
        )
    return [f"{sentence}; the goal is {goal:g} meV/Å."]


def of_nuclei(
    study: StudySettings, kinds: Collection[str], explored: float | None = None
) -> list[str]:
    """Return a caveat where predicted spectra, among these kinds, are those of ring polymers.

    ``explored``: beads of the last exploration; ``None`` if it was classical.
    """
    beads = study.spectrum.ring_beads
    if not beads or "predicted" not in kinds:
        return []
    sentence = (
        f"Predicted spectra are those of ring polymers of {beads} beads: bands of high wavenumber "
        "are a hundred cm⁻¹ too wide and some 25 too high"
    )
    if explored is not None:
        sentence += "."
    else:
        sentence += (
            ", and beads go where exploration, which was classical, did not: "
            "sampler.nuclei=ring_polymer task=active_learning lets the study learn that."
        )
    if "reference" in kinds:
        sentence += (
            " The engine's own MD is classical: what the two differ by is not an error of the "
            "committee."
        )
    return [sentence]


def _of_spectra(results: StudyResults) -> list[str]:
    store, sentences = results.spectra, []
    for name in store.molecules:
        spectra = store.read(name)
        predicted, experiment = spectra.get("predicted"), spectra.get("experiment")
        if predicted is not None and predicted.blocks is None:
            sentences.append(
                f"The standard error of the spectrum of {name} is not known: there is too little "
                "MD to estimate it."
            )
        elif predicted is not None:
            error = band_error(predicted, store.window)
            if error > UNSURE:
                sentences.append(
                    f"Strong bands of {name} are known to {error:.0%} only; more MD improves that "
                    "(spectrum.production.until=0.05)."
                )
        if name in results.references:
            sentences += outside(name, results.references[name], store.window)
        if experiment is not None and experiment.doubt:
            sentences.append(f"The measured spectrum of {name}: {experiment.doubt}.")
        scores = {key.rpartition(".")[2]: value for key, value in results.compared[name].items()}
        if scores.get("pcc_ml_ref_high", 1.0) < scores.get("pcc_ref_ref_low", 0.0):
            sentences.append(
                f"The prediction for {name} is less similar to the engine's own MD (PCC "
                f"{scores['pcc_ml_ref']:.3f}) than the two halves of that MD are to each other "
                f"({scores['pcc_ref_ref']:.3f}): too little MD does not explain the difference."
            )
    return sentences


def outside(name: str, vibrations: Harmonic, window: tuple[float, float]) -> list[str]:
    """Return a caveat where much of a molecule's harmonic intensity lies outside the window."""
    strength = vibrations.intensities
    if strength is None or not strength.sum() > 0:
        return []
    far = (vibrations.frequencies < window[0]) | (vibrations.frequencies > window[1])
    share = float(strength[far].sum() / strength.sum())
    if share < MISSED:
        return []
    strongest = vibrations.frequencies[np.where(far, strength, -1.0).argmax()]
    return [
        f"{share:.0%} of the harmonic intensity of {name} lies outside spectrum.window = "
        f"[{window[0]:g}, {window[1]:g}], most of it near {strongest:.0f} cm⁻¹: figures and "
        "similarities leave it out; a wider spectrum.window shows it."
    ]


def _of_trajectories(results: StudyResults) -> list[str]:
    ended = broken(results.directory / "trajectories")
    if not ended:
        return []
    return [
        f"{len(ended)} trajectories, of any iteration or temperature, ended early and are left "
        "out; the chapter on errors gives the reasons."
    ]


def headline(results: StudyResults) -> dict[str, float]:
    """Return the largest error of a strong band, and the mean PCC of prediction and reference.

    Both over the molecules that have them; a number that no molecule has is left out.
    """
    store = results.spectra
    spectra = [store.read(name).get("predicted") for name in store.molecules]
    errors = [band_error(spectrum, store.window) for spectrum in spectra if spectrum is not None]
    correlations = [
        value
        for scores in results.compared.values()
        for key, value in scores.items()
        if key.endswith(".pcc_ml_ref")
    ]
    numbers = {}
    if np.isfinite(errors).any():
        numbers["band_error"] = float(np.nanmax(errors))
    if correlations:
        numbers["pcc_ml_ref"] = float(np.mean(correlations))
    return numbers


def cost(results: StudyResults, study: StudySettings, journal: Journal) -> list[Section]:
    """Return reference calculations, time and memory of each stage, and what they replaced."""
    stages = journal.stages()
    rows = [
        {
            "stage": name.replace("_", " "),
            "reference calculations": f"{spent['labels']:.0f}" if "labels" in spent else "",
            "time": duration(spent["seconds"]),
            "peak memory (MiB)": f"{spent.get('memory_MiB', 0):,.0f}",
        }
        for name, spent in stages.items()
    ]
    if rows:
        total = sum(spent.get("labels", 0) for spent in stages.values())
        rows.append(
            {
                "stage": "total",
                "reference calculations": f"{total:.0f}",
                "time": duration(sum(spent["seconds"] for spent in stages.values())),
            }
        )
    parts = {
        "exploration": "exploration",
        "labels": "labels",
        "training": "training",
        "frequencies": "harmonic",
    }
    iterations = [
        {
            "iteration": number,
            **{title: duration(metrics.get(f"time.{key}_s", 0.0)) for title, key in parts.items()},
        }
        for number, metrics in enumerate(results.history)
    ]
    return [
        Section("Stages", rows=rows, note=_cost_in_words(results, study)),
        Section("Time of each iteration", rows=iterations),
    ]


def _cost_in_words(results: StudyResults, study: StudySettings) -> str:
    store, labels = results.spectra, results.history[-1].get("labels.used", 0)
    spectra = [store.read(name).get("predicted") for name in store.molecules]
    time = sum(spectrum.time or 0.0 for spectrum in spectra if spectrum is not None)
    text = ""
    if time and labels:
        steps = time * 1e3 / study.spectrum.timestep
        text = (
            f"The spectra rest on {labels:.0f} reference calculations and {steps:,.0f} steps of "
            f"committee MD: {steps / labels:,.0f} steps for each calculation. "
        )
    return (
        f"{text}Reference calculations are those of vibrations and active learning, without the "
        "steps of the engine's own MD and the labels of test sets; labels that were already in "
        "the store cost nothing. Times are of all programs that worked on the study, without "
        "unfinished stages of a program that was killed outright."
    )


def reproduce(journal: Journal) -> list[Section]:
    """Return the commands that made the study, and the versions it was made with."""
    programs = journal.programs()
    rows = [
        {
            "started": entry["time"],
            "task": entry["task"],
            "palirs": entry["version"] + _commit(entry),
            "processor": entry["processor"],
        }
        for entry in programs
    ]
    note = (
        "The settings below are complete: with the same settings, the same versions and the same "
        "kind of processor, the numbers are the same. A copy of labels.db in the new study "
        "directory saves the reference calculations."
    )
    versions = [{"library": name, "version": version(name)} for name in LIBRARIES]
    return [
        Section("Commands and programs", rows=rows, note=note, code=_commands(programs)),
        Section("Libraries of the program that wrote this page", rows=versions),
    ]


def _commit(entry: dict) -> str:
    if "commit" not in entry:
        return ""
    return f" ({entry['commit'][:8]}{', changed since' if entry.get('changed') else ''})"


def _commands(programs: Sequence[dict]) -> str:
    typed = dict.fromkeys(entry["command"] for entry in programs)
    return "\n".join(
        f"python {text}" if text.split()[0].endswith(".py") else text for text in typed
    )
