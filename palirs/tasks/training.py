"""The trainings of a study, as its tasks run them: pretraining, active learning, dipole models."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from palirs.learning import loop, pretraining
from palirs.learning.completed import MEASURED, complete_iterations, last_iteration
from palirs.learning.iterations import final_committee, final_dipole_files
from palirs.learning.modes import learnt_derivatives
from palirs.learning.quality.convergence import BEADS, EXPECTED
from palirs.learning.quality.errors import dipole_errors, errors_of_md
from palirs.learning.quality.frequencies import compare_intensities, intensities_in_words
from palirs.learning.quality.modes import intensity_errors
from palirs.learning.state import DipoleSetup, LearningSetup, LearningState
from palirs.mace.models.dipole import DipoleModel
from palirs.mace.training.committees import starting_point, train_dipoles
from palirs.molecules import read_frames
from palirs.recipes import PalirsError
from palirs.settings import Learning
from palirs.settings.md import kind_of_md
from palirs.study.references import cheap_labeller, cheap_vibrations, label_counters
from palirs.study.session import Session
from palirs.vibrations import Harmonic

log = logging.getLogger(__name__)

MOST = 5
"""Molecules that are named where a goal is not reached."""


def check_start_models(session: Session) -> None:
    """Raise :class:`PalirsError` if a model to start from is missing."""
    if not complete_iterations(session.directory):
        for training in (session.settings.training.potential, session.settings.training.dipole):
            starting_point(training, None, None, 0)


def pretrain(session: Session) -> tuple[Harmonic, ...]:
    """Learn the cheap engine, if there is one; return its vibrations of the molecules."""
    labeller, settings = cheap_labeller(session), session.settings
    if labeller is None:
        return ()
    with session.journal.stage("pretraining", cheap_labels=lambda: labeller.computed):
        cheap = cheap_vibrations(session, labeller)
        setup = replace(
            _setup(session, cheap, 0), directory=session.directory / "pretraining", pretrained=None
        )
        pretraining.pretrain(
            setup,
            settings.pretraining,
            settings.model,
            settings.committee.dipoles if settings.engine.gives_dipole else 0,
            labeller,
            session.training_executor,
            session.md_executor,
        )
    return cheap


def learn(session: Session, references: tuple[Harmonic, ...]) -> LearningState:
    """Label, train, explore, until the errors are below the goals or the iterations are used up."""
    labeller, goals = session.labeller, session.settings.learning
    setup = _setup(session, references, paid=len(labeller.asked))
    log.info(
        "reference vibrations of %d molecules, %d calculations", len(references), labeller.computed
    )
    with session.journal.stage("active_learning", **label_counters(labeller)):
        state = loop.learn(
            setup,
            labeller,
            session.training_executor,
            session.md_executor,
            lambda state: _log_iteration(session, state),
        )
    log.info(
        "labels of this run: %d calculated, %d found in %s, %d failed",
        labeller.computed,
        labeller.found,
        labeller.store.path,
        labeller.failed,
    )
    if not state.converged(goals):
        log.warning(
            "%s: %s (harmonic error %.2f cm⁻¹%s, forces MAE %.1f meV/Å on test frames); %s",
            *_limit(goals, state, setup.paid),
        )
    return state


def train_dipole_model(session: Session, references: Sequence[Harmonic]) -> DipoleModel:
    """Train the dipole models on the final data set."""
    settings = session.settings
    if not settings.engine.gives_dipole:
        raise PalirsError(
            f"{settings.engine.name} declares no dipole (engine.properties); a dipole model has "
            "nothing to learn from"
        )
    last = last_iteration(session.directory)
    files = final_dipole_files(session.directory, settings.committee.dipoles)
    train, test = (read_frames(last / name) for name in ("train.xyz", "test.xyz"))
    with session.journal.stage("dipole") as done:
        model = train_dipoles(
            files,
            train,
            settings.model.dipole,
            settings.training.dipole,
            settings.seed,
            session.training_executor,
            _pretrained(session),
            learnt_derivatives(references),
        )
    session.tracker.metrics({"time.dipole_s": done["seconds"]})
    committee = final_committee(session.directory)
    intensities = compare_intensities(committee, model, references).metrics()
    metrics = dipole_errors(model, test)
    if settings.training.dipole.derivatives:
        intensities |= intensity_errors(model, references)
    session.tracker.metrics(metrics | intensities, step=int(last.name))
    log.info("dipole model: MAE %.1f mDebye on the test frames", metrics["dipole.mae_mD"])
    if intensities:
        log.info("harmonic intensities: %s", intensities_in_words(intensities))
    return model


def _setup(session: Session, references: tuple[Harmonic, ...], paid: int) -> LearningSetup:
    """Return the setup of active learning; ``paid``: labels that the references took."""
    s = session.settings
    dipoles = DipoleSetup(s.committee.dipoles, s.model.dipole, s.training.dipole)
    return LearningSetup(
        directory=session.directory,
        seed=s.seed,
        members=s.committee.size,
        learning=s.learning,
        architecture=s.model.potential,
        training=s.training.potential,
        initial=s.initial,
        sampler=s.sampler,
        selector=s.selector,
        references=references,
        temperature=s.temperature,
        paid=paid,
        pretrained=_pretrained(session),
        evaluation=s.evaluation,
        dipoles=None if s.learning.intensities is None else dipoles,
    )


def _pretrained(session: Session) -> Path | None:
    """Return the directory of the pretrained models, if there are any."""
    iterations = complete_iterations(session.directory / "pretraining")
    return (
        iterations[-1] if session.settings.pretraining.engine is not None and iterations else None
    )


def _log_iteration(session: Session, state: LearningState) -> None:
    """Log an iteration: its errors first, MLflow's comparisons open on what was logged first."""
    session.tracker.metrics(state.metrics, step=state.iteration - 1)
    stages = session.journal.stages()
    for stage in ("pretraining", "reference_vibrations"):
        if stage in stages:
            session.tracker.metrics({f"time.{stage}_s": stages[stage]["seconds"]})
    metrics, harmonic = state.metrics, state.harmonic
    kind = kind_of_md(metrics.get(BEADS))
    if state.stalled:
        return  # what is missing is said at the end
    if MEASURED in metrics and state.forces_converged:
        log.info(
            "measured along %s: forces MAE %.1f meV/Å, below learning.forces_mae; no more labels",
            kind,
            metrics[MEASURED],
        )
        return
    if state.forces_converged:
        log.info(
            "expected along %s: forces MAE %.1f meV/Å, below learning.forces_mae; no more labels",
            kind,
            metrics[EXPECTED],
        )
        return
    compared = bool(harmonic.intensities)
    md, _ = errors_of_md(metrics)
    held_out = metrics.get("harmonic.held_out_mae_cm1")
    log.info(
        "iteration %d: %d structures, harmonic MAE %.2f cm⁻¹%s%s%s, forces MAE %.1f "
        "meV/Å%s, energy MAE %.2f meV",
        state.iteration - 1,
        metrics["dataset.size"],
        metrics["harmonic.mae_cm1"],
        without_failed(harmonic.failed),
        f" ({held_out:.2f} in the modes held out)" if held_out is not None else "",
        f", intensities of strong modes off by {harmonic.intensity:.0%}" if compared else "",
        metrics["forces.mae_meV_per_A"],
        f" ({md:.1f} on frames of {kind})" if np.isfinite(md) else "",
        metrics["energy.mae_meV"],
    )


def without_failed(failed: float) -> str:
    """Return the remark on an average that molecules are missing from."""
    return f" (without {failed:.0f} molecule(s) that have no optimum)" if failed else ""


def _limit(goals: Learning, state: LearningState, paid: int) -> tuple[object, ...]:
    """Return what ended the learning, what is missing with which errors, and what to do."""
    if state.stalled:
        end = f"{goals.patience} iterations have not made it any better"
        advice = (
            "more labels alone will not help: try more training.potential.updates, a larger model, "
            "or other samples; learning.patience=null goes on"
        )
    elif state.labels_left(goals, paid) <= 0:
        end = f"learning.budget={goals.budget} is spent"
        advice = "raise the budget and run again to go on"
    else:
        end = f"learning.iterations={goals.iterations} are used up"
        advice = "raise the limit and run again to go on"
    return (
        end,
        _missing(goals, state),
        state.harmonic.frequency,
        without_failed(state.harmonic.failed),
        state.metrics["forces.mae_meV_per_A"],
        advice,
    )


def _missing(goals: Learning, state: LearningState) -> str:
    """Return which goal was not reached."""
    if state.unsampled:
        return "what has been added to the study was not sampled yet"
    if state.harmonic.converged(goals):
        goal = f"learning.forces_mae={goals.forces_mae:g}"
        if state.stalled:
            return f"{goal} is not reached"
        return f"whether {goal} is reached is not known, no exploration came after"
    if state.harmonic.converged(replace(goals, anharmonic=None)):
        return f"learning.anharmonic={goals.anharmonic:g} is not reached"
    if state.harmonic.converged(replace(goals, anharmonic=None, intensities=None)):
        return f"learning.intensities={goals.intensities:g} is not reached"
    by = _above(state.harmonic.frequencies, goals.harmonic_mae) if goals.converge == "each" else ""
    return f"learning.harmonic_mae={goals.harmonic_mae:g} is not reached{by}"


def _above(errors: dict[str, float], goal: float) -> str:
    """Return which of several molecules have errors above a goal [cm⁻¹], the largest first."""
    above = sorted((-error, name) for name, error in errors.items() if not error < goal)
    if not above or len(errors) == 1:
        return ""
    more = f" and {len(above) - MOST} more" if len(above) > MOST else ""
    return " by " + ", ".join(f"{name} ({-error:.1f} cm⁻¹)" for error, name in above[:MOST]) + more
