"""Arguments of the classes of calculators: which there are, and what identifies their values."""

import hashlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from palirs.engines.directories import digest

NOT_IN_FINGERPRINT = {"command", "directory", "label", "device", "workdir", "binary"}
"""Arguments that do not change results and are not part of the fingerprint."""


def takes(function: Callable, argument: str) -> bool:
    """Tell whether a function takes an argument, or does not list its arguments."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return True
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def plain(value: Any) -> Any:
    """Return JSON values that identify an argument, by content of files and fields of objects."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | Path):
        return _content(Path(value)) or str(value)
    if isinstance(value, np.ndarray):
        return [
            str(value.dtype),
            list(value.shape),
            hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16],
        ]
    if callable(value):
        name = getattr(value, "__qualname__", type(value).__qualname__)
        return f"{getattr(value, '__module__', '')}.{name}"
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    fields = {
        key: item
        for key, item in getattr(value, "__dict__", {}).items()
        if key not in NOT_IN_FINGERPRINT and "command" not in key
    }
    return {
        "class": type(value).__qualname__,
        **{key: plain(item) for key, item in fields.items()},
    }


def _content(path: Path) -> str | None:
    """Return a digest of a file or of the files of a directory; ``None`` if there is none."""
    try:
        if path.is_file():
            return digest([path], names=False)
        if path.is_dir() and str(path) not in ("", "."):
            return digest(file for file in sorted(path.iterdir()) if file.is_file())
    except (OSError, ValueError):  # such as a text that is too long for a path
        return None
    return None
