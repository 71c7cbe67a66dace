"""The split into training, validation and test frames, fixed when a frame arrives.

Frames of one group (the images of a mode, one trajectory in one iteration) are correlated and get
the same split. Which one follows from a hash of the group's name and from what was there before,
so a study that goes on, or trains on from its own models, never tests on what it has learnt.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from hashlib import sha256

from ase import Atoms

from palirs import keys
from palirs.labels import structure_key
from palirs.learning.state import LearningSetup
from palirs.mace.training.split import random_split
from palirs.recipes import PalirsError

TRAIN, VALID, TEST = "train", "valid", "test"


def assign_splits(
    frames: Sequence[Atoms], dataset: Sequence[Atoms], test: float, validation: float
) -> list[Atoms]:
    """Return copies of new frames with their split in ``info``.

    Of each molecule and origin, groups come in the order of their hash, and each goes to the split
    that lacks most of its share. A frame that has a split already keeps it. The optimum is always
    trained on; frames that a selector has chosen are not for testing where others of MD are.

    Parameters
    ----------
    frames : sequence of Atoms
        New ones.
    dataset : sequence of Atoms
        Frames whose split was assigned before.
    test, validation : float
        Share of the test frames, and share of the others that is for validation.
    """
    shares = {TEST: test, VALID: (1 - test) * validation, TRAIN: (1 - test) * (1 - validation)}
    learnt = {VALID: validation, TRAIN: 1 - validation}
    tested = {_kind(atoms)[0] for atoms in (*dataset, *frames) if _kind(atoms)[1] == "md"}
    assigned = [atoms.copy() for atoms in frames]
    kinds: defaultdict[tuple[str, str], defaultdict[str, list[Atoms]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for atoms in assigned:
        if keys.SPLIT in atoms.info:
            continue
        kinds[_kind(atoms)][_group(atoms)].append(atoms)
    for kind, groups in kinds.items():
        wanted = learnt if kind[1] == "exploration" and kind[0] in tested else shares
        counts = Counter(atoms.info.get(keys.SPLIT) for atoms in dataset if _kind(atoms) == kind)
        for name in sorted(groups, key=lambda name: _hash(f"{kind[0]}/{name}")):
            split = TRAIN
            if kind[1] != "optimum":
                total = sum(counts[split] for split in wanted) + len(groups[name])
                lacking = {key: share * total - counts[key] for key, share in wanted.items()}
                split = max(lacking, key=lacking.__getitem__)
            counts[split] += len(groups[name])
            for atoms in groups[name]:
                atoms.info[keys.SPLIT] = split
    return assigned


def separate_test(frames: Sequence[Atoms]) -> tuple[list[Atoms], list[Atoms]]:
    """Return the frames for training and validation, and the test frames."""
    learnt = [atoms for atoms in frames if atoms.info[keys.SPLIT] != TEST]
    return learnt, [atoms for atoms in frames if atoms.info[keys.SPLIT] == TEST]


def _kind(atoms: Atoms) -> tuple[str, str]:
    return str(atoms.info.get(keys.MOLECULE)), str(atoms.info.get(keys.ORIGIN))


def _group(atoms: Atoms) -> str:
    """Return the name of the group; a frame without one is a group of its own."""
    return str(atoms.info.get(keys.GROUP) or structure_key(atoms))


def _hash(text: str) -> bytes:
    return sha256(text.encode()).digest()


def split_dataset(
    dataset: list[Atoms], labelled: list[Atoms], setup: LearningSetup, iteration: int
) -> tuple[list[Atoms], list[Atoms]]:
    """Return the training and validation frames, and the test frames, with the new labels."""
    training = setup.training
    if setup.learning.split == "frames":
        frames = [*dataset, *labelled]
        return random_split(frames, training.test_fraction, setup.seed, "test", iteration)
    shares = (training.test_fraction, training.validation_fraction)
    train, test = separate_test([*dataset, *assign_splits(labelled, dataset, *shares)])
    if not test:
        raise PalirsError(
            f"{len(train)} labelled frames, all of one group: none is left to test with; give "
            "initial=thermal, or learning.split=frames"
        )
    return train, test
