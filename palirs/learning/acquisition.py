"""Which frames of an exploration get labels, and the expected errors of forces along it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.geometry.distinct import StructureIndex, distances, sorted_distances
from palirs.learning.splits import TEST
from palirs.learning.state import LearningSetup, LearningState
from palirs.learning.walkers import Trajectory, Walker
from palirs.molecules import on_grid
from palirs.randomness import stream
from palirs.selection import Candidates
from palirs.selection.candidates import features


def expected_errors(
    trajectories: Sequence[Trajectory], temperature: float, state: LearningState
) -> dict[str, float]:
    """Return the expected error of the forces along the exploration of each molecule [meV/Å].

    At the explored temperature that is nearest to that of the study [K]: the mean spread of the
    committee there (on beads at random, if ring polymers explored), times the calibration by the
    test frames of the iteration before. ``inf`` where that is unknown, or where a trajectory had to
    be stopped.
    """
    factor = state.metrics.get("committee.calibration", np.inf)
    explored = {trajectory.walker.temperature for trajectory in trajectories}
    nearest = min(explored, key=lambda kelvin: (abs(kelvin - temperature), kelvin))
    spreads: dict[str, list[float]] = {}
    for trajectory in trajectories:
        if trajectory.walker.temperature == nearest:
            mean_spread = trajectory.mean_spread[trajectory.representative]
            trusted = not trajectory.stopped and len(mean_spread) > 0
            spread = float(mean_spread.mean()) if trusted else np.inf
            spreads.setdefault(trajectory.walker.molecule_name, []).append(spread)
    return {name: float(1e3 * factor * np.mean(values)) for name, values in spreads.items()}


def choose(
    trajectories: Sequence[Trajectory], setup: LearningSetup, state: LearningState
) -> list[Atoms]:
    """Return the frames that are labelled: those of the selector, and those that test.

    With ``learning.split=groups`` one trajectory of each molecule, at the temperature next to that
    of the study, is only there to test: frames of it are drawn at random, so that their error is
    that of MD, and never learnt; ``learning.confirm`` are drawn, those beyond the share that always
    tests as a reserve. The selector chooses from the others: new structures, no
    neighbours in time. Of each molecule the chosen frames come first, then those that test. A
    trajectory that continues begins next to the end of the iteration before, so its first frames
    are left out. Trajectories come in the order of ``state.walkers``, whose end they are.
    """
    frames, index = [], StructureIndex(state.dataset)
    for name in dict.fromkeys(trajectory.walker.molecule_name for trajectory in trajectories):
        pairs = zip(trajectories, state.walkers, strict=True)
        own = {t.walker.name: (t, start) for t, start in pairs if t.walker.molecule_name == name}
        testing = walkers_for_tests([t.walker for t, _ in own.values()], setup, state)
        count, tests = 0, []
        if testing:
            count = _tests(setup, len(own))
            most = max(count, setup.learning.confirm)
            rng = np.random.default_rng(stream(setup.seed, "test frames", name, state.iteration))
            drawn = _at_random(*own[testing[0]], most, setup.selector.separation, rng, state)
            for frame in drawn[count:]:
                frame.info[keys.RESERVE] = True
            tests = [frame for frame in drawn if index.add(frame)]
        others = [pair for walker, pair in own.items() if walker not in testing]
        rng = np.random.default_rng(stream(setup.seed, "selection", name, state.iteration))
        frames += [f for f in _selected(others, count, setup, state, rng) if index.add(f)]
        frames += tests
    return frames


def walkers_for_tests(
    walkers: Sequence[Walker], setup: LearningSetup, state: LearningState
) -> list[str]:
    """Return the walkers of a molecule that are not learnt from, the one that tests now first.

    That is the one whose temperature is next to that of the study, among those that no frame has
    been learnt of. Walkers that have tested before, when there were others, stay out too. None with
    ``learning.split=frames``, or if no other walker would be left.
    """
    groups: dict[bool, set[str]] = {True: set(), False: set()}
    for atoms in state.dataset:
        walker = str(atoms.info.get(keys.GROUP)).partition(", iteration")[0]
        groups[atoms.info.get(keys.ORIGIN) == "md"].add(walker)
    fresh = [walker for walker in walkers if walker.name not in groups[False]]
    if setup.learning.split == "frames" or not fresh:
        return []

    def order(walker: Walker) -> tuple[float, float, int]:
        far = abs(walker.temperature - setup.temperature)
        return far, walker.temperature, walker.replica

    first = min(fresh, key=order).name
    before = [w.name for w in walkers if w.name in groups[True] and w.name != first]
    return [first, *before] if len(before) + 1 < len(walkers) else []


def _tests(setup: LearningSetup, trajectories: int) -> int:
    """Return how many frames of a molecule test, of those that an iteration labels."""
    selector = setup.selector
    count = round(setup.training.test_fraction * selector.count(1, trajectories))
    most = selector.frames if selector.per == "trajectory" else selector.frames - 1
    return max(0, min(most, max(1, count)))


def _at_random(
    trajectory: Trajectory,
    start: Walker,
    count: int,
    separation: float,
    rng: np.random.Generator,
    state: LearningState,
) -> list[Atoms]:
    """Return frames of a trajectory at random, at least ``separation`` [fs] apart, as tests.

    In the order in which they were drawn.
    """
    begin = separation if start.velocities is not None else 0.0
    taken: list[int] = []
    free = trajectory.representative & (trajectory.times >= begin)
    for i in map(int, rng.permutation(np.flatnonzero(free))):
        far = np.abs(trajectory.times[taken] - trajectory.times[i]) >= separation
        if len(taken) < count and far.all():
            taken.append(i)
    frames = []
    for i in taken:
        frame = on_grid(trajectory.frame(i, state.iteration))
        frame.info |= {keys.ORIGIN: "md", keys.SPLIT: TEST}
        frame.info["force_spread"] = float(trajectory.spread[i])
        frames.append(frame)
    return frames


def _selected(
    own: Sequence[tuple[Trajectory, Walker]],
    tests: int,
    setup: LearningSetup,
    state: LearningState,
    rng: np.random.Generator,
) -> list[Atoms]:
    """Return the frames of one molecule that the selector picks, best first."""
    selector, trajectories = setup.selector, [trajectory for trajectory, _ in own]
    if tests and selector.per == "molecule" and selector.frames > tests:
        selector = replace(selector, frames=selector.frames - tests)
    if setup.learning.anharmonic is not None:  # the others are quantum samples
        selector = replace(selector, frames=max(1, selector.frames // 2))
    frames = []  # number of the trajectory, and of the frame in it
    for number, (trajectory, start) in enumerate(own):
        begin = selector.separation if start.velocities is not None else 0.0
        free = trajectory.times >= begin
        if not selector.choice.needs_spread:  # at random, of what is at random
            free &= trajectory.representative
        frames += [(number, int(i)) for i in np.flatnonzero(free)]
    if not frames:
        return []
    name = trajectories[0].walker.molecule_name
    labelled = np.array(
        [distances(atoms) for atoms in state.dataset if atoms.info[keys.MOLECULE] == name]
    )
    candidates = _candidates(trajectories, frames)
    rows = features(labelled.reshape(-1, candidates.features.shape[1]))
    factor = state.metrics.get("committee.calibration", np.nan)
    chosen = []
    for pick in selector.choose(candidates, rows, factor, rng):
        number, i = frames[pick]
        frame = on_grid(trajectories[number].frame(i, state.iteration))
        frame.info["force_spread"] = float(trajectories[number].spread[i])
        chosen.append(frame)
    return chosen


def _candidates(
    trajectories: Sequence[Trajectory], frames: Sequence[tuple[int, int]]
) -> Candidates:
    positions = np.array([trajectories[number].positions[i] for number, i in frames])
    rows = features(sorted_distances(trajectories[0].walker.molecule.numbers, positions))
    return Candidates(
        np.array([number for number, _ in frames]),
        np.array([trajectories[number].times[i] for number, i in frames]),
        np.array([trajectories[number].spread[i] for number, i in frames]),
        np.array([trajectories[number].mean_spread[i] for number, i in frames]),
        rows,
    )
