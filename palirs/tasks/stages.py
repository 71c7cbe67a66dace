"""The stages of a study, in order. Each starts from what the study directory holds."""

import json
import logging
import re
from dataclasses import replace
from urllib.parse import quote

import numpy as np

from palirs import keys
from palirs.learning import errors
from palirs.learning.frequencies import compare_intensities, intensities_in_words
from palirs.learning.iterations import complete_iterations
from palirs.learning.loop import EXPECTED, learn
from palirs.learning.state import BRIGHT, State
from palirs.lock import holder
from palirs.mace.training.committees import starting_point, train_dipoles
from palirs.molecules import read_frames
from palirs.pages import page, report
from palirs.pages.comparison import write_summary
from palirs.planning import measuring, rates
from palirs.planning.plan import plan
from palirs.planning.work import rate_names, workers
from palirs.recipes import PalirsError
from palirs.report.comparison import in_words
from palirs.report.sections import Findings
from palirs.spectra.files import write_csv
from palirs.study import Session, growth
from palirs.tasks.prediction import publish
from palirs.tasks.spectral import aimd, spectra, timed
from palirs.tracking import following

log = logging.getLogger(__name__)

SLOW = 0.5
"""Seconds that a label takes on average, above which the start of the workers is no part of it that
matters."""


def study(session: Session) -> None:
    """Run everything: active learning, dipole model, production, report; then the engine's own MD, and the report with it."""
    active_learning(session)
    if not session.study.engine.gives_dipole:
        log.warning(
            "%s declares no dipole: there is no spectrum to be made, the study ends with its potential",
            session.study.engine.name,
        )
        return
    dipole(session)
    spectra(session)
    publish(session)
    analyse(session)
    if session.study.spectrum.reference is not None:
        aimd(session)
        analyse(session)


def check(session: Session, measure: bool) -> None:
    """Print what the study will do and what it will cost; compute nothing.

    Parameters
    ----------
    session : Session
        The study.
    measure : bool
        First measure how fast this machine is at it.
    """
    if measure:
        recipes = session.study.executor
        if not all(workers(one) for one in (recipes.labels, recipes.training, recipes.md)):
            raise PalirsError(
                "task.measure = true: it would measure Slurm jobs; give executor=laptop for the rates of this machine"
            )
        measuring.measure(
            session.study,
            session.molecules,
            (session.labeller.executor, session.trainers, session.movers),
        )
    if at_work := holder(session.directory):
        print(f"at work now            {at_work}")
    print("\n".join(plan(session.study, session.molecules, session.directory)))


def harmonic(session: Session) -> None:
    """Relax each molecule with the engine and print its harmonic frequencies and intensities."""
    for known in session.references:
        name = known.atoms.info[keys.MOLECULE]
        intensities = (
            known.intensities
            if known.intensities is not None
            else np.full_like(known.frequencies, np.nan)
        )
        write_csv(
            session.directory / "spectra" / f"{name}-harmonic.csv",
            {"wavenumber_cm1": known.frequencies, "intensity_km_per_mol": intensities},
        )
        print(f"{name}: wavenumber (cm⁻¹), intensity (km/mol)")
        for frequency, intensity in zip(known.frequencies, intensities, strict=True):
            print(f"  {frequency:9.1f} {intensity:9.2f}")


def active_learning(session: Session) -> None:
    """Label, train, explore, until the harmonic frequencies are good or the iterations are used up."""
    if not complete_iterations(session.directory):
        for training in (session.study.training.potential, session.study.training.dipole):
            starting_point(
                training, None, None, 0
            )  # a file that is not there is told before anything is computed
    times, stage = {}, session.journal.stage
    if (cheap := session.cheap) is not None:
        with (
            stage("pretraining", cheap_labels=lambda: cheap.computed) as done,
            following(session.directory, session.tracker),
        ):
            session.pretrain()
        if (early := session.pretrained) is not None:
            files = sorted(early.glob("potential-*.jsonl"))
            measuring.note_training(
                session.study,
                "pretraining",
                files,
                measuring.size(read_frames(early / "train.xyz")),
                done,
            )
        times["time.pretraining_s"] = done["seconds"]
    with stage("reference_vibrations", labels=lambda: session.labeller.computed) as done:
        settings = session.plan
    times["time.reference_vibrations_s"] = done["seconds"]
    log.info(
        "reference vibrations of %d molecules, %d calculations",
        len(settings.references),
        session.labeller.computed,
    )
    with (
        stage("active_learning", labels=lambda: session.labeller.computed) as done,
        following(session.directory, session.tracker),
    ):
        state = learn(
            settings,
            session.labeller,
            session.trainers,
            session.movers,
            lambda state: _after_iteration(session, state, times),
        )
    _note_learning(session, done)
    paid = session.labeller
    log.info(
        "labels of this run: %d calculated, %d found in %s, %d failed",
        paid.computed,
        paid.found,
        paid.store.path,
        paid.failed,
    )
    last = complete_iterations(session.directory)[-1]
    for file in (*sorted(last.glob("*.xyz")), *sorted(last.glob("potential-*.safetensors"))):
        session.tracker.artifact(file, "dataset" if file.suffix == ".xyz" else "models")
    for context, file in (("training", last / "train.xyz"), ("testing", last / "test.xyz")):
        count = len(read_frames(file))
        profile = json.dumps(
            {
                "structures": count,
                "molecules": len(session.molecules),
                "engine": session.study.engine.name,
            }
        )
        session.tracker.dataset(
            file, f"{session.directory.name} {last.name} {file.stem}", context, profile
        )
    if not state.good(settings.learning):
        m, goal = state.metrics, settings.learning
        missing = f"learning.harmonic_mae={goal.harmonic_mae:g} is not reached"
        if goal.intensities is not None and state.near(replace(goal, intensities=None)):
            missing = f"learning.intensities={goal.intensities:g} is not reached"
        if state.lacking:
            missing = "what has been added to the study was not sampled yet"
        elif state.near(goal):
            missing = f"whether learning.forces_mae={goal.forces_mae:g} is reached is not known, no exploration came after"
        log.warning(
            "learning.iterations=%d are used up: %s (harmonic MAE %.2f cm⁻¹%s, forces MAE %.1f meV/Å on test frames); raise the limit and "
            "run again to go on",
            *(
                goal.iterations,
                missing,
                m["harmonic.mae_cm1"],
                _without(m),
                m["forces.mae_meV_per_A"],
            ),
        )


def _note_learning(session: Session, done: dict[str, float]) -> None:
    """Keep how long labels and updates took, for the plans of later studies."""
    s, paid, last = session.study, session.labeller, complete_iterations(session.directory)[-1]
    measuring.note_training(
        s,
        "training",
        sorted(last.glob("potential-*.jsonl")),
        measuring.size(read_frames(last / "train.xyz")),
        done,
    )
    if (
        paid.computed
        and (count := workers(s.executor.labels))
        and paid.seconds / paid.computed > SLOW
    ):
        rates.note(
            "label",
            rate_names(s)["label"],
            measuring.size(session.molecules),
            paid.seconds * count / paid.computed,
        )


def _after_iteration(session: Session, state: State, times: dict[str, float]) -> None:
    """Log an iteration: the frequencies first, MLflow's comparisons open on what was logged first."""
    session.tracker.metrics(state.metrics, step=state.iteration - 1)
    session.tracker.metrics(times)
    m = state.metrics
    if state.enough:
        log.info(
            "expected along MD: forces MAE %.1f meV/Å, below learning.forces_mae; no more labels",
            m[EXPECTED],
        )
        return
    log.info(
        "iteration %d: %d structures, harmonic MAE %.2f cm⁻¹%s%s, forces MAE %.1f meV/Å, energy MAE %.2f meV",
        state.iteration - 1,
        m["dataset.size"],
        m["harmonic.mae_cm1"],
        _without(m),
        f", intensities of strong modes off by {m[BRIGHT]:.0%}" if BRIGHT in m else "",
        m["forces.mae_meV_per_A"],
        m["energy.mae_meV"],
    )


def _without(metrics: dict[str, float]) -> str:
    failed = int(metrics.get("harmonic.failed", 0))
    return f" (without {failed} molecule(s) that have no optimum)" if failed else ""


def dipole(session: Session) -> None:
    """Train the dipole model on the final data set."""
    s = session.study
    if not s.engine.gives_dipole:
        raise PalirsError(
            f"{s.engine.name} declares no dipole (engine.properties); a dipole model has nothing to learn from"
        )
    last, files = session.last_iteration, session.dipole_files
    with timed(session, "dipole") as done, following(session.directory, session.tracker):
        learnt = read_frames(last / "train.xyz")
        model = train_dipoles(
            files,
            learnt,
            s.model.dipole,
            s.training.dipole,
            s.seed,
            session.trainers,
            session.pretrained,
        )
    measuring.note_training(
        s, "dipole", [file.with_suffix(".jsonl") for file in files], measuring.size(learnt), done
    )
    test = read_frames(last / "test.xyz")
    metrics = errors.dipole_errors(model, test)
    intensities = compare_intensities(session.committee, model, session.references).metrics()
    session.tracker.metrics(
        metrics | intensities, step=len(complete_iterations(session.directory)) - 1
    )
    for file in files:
        session.tracker.artifact(file, "models")
    log.info("dipole model: MAE %.1f mDebye on the test frames", metrics["dipole.mae_mD"])
    if intensities:
        log.info("harmonic intensities: %s", intensities_in_words(intensities))


def analyse(session: Session) -> None:
    """Draw the figures and write the report from what the study directory holds."""
    found = session.findings
    with session.journal.stage("report") as done:
        content = report.chapters(
            found, session.study, session.journal, (session.directory / "config.yaml").read_text()
        )
    rates.note(
        "report",
        "report",
        measuring.size(session.molecules),
        done["seconds"] / len(session.molecules),
    )
    told, caveats = _summary(session, found), report.caveats(found, session.study)
    written = page.write(
        session.directory / "report.html", f"Study {session.directory.name}", told, caveats, content
    )
    for file in report.figures_of(content):
        session.tracker.artifact(file, "figures")
    summary = {key: found.intensities[key] for key in (BRIGHT,) if key in found.intensities}
    write_summary(session.directory, summary | report.headline(found))
    for molecule, compared in found.compared.items():
        if compared:
            session.tracker.metrics(compared)
            log.info("%s: %s", molecule, in_words(compared))
    for file in (written, session.directory / "errors.csv"):
        session.tracker.artifact(file)
    for file in sorted((session.directory / "spectra").glob("*")):
        session.tracker.artifact(file, "spectra")
    session.tracker.describe("\n\n".join([*map(_in_markdown, told), *_pictures(found)]))
    log.info("report: %s", written)


def _pictures(found: Findings) -> list[str]:
    """Return the spectra for the description of the run, how alike they are, and where to find more."""
    lines, shelf = [], found.shelf
    for molecule in shelf.molecules[:3]:
        stem = f"{molecule}-{shelf.temperature:g}K"
        if found.figure(stem).exists():
            name = _in_markdown(molecule)
            lines += [f"{name}: {in_words(found.compared[molecule]) or 'nothing to compare with'}"]
            lines += [
                f"![Spectrum of {name}](get-artifact?path=figures/{quote(stem)}.png&run_uuid={{run}})"
            ]
    return [*lines, "Artifacts: `report.html`, interactive spectra in `spectra/`, `config.yaml`."]


def _in_markdown(name: str) -> str:
    """Return a name whose characters mean nothing to Markdown."""
    return re.sub(r"[\\`*_{}\[\]()#+!|<>~]", r"\\\g<0>", name)


def _summary(session: Session, found: Findings) -> list[str]:
    s, history = session.study, found.history
    return [
        *(
            f"{name} relaxes to another molecule: {change}."
            for name, change in found.rearranged.items()
        ),
        f"{', '.join(session.shelf.molecules[:6])}{' and others' if len(session.molecules) > 6 else ''}: reference {s.engine.name}, "
        f"committee of {s.committee.size}, {history[-1]['dataset.size']:.0f} labelled structures after {len(history)} "
        f"training{'s' if len(history) > 1 else ''}; "
        f"harmonic frequencies within {history[-1]['harmonic.mae_cm1']:.1f} cm⁻¹ of the reference on average{_without(history[-1])}.",
        *(f"Later came {what}." for what in growth(session.directory)),
    ]
