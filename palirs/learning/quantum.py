"""What is learnt for anharmonic levels: samples where quantum nuclei are, and how sure they are."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.geometry.distinct import StructureIndex, distances, sorted_distances
from palirs.learning.quality.convergence import ANHARMONIC
from palirs.learning.splits import TEST, TRAIN
from palirs.learning.state import LearningSetup, LearningState
from palirs.mace.models.committee import Committee
from palirs.molecules import on_grid
from palirs.randomness import stream
from palirs.recipes import PalirsError
from palirs.sampling import ThermalSamples
from palirs.selection import Candidates
from palirs.selection.candidates import features
from palirs.vibrations import Harmonic
from palirs.vibrations.anharmonic.calculation import anharmonic

log = logging.getLogger(__name__)

DRAWS = 20
"""Samples drawn for each one that is labelled."""


def anharmonic_spread(committee: Committee, references: Sequence[Harmonic]) -> dict[str, float]:
    """Return the spread of the members' anharmonic fundamentals as metrics [cm⁻¹].

    The mean over the modes that have a level, of each molecule and of all. A molecule whose levels
    cannot be calculated has none, and says why.
    """
    source, spreads = committee.double(), {}
    for reference in references:
        name = str(reference.atoms.info[keys.MOLECULE])
        try:
            result = anharmonic(reference, source, source.alone(), quanta=1)
        except PalirsError as error:
            log.warning("%s: no anharmonic levels: %s", name, error)
            continue
        spreads[name] = result.mean_spread
    metrics = {f"{ANHARMONIC}.{name}": spread for name, spread in spreads.items()}
    return metrics | ({ANHARMONIC: float(np.mean(list(spreads.values())))} if spreads else {})


def quantum_frames(
    committee: Committee, setup: LearningSetup, state: LearningState, names: Sequence[str]
) -> list[Atoms]:
    """Return frames of the quantum harmonic distribution to label, of each molecule that explores.

    Half as many as the selector takes of a molecule, those that it prefers of many draws; and for
    each four of them one that tests, drawn at random.
    """
    frames, index = [], StructureIndex(state.dataset)
    for reference in setup.references:
        name = str(reference.atoms.info[keys.MOLECULE])
        if name not in names:
            continue
        rng = np.random.default_rng(stream(setup.seed, "quantum", name, state.iteration))
        walkers = sum(walker.molecule_name == name for walker in state.walkers)
        learnt = max(1, setup.selector.count(1, walkers) // 2)
        tests = max(1, learnt // 4)
        draws = _drawn(reference, setup, state, DRAWS * learnt + tests, rng)
        for atoms in draws[:tests]:
            atoms.info[keys.SPLIT] = TEST
        chosen = _chosen(draws[tests:], committee, setup, state, learnt, rng)
        for atoms in chosen:
            atoms.info[keys.SPLIT] = TRAIN
        frames += [frame for frame in (*chosen, *draws[:tests]) if index.add(frame)]
    return frames


def _drawn(
    reference: Harmonic,
    setup: LearningSetup,
    state: LearningState,
    count: int,
    rng: np.random.Generator,
) -> list[Atoms]:
    samples = ThermalSamples("quantum", (setup.temperature,), per_mode=1, least=count, turned=0.0)
    drawn = []
    for number, atoms in enumerate(samples.sample(reference, rng)):
        frame = on_grid(atoms)
        frame.info |= {
            keys.ORIGIN: "quantum",
            keys.ITERATION: state.iteration,
            keys.GROUP: f"quantum {number}, iteration {state.iteration}",
        }
        drawn.append(frame)
    return drawn[:count]


def _chosen(
    draws: Sequence[Atoms],
    committee: Committee,
    setup: LearningSetup,
    state: LearningState,
    count: int,
    rng: np.random.Generator,
) -> list[Atoms]:
    """Return the draws that the selector prefers; each is a trajectory of its own to it."""
    forces = committee.evaluate(draws).forces
    spreads = np.array([np.sqrt(each.var(axis=0).sum(axis=-1)) for each in forces])
    positions = np.array([atoms.positions for atoms in draws])
    numbers = np.arange(len(draws))
    name = draws[0].info[keys.MOLECULE]
    labelled = [distances(atoms) for atoms in state.dataset if atoms.info[keys.MOLECULE] == name]
    candidates = Candidates(
        numbers,
        np.zeros(len(draws)),
        spreads.max(axis=1),
        spreads.mean(axis=1),
        features(sorted_distances(draws[0].numbers, positions)),
    )
    selector = replace(setup.selector, per="molecule", frames=count)
    factor = state.metrics.get("committee.calibration", np.nan)
    rows = features(np.array(labelled))
    picks = selector.choose(candidates, rows, factor, rng)
    for pick in picks:
        draws[pick].info["force_spread"] = float(spreads[pick].max())
    return [draws[pick] for pick in picks]
