"""Random splits of labelled frames, and the split into training and validation."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.randomness import stream


def random_split(
    frames: Sequence[Atoms], fraction: float, seed: int, *names: str | int
) -> tuple[list[Atoms], list[Atoms]]:
    """Split frames at random, molecule by molecule, so that each molecule is in both parts.

    Parameters
    ----------
    frames : sequence of Atoms
        With ``info['molecule']``.
    fraction : float
        Share that goes to the second list, at least one frame of every molecule that has two; if
        none has, a share of the whole.
    seed, *names
        Name the random stream.
    """
    rng = np.random.default_rng(stream(seed, *names))
    molecules: dict[str, list[int]] = {}
    for number, atoms in enumerate(frames):
        molecules.setdefault(str(atoms.info.get(keys.MOLECULE)), []).append(number)
    second: set[int] = set()
    for numbers in molecules.values():
        count = max(1, round(fraction * len(numbers))) if len(numbers) > 1 else 0
        second.update(rng.permutation(numbers)[:count].tolist())
    if not second and len(frames) > 1:  # one frame of each
        count = max(1, round(fraction * len(frames)))
        second.update(rng.permutation(len(frames))[:count].tolist())
    first = [atoms for number, atoms in enumerate(frames) if number not in second]
    return first, [atoms for number, atoms in enumerate(frames) if number in second]


def validation_split(
    frames: Sequence[Atoms], fraction: float, seed: int, *names: str | int
) -> tuple[list[Atoms], list[Atoms]]:
    """Return training and validation frames: by their assigned split, else at random.

    A ``fraction`` of 0 leaves no validation frames, whatever was assigned.
    """
    if fraction == 0:
        return list(frames), []
    validation = [atoms for atoms in frames if atoms.info.get(keys.SPLIT) == "valid"]
    if not validation:
        return random_split(frames, fraction, seed, *names)
    return [atoms for atoms in frames if atoms.info.get(keys.SPLIT) != "valid"], validation
