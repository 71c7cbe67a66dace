"""Which molecules need more labels, and which frames of an exploration get them."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.geometry.distinct import StructureIndex, distances, sorted_distances
from palirs.learning.exploration import Trajectory, Walker
from palirs.learning.state import Plan, State
from palirs.molecules import on_grid
from palirs.randomness import stream
from palirs.selection import Candidates
from palirs.selection.candidates import features


def expected_errors(
    trajectories: Sequence[Trajectory], plan: Plan, state: State
) -> dict[str, float]:
    """Return the mean absolute error of forces [meV/Å] to expect of each molecule along the exploration.

    At (or next to) the temperature of the study: it is the mean spread of the committee there,
    times what the test frames of the iteration before said of the two; ``inf`` where that is not
    known, or where a trajectory had to be stopped.
    """
    factor = state.metrics.get("committee.calibration", np.inf)
    nearest = min(
        {t.walker.temperature for t in trajectories},
        key=lambda kelvin: (abs(kelvin - plan.temperature), kelvin),
    )
    found: dict[str, list[float]] = {}
    for one in trajectories:
        if one.walker.temperature == nearest:
            known = not one.stopped and len(one.mean_spread) > 0
            found.setdefault(molecule_of(one.walker), []).append(
                float(one.mean_spread.mean()) if known else np.inf
            )
    return {name: float(1e3 * factor * np.mean(values)) for name, values in found.items()}


def converged_molecules(expected: dict[str, float], plan: Plan, state: State) -> set[str]:
    """Return the molecules that need no more labels: frequencies are good, and forces, if they are asked for.

    With ``learning.converge=together`` it is all or none, by the averages over the molecules.
    """
    goal = plan.learning
    limit = np.inf if goal.forces_mae is None else goal.forces_mae
    if not expected or (goal.forces_mae is None and goal.converge == "together"):
        return set()
    if goal.converge == "together":
        return (
            set(expected)
            if state.near(goal) and np.mean(list(expected.values())) < limit
            else set()
        )
    return {
        name
        for name, error in expected.items()
        if state.has_modes(name, goal) and (goal.forces_mae is None or error < goal.forces_mae)
    }


def choose(trajectories: Sequence[Trajectory], plan: Plan, state: State) -> list[Atoms]:
    """Return the frames that the selector picks: no structure twice, none that is labelled, no neighbours in time.

    A trajectory that goes on begins beside the end of the iteration before, so its first frames are
    left out. Trajectories come in the order of ``state.walkers``, whose end they are.
    """
    chosen, known, factor = (
        [],
        StructureIndex(state.dataset),
        state.metrics.get("committee.calibration", np.nan),
    )
    for name in dict.fromkeys(molecule_of(one.walker) for one in trajectories):
        mine = [
            (t, before)
            for t, before in zip(trajectories, state.walkers, strict=True)
            if molecule_of(t.walker) == name
        ]
        places = [
            (number, int(index))
            for number, (t, before) in enumerate(mine)
            for index in np.flatnonzero(t.times >= _begin(before, plan))
        ]
        if not places:
            continue
        labelled = [
            distances(atoms) for atoms in state.dataset if atoms.info[keys.MOLECULE] == name
        ]
        rng = np.random.default_rng(stream(plan.seed, "selection", name, state.iteration))
        candidates = _candidates([t for t, _ in mine], places)
        for pick in plan.selector.choose(
            candidates,
            features(np.array(labelled).reshape(-1, candidates.features.shape[1])),
            factor,
            rng,
        ):
            number, index = places[pick]
            frame = on_grid(mine[number][0].frame(index, state.iteration))
            frame.info["force_spread"] = float(mine[number][0].spread[index])
            if known.add(frame):
                chosen.append(frame)
    return chosen


def molecule_of(walker: Walker) -> str:
    """Return the name of a walker's molecule."""
    return str(walker.molecule.info[keys.MOLECULE])


def _begin(before: Walker, plan: Plan) -> float:
    return plan.selector.separation if before.velocities is not None else 0.0


def _candidates(
    trajectories: Sequence[Trajectory], places: Sequence[tuple[int, int]]
) -> Candidates:
    numbers, indices = np.array(places).T
    positions = np.array([trajectories[number].positions[index] for number, index in places])

    def picked(name: str) -> np.ndarray:
        return np.array(
            [
                getattr(trajectories[number], name)[index]
                for number, index in zip(numbers, indices, strict=True)
            ]
        )

    rows = features(sorted_distances(trajectories[0].walker.molecule.numbers, positions))
    return Candidates(numbers, picked("times"), picked("spread"), picked("mean_spread"), rows)
