"""Claims with a heartbeat, for locks: taken by one process at a time, taken over from dead ones.

A process writes its identity to ``SESSION.session`` and touches that file while it lives. A claim
is a hard link to it, so that it appears with its content or not at all, and only one of several
processes can make it. The claim of a dead process is removed by the process that holds a claim *on
that claim*, which is of the same kind: one that dies while it does so blocks nobody.
"""

import errno
import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from palirs import heartbeat
from palirs.recipes import PalirsError

TRIES, PAUSE = 200, 0.02
"""Attempts to make a claim that changes hands at this moment, and seconds between two of them."""


class Claims:
    """The claims that this process holds in a directory.

    Parameters
    ----------
    directory : path
        Made when it is needed.
    purpose : str
        What the process does, for those who find a claim taken.
    on_loss : callable
        Called in a thread with the identity of another process that took over a claim of this one,
        which had been suspended for longer than :data:`palirs.heartbeat.TIMEOUT`.
    """

    def __init__(
        self,
        directory: Path,
        purpose: str = "",
        on_loss: Callable[[dict], None] = lambda owner: None,
    ):
        self.directory, self.session = directory, ""
        self._purpose, self._on_loss = purpose, on_loss
        self._held: set[str] = set()

    def begin(self) -> None:
        """Begin the heartbeat; :meth:`take` does so where it is needed."""
        if self.session:
            return
        identity = {**heartbeat.identity(), "what": self._purpose}
        self._content = json.dumps(identity)
        write_whole(self._file_of(identity["session"]), self._content)
        self.session, self._stop = str(identity["session"]), threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Release all claims and end the heartbeat."""
        if self.session:
            self._stop.set()
            if self._thread is not threading.current_thread():  # which may collect garbage
                self._thread.join()
            for name in tuple(self._held):
                self.release(name)
            self._file_of(self.session).unlink(missing_ok=True)
            self.session = ""

    def take(self, name: str) -> dict | None:
        """Make a claim; return ``None``, or the identity of the living process that has it.

        Raises
        ------
        PalirsError
            If the claim cannot be read, and stays.
        """
        self.begin()
        file = self.directory / name
        for _ in range(TRIES):
            try:
                _link(self._file_of(self.session), file)
            except FileNotFoundError:  # another process took this one for dead
                write_whole(self._file_of(self.session), self._content)
                continue
            except FileExistsError:
                owner = heartbeat.read(file)
                if owner is None:  # released or half written at this moment
                    time.sleep(PAUSE)
                    continue
                if owner["session"] != self.session:  # else a file server denies what it has done
                    if self.is_alive(owner, file):
                        return owner
                    if not self.remove_dead(file, owner):
                        time.sleep(PAUSE)
                    continue
            self._held.add(name)
            return None
        raise PalirsError(
            f"{file}: cannot be read, and is not released; remove it if no program works on "
            f"{self.directory}"
        )

    def release(self, name: str) -> None:
        """Give up a claim."""
        self._held.discard(name)
        _unlink_own(self.directory / name, self.session)

    def is_alive(self, owner: dict, claim: Path) -> bool:
        """Return whether the process lives that made a claim (or a session)."""
        return heartbeat.is_alive(owner, claim, self._file_of(owner["session"]))

    def remove_dead(self, file: Path, owner: dict) -> bool:
        """Remove the claim of a dead process; return whether this process was the one to do it."""
        claim_on_claim = f"{file.name}.{owner['session']}"
        if self.take(claim_on_claim) is not None:
            return False
        try:
            removed = _unlink_own(file, owner["session"])
            if removed:
                self._file_of(owner["session"]).unlink(missing_ok=True)
            return removed
        finally:
            self.release(claim_on_claim)

    def _file_of(self, session: object) -> Path:
        return self.directory / f"{session}.session"

    def _beat(self) -> None:
        while not self._stop.wait(heartbeat.INTERVAL):
            for name in tuple(self._held):
                owner = heartbeat.read(self.directory / name)
                if owner and owner["session"] != self.session and name in self._held:
                    self._on_loss(owner)
            try:
                os.utime(self._file_of(self.session))
            except FileNotFoundError:  # another process took this one for dead
                with suppress(OSError):
                    write_whole(self._file_of(self.session), self._content)
            except OSError:
                continue


def write_whole(file: Path, content: str) -> None:
    """Write a file that appears with its content, in a directory that others may be removing."""
    for _ in range(TRIES):
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{uuid.uuid4().hex}.part")
        try:
            part.write_text(content)
            part.rename(file)
            return
        except FileNotFoundError:
            continue
    raise FileNotFoundError(f"{file.parent} is removed again and again")


def _link(session: Path, claim: Path) -> None:
    """Make a claim, or raise :class:`FileExistsError`; a plain file where there are no links."""
    try:
        os.link(session, claim)
    except OSError as error:
        no_room = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if isinstance(error, FileExistsError | FileNotFoundError) or no_room:
            raise
        content = session.read_text()
        try:
            with open(claim, "x") as stream:
                stream.write(content)
        except FileExistsError:
            raise
        except OSError:
            claim.unlink(missing_ok=True)
            raise


def _unlink_own(file: Path, session: str) -> bool:
    """Remove a claim if it is still the one of this session."""
    owner = heartbeat.read(file)
    if owner is None or owner["session"] != session:
        return False
    file.unlink(missing_ok=True)
    return True
