"""The settings of a command line, as Hydra reads them."""

import hashlib
import json
import os
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from palirs.recipes import PalirsError
from palirs.settings.commandline.kinds import ANYTHING, TEXT, Takes
from palirs.settings.commandline.mistakes import unknown_key
from palirs.settings.commandline.values import Reading, Writer

GROUP = Takes(text=True, choices=True, null=True, members=TEXT)
"""An option of a group."""
LONGEST = 200
"""Bytes of the name of a directory; file systems allow 255."""


def readable(
    settings: Sequence[str],
    typed: Mapping[str, str],
    takes: Mapping[str, Takes],
    groups: Collection[str],
    parse: Callable[[str], Reading | None],
    swept: bool,
) -> list[str]:
    """Return settings as Hydra reads them, in quotes where that is needed.

    Parameters
    ----------
    settings : sequence of str
        ``key=value``, ``+key=value``, ``~key``.
    typed : mapping
        What the user typed, for those that were translated.
    takes : mapping
        What each key takes, see :func:`palirs.settings.commandline.kinds.kinds`.
    groups : collection of str
        Groups of options.
    parse : callable
        Gives a :class:`Reading` of a setting; ``None`` if Hydra cannot read it.
    swept : bool
        Whether there may be several values, one for each study.

    Raises
    ------
    PalirsError
        For a key that is not there, an empty value, several values that are no sweep, and what may
        mean this or that.
    """
    rest = takes, groups, parse, swept
    return [_readable(text, typed.get(text, text), *rest) for text in settings]


def _readable(
    text: str,
    typed: str,
    takes: Mapping[str, Takes],
    groups: Collection[str],
    parse: Callable[[str], Reading | None],
    swept: bool,
) -> str:
    name, _, value = text.partition("=")
    key = name.lstrip("+~")
    prefix = name.removesuffix(key)
    if prefix == "~":
        if parse(text) is None:
            raise PalirsError(f"{typed}: ~key takes a key away; a setting is given as key=value")
        return text
    with_pairs = [each for each, kind in takes.items() if kind.values is not None]
    parent = next((each for each in with_pairs if key.startswith(f"{each}.")), None)
    if parse(f"{key}=x") is None:
        if parent is None:
            raise PalirsError(unknown_key(key, takes))
        pair = f"{parent}={{{key.removeprefix(f'{parent}.')}: {value}}}"
        raise PalirsError(f"{typed}: such a name is no key; write {shlex.quote(pair)}")
    kind = takes.get(key) or (takes[parent].values if parent else None)
    if key in groups or "/" in key or "@" in key:
        kind = GROUP
        if not value.strip():
            options = "one of the options that --help lists"
            raise PalirsError(f"{typed.strip()}: needs a value after the =, {options}")
    if kind is None and not swept and not prefix and not key.startswith("hydra."):
        raise PalirsError(unknown_key(key, takes))
    typed_key, _, typed_value = typed.partition("=")
    writer = Writer(typed_key, typed_value.strip(), lambda part: parse(f"key={part}"), swept)
    written = writer.written(value, kind or ANYTHING)
    names_are_free = bool(parent) if key not in takes else written.startswith("{")
    return f"{'++' if names_are_free and not prefix else prefix}{key}={written}"


def checked_params(
    params: Mapping[str, Any],
    takes: Mapping[str, Takes],
    groups: Collection[str],
    parse: Callable[[str], Reading | None],
) -> list[str]:
    """Return what a prepared sweep varies, as settings; parameters as in :func:`readable`.

    Raises
    ------
    PalirsError
        For a value that Hydra cannot read.
    """
    settings = [f"{key}={value}" for key, value in params.items()]
    better = readable(settings, {}, takes, groups, parse, swept=True)
    for text, written in zip(settings, better, strict=True):
        if parse(text) is None:
            key, _, value = written.partition("=")
            line = f"{key}: {json.dumps(value, ensure_ascii=False)}"
            raise PalirsError(f"hydra.sweeper.params.{text}: this cannot be read; write {line}")
    return settings


def job_directory(base: Path, job: Sequence[str], parse: Callable[[str], Reading | None]) -> Path:
    """Return the directory of one study of a sweep, named by the settings that differ.

    Without quotes, unless it is there with them.

    Parameters
    ----------
    base : Path
        Directory of the sweep.
    job : sequence of str
        Settings of the study, as Hydra has them.
    parse : callable
        As in :func:`readable`.
    """
    quoted = ",".join(job).replace("/", "_")
    name = ",".join(_bare(text, parse) for text in job).replace("/", "_")
    name = quoted if os.path.isdir(base / quoted) else name
    if len(name.encode()) > LONGEST:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{name.encode()[: LONGEST - 9].decode(errors='ignore')}-{digest}"
    return base / name


def _bare(text: str, parse: Callable[[str], Reading | None]) -> str:
    """Return a setting without the quotes and backslashes that Hydra needs."""
    reading = parse(text) if set(text) & set("'\"\\") else None
    return text if reading is None else f"{text.partition('=')[0]}={_plain(reading.value)}"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_plain, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_plain(item)}" for key, item in value.items()) + "}"
    return "null" if value is None else str(value)
