"""Whether the process that wrote a file is alive, on this machine or on one that shares the disk.

A process writes its identity to a file and touches that file every few seconds: its heartbeat.
"""

import json
import os
import socket
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

INTERVAL = 10.0
"""Seconds between two heartbeats."""
TIMEOUT = 120.0
"""Seconds without one after which a process on another machine counts as dead; on this machine the
process is looked up."""


def identity() -> dict[str, str | int | float | None]:
    """Return who this process is: host, process, when it started, and a session drawn at random."""
    return {
        "session": uuid.uuid4().hex[:12],
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "started": process_start(os.getpid()),
        "since": time.time(),
    }


def read(file: Path) -> dict | None:
    """Return the identity in a file, ``None`` if it is not there or not readable."""
    try:
        owner = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    is_identity = isinstance(owner, dict) and {"session", "host", "pid", "started"} <= set(owner)
    return owner if is_identity else None


def is_alive(owner: dict, *files: Path) -> bool:
    """Return whether a process lives: it is running here, or one of its files was touched lately.

    Parameters
    ----------
    owner : dict
        :func:`identity` of the process.
    files : path
        What the process touches; only asked if it runs on another machine.
    """
    if owner["host"] == socket.gethostname() and owner.get("machine", _machine()) == _machine():
        return process_start(int(owner["pid"])) == owner["started"]
    touched = []
    for file in files:
        with suppress(FileNotFoundError):
            touched.append(file.stat().st_mtime)
    return bool(touched) and _now(files[0].parent) - max(touched) < TIMEOUT


def process_start(pid: int) -> str | None:
    """Return when a process of this machine started, ``None`` if there is none.

    The numbers of dead processes are given out again, together with the start they are unique.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        is_zombie = fields[0] in "ZX"  # dead, but not yet waited for
        return None if is_zombie else fields[19]
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it exists and belongs to another user
    return "unknown"


def _machine() -> str:
    """Return what distinguishes machines, and containers with their own processes, of one name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return "unknown"


def _now(directory: Path) -> float:
    """Return the time by the clock that dates files in a directory: a file server's, perhaps."""
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix="clock.") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()
