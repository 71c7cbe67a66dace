"""The references of a study: optimum and harmonic vibrations of its molecules by the engine."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from ase import Atoms

from palirs import keys
from palirs.geometry.rearrangement import rearrangement
from palirs.labels import Labeller
from palirs.learning.pretraining import start_geometry
from palirs.molecules import check_whole
from palirs.study.session import Session
from palirs.vibrations import Harmonic, minimum, together

log = logging.getLogger(__name__)


def reference_vibrations(
    session: Session, cheap: Sequence[Harmonic] | None = None
) -> tuple[Harmonic, ...]:
    """Relax the molecules with the reference engine and analyse their vibrations.

    Parameters
    ----------
    session : Session
        The study; what is not in its label store is calculated.
    cheap : sequence of Harmonic, optional
        From :func:`cheap_vibrations`, if they are known.
    """
    with session.journal.stage("reference_vibrations", **label_counters(session.labeller)):
        if cheap is None:
            cheap = cheap_vibrations(session, cheap_labeller(session))
        starts = session.molecules
        if cheap:
            starts = [start_geometry(*pair) for pair in zip(starts, cheap, strict=True)]
        references = vibrations_by(session.labeller, starts)
    if not session.settings.molecules.complexes:
        for reference in references:
            check_whole(reference.atoms)  # a start geometry may fall apart while it relaxes
    changes = rearrangements(session.molecules, references)
    for name, change in changes.items():
        log.warning(
            "%s relaxes to another molecule: %s; everything that follows is of that one",
            name,
            change,
        )
    if changes:
        texts = [f"{name} relaxes to another molecule: {text}." for name, text in changes.items()]
        session.tracker.describe("\n\n".join(texts))
    return references


def label_counters(labeller: Labeller) -> dict[str, Callable[[], float]]:
    """Return what the journal counts of labels in a stage: their number, and seconds."""
    return {"labels": lambda: labeller.computed, "label_seconds": lambda: labeller.seconds}


def vibrations_by(labeller: Labeller, molecules: Sequence[Atoms]) -> tuple[Harmonic, ...]:
    """Relax molecules with an engine and analyse their vibrations, through the label store."""
    return tuple(together([partial(minimum, atoms) for atoms in molecules], labeller))


def cheap_labeller(session: Session) -> Labeller | None:
    """Return what calculates with the cheap engine of the pretraining, if there is one."""
    engine, reference = session.settings.pretraining.engine, session.labeller
    if engine is None:
        return None
    return Labeller(engine, reference.store, reference.executor, session.settings.labels.attempts)


def cheap_vibrations(session: Session, labeller: Labeller | None) -> tuple[Harmonic, ...]:
    """Relax the molecules with the cheap engine and analyse their vibrations; none without one."""
    return () if labeller is None else vibrations_by(labeller, session.molecules)


def rearrangements(molecules: Sequence[Atoms], references: Sequence[Harmonic]) -> dict[str, str]:
    """Return how molecules changed whose optimum is another molecule, by name."""
    changes = {
        str(atoms.info[keys.MOLECULE]): rearrangement(atoms, reference.atoms)
        for atoms, reference in zip(molecules, references, strict=True)
    }
    return {name: change for name, change in changes.items() if change}
