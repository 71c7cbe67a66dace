"""Which frames are trained on, which are held out."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.randomness import stream


def split(
    frames: Sequence[Atoms], fraction: float, seed: int, *names: str | int
) -> tuple[list[Atoms], list[Atoms]]:
    """Split frames at random, molecule by molecule, so that each molecule has its share on both sides.

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
    groups: dict[str, list[int]] = {}
    for number, atoms in enumerate(frames):
        groups.setdefault(str(atoms.info.get(keys.MOLECULE)), []).append(number)
    aside: set[int] = set()
    for members in groups.values():
        count = max(1, round(fraction * len(members))) if len(members) > 1 else 0
        aside.update(rng.permutation(members)[:count].tolist())
    if not aside and len(frames) > 1:  # one frame of each
        aside.update(rng.permutation(len(frames))[: max(1, round(fraction * len(frames)))].tolist())
    return [f for i, f in enumerate(frames) if i not in aside], [
        f for i, f in enumerate(frames) if i in aside
    ]


def validation(
    frames: Sequence[Atoms], fraction: float, seed: int, *names: str | int
) -> tuple[list[Atoms], list[Atoms]]:
    """Return the frames to learn from and those that decide when to stop: those whose side says so, else a share drawn by :func:`split`.

    A share of 0 is none, whatever their side.
    """
    if fraction == 0:
        return list(frames), []
    aside = [atoms for atoms in frames if atoms.info.get(keys.SIDE) == "valid"]
    if not aside:
        return split(frames, fraction, seed, *names)
    return [atoms for atoms in frames if atoms.info.get(keys.SIDE) != "valid"], aside
