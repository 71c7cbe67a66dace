"""One program per directory: a lock that survives kills and works on shared file systems.

The lock is a claim (:mod:`palirs.presence`): a file that says who holds it. One whose holder died
is taken over. Of several that want to do so, the one that holds the lock *of that dead holder* may
put its own claim in the place, by one rename; that lock is of the same kind, so a program that dies
while it takes over stands in nobody's way.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from palirs import presence
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)


class HeldError(PalirsError):
    """Another living program holds the lock; the message names it."""


@contextmanager
def locked(directory: Path, what: str) -> Iterator[None]:
    """Hold ``directory/lock`` for a while.

    Parameters
    ----------
    directory : path
        There, and writable.
    what : str
        What this program does, for the message that others get.

    Raises
    ------
    HeldError
        If a living program holds it: host, process, since when, and what to do.
    """
    mine = {**presence.me(), "what": what}
    file, sign = directory / "lock", directory / f"lock.{mine['session']}.sign"
    sign.write_text(json.dumps(mine))
    try:
        _take(file, sign, mine)
    except BaseException:
        sign.unlink(missing_ok=True)
        raise
    stop = threading.Event()
    beating = threading.Thread(target=_beat, args=(sign, file, stop, mine["session"]), daemon=True)
    beating.start()
    try:
        yield
    finally:
        stop.set()
        beating.join()
        if (presence.read(file) or {}).get("session") == mine["session"]:
            file.unlink(missing_ok=True)
        sign.unlink(missing_ok=True)


def holder(directory: Path) -> str | None:
    """Say who holds the lock of a directory, ``None`` if no living program does."""
    owner = presence.read(directory / "lock")
    return (
        _words(owner) if owner is not None and presence.lives(owner, directory / "lock") else None
    )


def _take(file: Path, sign: Path, mine: dict) -> None:
    """Make the claim, over that of a dead program if need be."""
    for _ in range(200):
        try:
            presence.link(sign, file)
            return
        except FileExistsError:
            owner = presence.read(file)
        if (
            owner is not None and owner["session"] == mine["session"]
        ):  # a file server may say no to what it did
            return
        if owner is None:  # let go of, or half written at this moment
            time.sleep(0.02)
            continue
        if presence.lives(owner, file):
            raise HeldError(
                f"{file.parent}: {_words(owner)}. Wait for it or end it, or give another study=<dir>; task=check and task=analyse may run "
                f"meanwhile"
            )
        succession = file.with_name(f"lock.{owner['session']}")
        try:
            _take(succession, sign, mine)
        except HeldError:  # another one is about to have it
            time.sleep(0.02)
            continue
        try:
            if (presence.read(file) or {}).get("session") == owner["session"]:
                part = file.with_name(f"lock.{mine['session']}.part")
                presence.link(sign, part)
                part.replace(file)
                log.warning(
                    "%s: %s; it is dead, this program takes over", file.parent, _words(owner)
                )
                file.with_name(f"lock.{owner['session']}.sign").unlink(missing_ok=True)
                return
        finally:
            succession.unlink(missing_ok=True)
    raise PalirsError(
        f"{file}: cannot be read, and is not let go of; remove it if no program works on {file.parent}"
    )


def _words(owner: dict) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner["since"]))
    return f"process {owner['pid']} on {owner['host']} works here ({owner['what']}) since {since}"


def _beat(sign: Path, file: Path, stop: threading.Event, session: str) -> None:
    """Touch the lock now and then; sign and lock are one file where there are links.

    A program that stood still for so long that another one took over ends here: what it has written
    is as safe as after a kill.
    """
    while not stop.wait(presence.BEAT):
        owner = presence.read(file)
        if owner is not None and owner["session"] != session:
            log.critical(
                "%s: %s; it took this program for dead, which ends now", file.parent, _words(owner)
            )
            os._exit(75)
        for each in (sign, file):
            with suppress(OSError):
                os.utime(each)
