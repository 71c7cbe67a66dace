"""How long work takes on this machine, from earlier studies: ``~/.cache/palirs/rates.json``.

Of each kind of work and each number of atoms the last measurement is kept, for each processor (a
home directory may be shared by several).
"""

import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from palirs.provenance import processor

POWER = 1.5
"""Of the number of atoms, that work grows with, where only one size was measured."""


def _file() -> Path:
    return (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palirs" / "rates.json"
    )


def note(kind: str, what: str, atoms: float, value: float) -> None:
    """Keep a measurement; one that cannot be kept is no error.

    Parameters
    ----------
    kind : str
        Of the work: ``label``, ``training``, …
    what : str
        Everything its rate depends on but the size of the molecules.
    atoms : float
        Their size, on average.
    value : float
        Seconds of one worker for one unit of the work (or MiB).
    """
    file = _file()
    with suppress(OSError, Timeout):
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock"), timeout=5):
            measured = _read()
            measured.setdefault(processor(), {}).setdefault(f"{kind} {what}", {})[
                f"{atoms:.4g}"
            ] = float(f"{value:.4g}")
            part = file.with_suffix(f".{os.getpid()}.part")
            part.write_text(json.dumps(measured, indent=1))
            part.replace(file)


def _read() -> dict:
    try:
        return json.loads(_file().read_text())
    except (OSError, ValueError):
        return {}


def known(kind: str, what: str) -> dict[float, float]:
    """Return what was measured of some work, by the number of atoms."""
    return {
        float(atoms): value
        for atoms, value in sorted(_read().get(processor(), {}).get(f"{kind} {what}", {}).items())
    }


def nearest(kind: str, what: str, atoms: float) -> float | None:
    """Return what was measured of the molecules nearest in size; memory is mostly libraries'."""
    measured = known(kind, what)
    return measured[min(measured, key=lambda size: abs(size - atoms))] if measured else None


def estimate(kind: str, what: str, atoms: float) -> float | None:
    """Return the rate for molecules of a size, ``None`` if it was never measured on this machine.

    Between two sizes it follows a power law, beyond them too; from a single one it grows with
    :data:`POWER`.
    """
    measured = known(kind, what)
    if not measured:
        return None
    sizes, values = np.array(list(measured)), np.array(list(measured.values()))
    order = np.argsort(sizes)
    sizes, values = sizes[order], values[order]
    near = values[np.abs(sizes - atoms) < 0.05 * atoms]
    if len(near):
        return float(near[0])
    if len(sizes) == 1:
        return float(values[0] * (atoms / sizes[0]) ** POWER)
    below = int(np.clip(np.searchsorted(sizes, atoms) - 1, 0, len(sizes) - 2))
    power = np.log(values[below + 1] / values[below]) / np.log(sizes[below + 1] / sizes[below])
    return float(values[below] * (atoms / sizes[below]) ** np.clip(power, 0, 4))
