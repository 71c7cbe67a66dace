"""One program per study directory: a lock that survives kills and works on shared disks."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from palirs import heartbeat
from palirs.claims import Claims
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)
LOCK = "lock"
"""Name of the claim in the study directory."""


class HeldError(PalirsError):
    """Another living program holds the lock; the message names it."""


@contextmanager
def locked(directory: Path, what: str) -> Iterator[None]:
    """Hold ``directory/lock``; that of a program that has died is taken over.

    Parameters
    ----------
    directory : path
        Exists and is writable.
    what : str
        What this program does, for the message that others get.

    Raises
    ------
    HeldError
        If a living program holds it: host, process, since when, and what to do.
    """
    claims = Claims(directory, what, on_loss=_exit)
    dead = heartbeat.read(directory / LOCK) if holder(directory) is None else None
    try:
        if (owner := claims.take(LOCK)) is not None:
            raise HeldError(
                f"{directory}: {_in_words(owner)}. Wait for it or end it, or give another "
                "study=<dir>; task=check and task=analyse may run meanwhile"
            )
        if dead is not None:
            log.warning("%s: %s; it is dead, this program takes over", directory, _in_words(dead))
        yield
    finally:
        claims.end()


def holder(directory: Path) -> str | None:
    """Return who holds the lock of a directory, in words; ``None`` if no living program does."""
    owner = heartbeat.read(directory / LOCK)
    if owner is None or not Claims(directory).is_alive(owner, directory / LOCK):
        return None
    return _in_words(owner)


def _in_words(owner: dict) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner["since"]))
    return f"process {owner['pid']} on {owner['host']} works here ({owner['what']}) since {since}"


def _exit(owner: dict) -> None:
    """End this program, which was suspended for so long that another one took the lock over.

    What it has written is as safe as after a kill.
    """
    log.critical("%s; it took this program for dead, which ends now", _in_words(owner))
    os._exit(75)
