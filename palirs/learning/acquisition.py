"""Which frames of an exploration get labels, and the expected errors of forces along it."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.geometry.distinct import StructureIndex, distances, sorted_distances
from palirs.learning.exploration import Trajectory
from palirs.learning.state import LearningSetup, LearningState
from palirs.molecules import on_grid
from palirs.randomness import stream
from palirs.selection import Candidates
from palirs.selection.candidates import features


def expected_errors(
    trajectories: Sequence[Trajectory], temperature: float, state: LearningState
) -> dict[str, float]:
    """Return the expected error of the forces along the exploration of each molecule [meV/Å].

    At the explored temperature that is nearest to that of the study [K]: the mean spread of the
    committee there, times the calibration by the test frames of the iteration before. ``inf`` where
    that is unknown, or where a trajectory had to be stopped.
    """
    factor = state.metrics.get("committee.calibration", np.inf)
    explored = {trajectory.walker.temperature for trajectory in trajectories}
    nearest = min(explored, key=lambda kelvin: (abs(kelvin - temperature), kelvin))
    spreads: dict[str, list[float]] = {}
    for trajectory in trajectories:
        if trajectory.walker.temperature == nearest:
            trusted = not trajectory.stopped and len(trajectory.mean_spread) > 0
            spread = float(trajectory.mean_spread.mean()) if trusted else np.inf
            spreads.setdefault(trajectory.walker.molecule_name, []).append(spread)
    return {name: float(1e3 * factor * np.mean(values)) for name, values in spreads.items()}


def choose(
    trajectories: Sequence[Trajectory], setup: LearningSetup, state: LearningState
) -> list[Atoms]:
    """Return the frames that the selector picks: new structures, no neighbours in time.

    A trajectory that continues begins next to the end of the iteration before, so its first frames
    are left out. Trajectories come in the order of ``state.walkers``, whose end they are.
    """
    chosen, index = [], StructureIndex(state.dataset)
    factor = state.metrics.get("committee.calibration", np.nan)
    for name in dict.fromkeys(trajectory.walker.molecule_name for trajectory in trajectories):
        pairs = zip(trajectories, state.walkers, strict=True)
        pairs = [(t, start) for t, start in pairs if t.walker.molecule_name == name]
        own = [trajectory for trajectory, _ in pairs]
        frames = []  # number of the trajectory, and of the frame in it
        for number, (trajectory, start) in enumerate(pairs):
            begin = setup.selector.separation if start.velocities is not None else 0.0
            frames += [(number, int(i)) for i in np.flatnonzero(trajectory.times >= begin)]
        if not frames:
            continue
        labelled = np.array(
            [distances(atoms) for atoms in state.dataset if atoms.info[keys.MOLECULE] == name]
        )
        rng = np.random.default_rng(stream(setup.seed, "selection", name, state.iteration))
        candidates = _candidates(own, frames)
        rows = features(labelled.reshape(-1, candidates.features.shape[1]))
        for pick in setup.selector.choose(candidates, rows, factor, rng):
            number, i = frames[pick]
            frame = on_grid(own[number].frame(i, state.iteration))
            frame.info["force_spread"] = float(own[number].spread[i])
            if index.add(frame):
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
