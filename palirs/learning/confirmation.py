"""Whether forces along MD are as good as expected: measured before learning ends.

The expected error rests on the spread of the committee, and on few test frames from about the
optimum, which may know less than the MD meets. So a molecule whose expected error is below the goal
has frames of MD labelled that were never learnt from, and it is their error that decides.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.labels import Labeller
from palirs.learning.completed import CONFIRMED, MEASURED, last_iteration
from palirs.learning.quality.errors import potential_parity
from palirs.learning.splits import TEST
from palirs.learning.state import LearningSetup, LearningState, within_budget
from palirs.mace.models.committee import Committee
from palirs.mace.models.files import load_committee

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Confirmation:
    """Errors measured along MD, and the frames that were labelled for it.

    Attributes
    ----------
    frames : list of Atoms
        Labelled now, to test with.
    errors : dict
        Of each molecule that was measured: mean absolute error of a force component, and its
        standard error over the frames [meV/Å].
    """

    frames: list[Atoms] = field(default_factory=list)
    errors: dict[str, tuple[float, float]] = field(default_factory=dict)

    def converged(self, expected: set[str], together: bool, limit: float) -> set[str]:
        """Return the molecules whose measured error is below a limit [meV/Å], of those expected.

        One that could not be measured stays. ``together``: all or none, by the average.
        """
        if together:
            mean = np.mean([error for error, _ in self.errors.values()] or [-np.inf])
            return expected if mean < limit else set()
        return {name for name in expected if self.errors.get(name, (-np.inf,))[0] < limit}

    def corrected(self, expected: Mapping[str, float]) -> list[float]:
        """Return the errors of molecules [meV/Å]: the expected ones, or measured ones if larger."""
        return [max(error, self.errors.get(name, (0.0,))[0]) for name, error in expected.items()]

    def metrics(self) -> dict[str, float]:
        """Return :data:`MEASURED` of the molecules that were measured, and their mean."""
        if not self.errors:
            return {}
        own = {f"{MEASURED}.{name}": error for name, (error, _) in self.errors.items()}
        return {MEASURED: float(np.mean(list(own.values()))), **own}


def confirm(
    expected: set[str],
    frames: Sequence[Atoms],
    setup: LearningSetup,
    state: LearningState,
    labeller: Labeller,
) -> Confirmation:
    """Measure the errors of the forces along MD of molecules that are expected to be good enough.

    Parameters
    ----------
    expected : set of str
        The molecules.
    frames : sequence of Atoms
        Of this exploration; those of MD that test are labelled as far as ``learning.confirm`` wants
        more than earlier iterations have.
    setup, state, labeller
        See :func:`palirs.learning.loop.step`.
    """
    goals = setup.learning
    if not goals.confirm or not expected or goals.forces_mae is None:
        return Confirmation()
    beads = setup.sampler.ring_beads
    before = {name: tests_of_md(state.dataset, name, beads) for name in sorted(expected)}
    new = [
        frame
        for name, known in before.items()
        for frame in tests_of_md(frames, name, beads)[: max(0, goals.confirm - len(known))]
    ]
    left = state.labels_left(goals, setup.paid)
    new = within_budget(new, int(max(left, 0))) if len(new) > left else new
    labelled = labeller.label(new, f"iteration {state.iteration} confirmation") if new else []
    committee, errors = load_committee(last_iteration(setup.directory)), {}
    for name, known in before.items():
        if of_molecule := [*known, *tests_of_md(labelled, name, beads)]:
            errors[name] = force_error(committee, of_molecule)
            log.info(
                "%s%s: forces along MD, measured on %d frames that were not learnt: %.1f ± %.1f "
                "meV/Å, learning.forces_mae=%g",
                name,
                setup.sampler.in_rings,
                len(of_molecule),
                *errors[name],
                goals.forces_mae,
            )
        elif goals.split == "groups" and not tests_of_md(frames, name, beads):
            log.warning(
                "%s: no frame of %s is only there to test, so the expected error of its forces is "
                "not measured; more sampler.replicas or temperatures give one",
                name,
                setup.sampler.kind_of_md,
            )
    return Confirmation(labelled, errors)


def tests_of_md(frames: Sequence[Atoms], molecule: str, beads: int | None) -> list[Atoms]:
    """Return the frames of MD of a molecule that only test.

    ``beads``: of ring polymers of so many, whose error is another one than that along classical MD.
    """
    wanted = {keys.MOLECULE: molecule, keys.ORIGIN: "md", keys.SPLIT: TEST, keys.BEADS: beads}
    return [atoms for atoms in frames if all(atoms.info.get(key) == wanted[key] for key in wanted)]


def force_error(committee: Committee, frames: Sequence[Atoms]) -> tuple[float, float]:
    """Return the mean absolute error of a force component, and its standard error [meV/Å].

    Frames count as independent; one alone has an infinite standard error.
    """
    _, forces, _ = potential_parity(committee, frames)
    deviation = np.abs(forces.predicted - forces.reference)
    of_frame = deviation.reshape(len(frames), -1).mean(axis=1)
    if len(frames) < 2:
        return float(of_frame.mean()), float("inf")
    return float(of_frame.mean()), float(of_frame.std(ddof=1) / len(frames) ** 0.5)


def below_goal(metrics: Mapping[str, float], setup: LearningSetup) -> bool:
    """Tell whether an iteration has confirmed that forces meet the goal, which may be another one.

    A molecule that could not be measured was accepted by its expected error.
    """
    goals, prefix = setup.learning, f"{MEASURED}."
    if MEASURED not in metrics or not metrics.get(CONFIRMED) or goals.forces_mae is None:
        return False
    own = {key.removeprefix(prefix): v for key, v in metrics.items() if key.startswith(prefix)}
    if goals.converge == "together":
        return metrics[MEASURED] < goals.forces_mae
    return all(own[name] < goals.forces_mae for name in own if name in setup.molecules)
