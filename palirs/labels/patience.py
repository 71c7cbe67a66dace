"""Waiting for a full disk or a held database, instead of losing what waits to be written."""

import errno
import logging
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from palirs.recipes import PalirsError

log = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE = 900.0
"""Seconds to wait before the study ends with an error."""
PAUSE = 2.0
"""Seconds between two tries."""


def patiently(action: Callable[[], T], what: str) -> T:
    """Do something that writes; while the disk is full or the database is held, say so once and try again.

    Parameters
    ----------
    action : callable
        Writes.
    what : str
        What waits, for the message.

    Raises
    ------
    PalirsError
        If it cannot be written at all, or not within :data:`PATIENCE`.
    """
    deadline, told = time.monotonic() + PATIENCE, False
    while True:
        try:
            return action()
        except (sqlite3.OperationalError, OSError) as error:
            if not passing(error):
                raise PalirsError(
                    f"{what}; cannot be written ({error}): check the permissions and run again"
                ) from error
            if time.monotonic() > deadline:
                raise PalirsError(
                    f"{what}; {error}. Free space (or end the process that holds the database) and run again"
                ) from error
            if not told:
                log.warning("%s: %s. Free space; the study goes on by itself", what, error)
                told = True
            time.sleep(PAUSE)


def passing(error: Exception) -> bool:
    """Tell a full disk or a held lock from what waiting does not mend."""
    if isinstance(error, sqlite3.OperationalError):
        return any(word in str(error) for word in ("full", "locked", "busy", "disk I/O"))
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
