"""Which frames are learnt, which decide when to stop, and which only test: settled when a frame arrives, for ever.

Frames that are neighbours (the images of a mode, a stretch of a trajectory) stand on one side
together. On which is a matter of a hash of their names and of what was there before, so a study
that goes on, or trains on from its own models, keeps the line.
"""

from collections.abc import Sequence
from hashlib import sha256

from ase import Atoms

from palirs import keys
from palirs.labels import structure_key

TRAIN, VALID, TEST = "train", "valid", "test"


def settle(
    frames: Sequence[Atoms], there: Sequence[Atoms], test: float, validation: float
) -> list[Atoms]:
    """Return the frames with their side in ``info``.

    Of each molecule and origin, stretches come in the order of their hash, and each goes to the
    side that lacks most of its share. The optimum is always learnt.

    Parameters
    ----------
    frames : sequence of Atoms
        That arrive.
    there : sequence of Atoms
        That have their side.
    test, validation : float
        Share that only tests, and share of the rest that decides when to stop.
    """
    wanted = {TEST: test, VALID: (1 - test) * validation, TRAIN: (1 - test) * (1 - validation)}
    settled, arrived = (
        [atoms.copy() for atoms in frames],
        dict[tuple[str, str], dict[str, list[Atoms]]](),
    )
    for atoms in settled:
        arrived.setdefault(_kind(atoms), {}).setdefault(_stretch(atoms), []).append(atoms)
    for kind, stretches in arrived.items():
        counts = {
            side: sum(_kind(atoms) == kind and atoms.info.get(keys.SIDE) == side for atoms in there)
            for side in wanted
        }
        for name in sorted(
            stretches, key=lambda name: sha256(f"{kind[0]}/{name}".encode()).digest()
        ):
            members = stretches[name]
            total = sum(counts.values()) + len(members)
            side = (
                max(wanted, key=lambda side: wanted[side] * total - counts[side])
                if kind[1] != "optimum"
                else TRAIN
            )
            counts[side] += len(members)
            for atoms in members:
                atoms.info[keys.SIDE] = side
    return settled


def sides(frames: Sequence[Atoms]) -> tuple[list[Atoms], list[Atoms]]:
    """Return the frames that are learnt or decide when to stop, and those that test."""
    return [atoms for atoms in frames if atoms.info[keys.SIDE] != TEST], [
        atoms for atoms in frames if atoms.info[keys.SIDE] == TEST
    ]


def _kind(atoms: Atoms) -> tuple[str, str]:
    return str(atoms.info.get(keys.MOLECULE)), str(atoms.info.get(keys.ORIGIN))


def _stretch(atoms: Atoms) -> str:
    """Return the name of the stretch; a frame without one stands alone."""
    return str(atoms.info.get(keys.STRETCH) or structure_key(atoms))
