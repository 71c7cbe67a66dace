"""Random streams by name from the seed of a study, so that a new one changes no other."""

import hashlib

import numpy as np


def stream(seed: int, *names: str | int | float) -> np.random.SeedSequence:
    """Return the seed sequence of a named purpose.

    Parameters
    ----------
    seed : int
        Seed of the study.
    *names
        What the stream is for, e.g. ``"exploration", "methanol", 300.0, replica, iteration``.
    """
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    words = [int.from_bytes(digest[start : start + 4], "little") for start in range(0, 16, 4)]
    return np.random.SeedSequence([seed, *words])


def integer(seed: int, *names: str | int | float) -> int:
    """Return a 32-bit seed of a named purpose, for libraries that take an integer."""
    return int(stream(seed, *names).generate_state(1)[0])
