"""Who is at work: signs of life of processes, on this machine and on others that share its file system.

A sign is a file that says where a process runs; whoever lives touches it now and then. A claim is a
link to it, which appears with its content or not at all, and to which only one of several wins.
"""

import errno
import json
import os
import socket
import tempfile
import time
import uuid
from pathlib import Path

BEAT = 10.0
"""Seconds between two signs of life."""
LEASE = 120.0
"""Seconds without one after which a process on another machine counts as dead; on this machine it
is looked up."""


def me(session: str | None = None) -> dict[str, str | int | float | None]:
    """Return who this process is, as a sign says it."""
    started = process_start(os.getpid())
    return {
        "session": session or uuid.uuid4().hex[:12],
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "started": started,
        "since": time.time(),
    }


def lives(owner: dict, sign: Path) -> bool:
    """Tell whether the process lives that made a sign; on another machine, whether its sign was touched within :data:`LEASE`."""
    if owner["host"] == socket.gethostname() and owner.get("machine", _machine()) == _machine():
        return process_start(int(owner["pid"])) == owner["started"]
    try:
        return _now(sign.parent) - sign.stat().st_mtime < LEASE
    except FileNotFoundError:
        return False


def _machine() -> str:
    """Return what tells machines, and containers with process numbers of their own, apart where they share a name."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return "unknown"


def _now(directory: Path) -> float:
    """Return the time by the clock that dates files in this directory: that of a file server may be another one."""
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix="clock.") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


def read(file: Path) -> dict | None:
    """Return what a sign or claim says, ``None`` if it is not there or not readable."""
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None


def process_start(pid: int) -> str | None:
    """Return when a process of this machine started, ``None`` if there is none; numbers of dead processes are given out again."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (
            None if fields[0] in "ZX" else fields[19]
        )  # dead: not yet waited for, or at this moment
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # there is one, of another user
    return "unknown"


def link(sign: Path, claim: Path) -> None:
    """Make a claim, or raise :class:`FileExistsError`; a link, which is never half written, where the file system has links."""
    try:
        os.link(sign, claim)
    except OSError as error:
        if isinstance(error, FileExistsError | FileNotFoundError) or error.errno in (
            errno.ENOSPC,
            errno.EDQUOT,
        ):
            raise
        content = sign.read_text()
        with open(claim, "x") as stream:
            try:
                stream.write(content)
                stream.flush()
            except OSError:
                claim.unlink(missing_ok=True)
                raise
