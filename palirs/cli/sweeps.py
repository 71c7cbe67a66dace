"""Studies of a sweep: their settings, and the directory of each."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from palirs.cli.overrides import bare, exists, is_swept, parse, readable
from palirs.cli.quoting import joined, split
from palirs.provenance import arguments

LONGEST = 200
"""Bytes of the name of a directory; file systems allow 255."""


def is_sweep() -> bool:
    """Tell whether this is a job of a sweep."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def job_settings() -> list[str]:
    """Return the settings of this study as Hydra has them."""
    return list(HydraConfig.get().overrides.task)


def typed_settings(job: Sequence[str] | None, typed: Sequence[str]) -> list[str]:
    """Return the settings of one study as they were typed.

    Parameters
    ----------
    job : sequence of str or None
        Settings of a job of a sweep, as Hydra has them; ``None`` for a single study.
    typed : sequence of str
        The command line.
    """
    settings = [text for text in typed if "=" in text and not text.startswith("-")]
    if job is None:
        return settings
    by_key = {_key(text): text for text in settings}
    return [_as_typed(text, by_key.get(_key(text), text)) for text in job]


def _as_typed(setting: str, typed: str) -> str:
    """Return a setting of a job as it was typed, which may be among the values of a sweep."""
    name, _, value = setting.partition("=")
    several = typed.partition("=")[2].strip()
    if not is_swept(readable(typed, swept=True)):
        return typed
    for part in joined(split(several), exists):
        override = parse(readable(f"{name}={part.strip()}", swept=False))
        if override is not None and override.get_value_element_as_str() == value:
            return f"{name}={part.strip()}"
    return setting


def swept_keys() -> list[str]:
    """Return the keys that a sweep varies."""
    typed = (readable(text, swept=True) for text in typed_settings(None, arguments()))
    params = HydraConfig.get().sweeper.get("params") or {}
    return [*(_key(text) for text in typed if is_swept(text)), *map(str, params)]


def sweep_name() -> str | None:
    """Return a name for the sweep that this job belongs to, the same for all its jobs."""
    if not is_sweep():
        return None
    config = HydraConfig.get().job.config_name
    return ("" if config == "config" else f"{config}: ") + ", ".join(swept_keys())


def _key(text: str) -> str:
    return text.partition("=")[0].lstrip("+~")


def job_directory(base: Path) -> Path:
    """Return the directory of this study below that of its sweep, named by what differs."""
    swept = swept_keys() if is_sweep() else []
    job = [text for text in job_settings() if _key(text) in swept]
    return base / job_name(base, job) if job else base


def job_name(base: Path, job: list[str]) -> str:
    """Return the name of the directory of a study by the settings that differ.

    Without quotes, unless it is there with them; the end of a long one is a digest.
    """
    quoted = ",".join(job).replace("/", "_")
    name = ",".join(map(bare, job)).replace("/", "_")
    name = quoted if os.path.isdir(base / quoted) else name
    if len(name.encode()) > LONGEST:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{name.encode()[: LONGEST - 9].decode(errors='ignore')}-{digest}"
    return name
