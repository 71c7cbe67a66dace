"""Retrying what a full disk or a locked database forbids for a while, so that no label is lost."""

import errno
import logging
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from palirs.recipes import PalirsError

log = logging.getLogger(__name__)
T = TypeVar("T")

TIMEOUT = 900.0
"""Seconds of retrying, after which the study ends with an error."""
INTERVAL = 2.0
"""Seconds between two attempts."""


def retry(write: Callable[[], T], what: str) -> T:
    """Call a function that writes, again while the disk is full or the database is locked.

    Parameters
    ----------
    write : callable
        Writes everything or nothing.
    what : str
        What is waiting to be written, for the message.

    Raises
    ------
    PalirsError
        If it cannot be written at all, or not within :data:`TIMEOUT`.
    """
    deadline, is_first = time.monotonic() + TIMEOUT, True
    while True:
        try:
            return write()
        except (sqlite3.OperationalError, OSError) as error:
            if not is_transient(error):
                raise PalirsError(
                    f"{what}; cannot be written ({error}): check the permissions and run again"
                ) from error
            if time.monotonic() > deadline:
                raise PalirsError(
                    f"{what}; {error}. Free space (or end the process that holds the database) "
                    "and run again"
                ) from error
            if is_first:
                log.warning("%s: %s. Free space; the study goes on by itself", what, error)
            is_first = False
            time.sleep(INTERVAL)


def is_transient(error: Exception) -> bool:
    """Return whether an error passes by itself: a full disk, or a locked database."""
    if isinstance(error, sqlite3.OperationalError):
        return any(word in str(error) for word in ("full", "locked", "busy", "disk I/O"))
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
