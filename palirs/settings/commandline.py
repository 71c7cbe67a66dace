"""What stands on the command line, before it is parsed: slips that a parser explains badly, or not at all."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from palirs.recipes import PalirsError

ALONE = ("-m", "--multirun", "-c", "--cfg", "-i", "--info", "--run", "-r", "-sc", "--shell-completion")
"""Flags of which Hydra takes one at a time."""


def flags_first(arguments: Sequence[str], flags: Mapping[str, bool], groups: Collection[str]) -> list[str]:
    """Put ``-m``, ``-cd`` and the like before the settings, where alone Hydra finds all of them.

    Parameters
    ----------
    arguments : sequence of str
        Of the command line.
    flags : mapping
        Every flag there is, and whether a value follows it.
    groups : collection of str
        Groups of settings that a study cannot do without.

    Raises
    ------
    PalirsError
        For an unknown flag, one without its value, two that exclude each other, and what is no ``key=value``.
    """
    found, settings, rest = list[str](), list[str](), list(arguments)
    while rest:
        one = rest.pop(0)
        name = one.partition("=")[0]
        if not one.startswith("-"):
            settings.append(_setting(one, groups))
        elif name not in flags:
            raise PalirsError(f"{one}: there is no such flag; settings are given without dashes, {name.lstrip('-')}=…")
        elif "=" in one or not flags[name]:
            found.append(one)
        elif not rest or "=" in rest[0] or rest[0].startswith("-"):
            raise PalirsError(f"{name}: needs a value after it, as in  -cd sweeps -cn committee_size --cfg job")
        else:
            found += [one, rest.pop(0)]
    alone = [one for one in found if one.partition("=")[0] in ALONE]
    if len(alone) > 1:
        raise PalirsError(f"{' and '.join(alone)} cannot be given together")
    return [*found, *settings]


def _setting(text: str, groups: Collection[str]) -> str:
    """Return what has the form of a setting: ``key=value``, ``+key=value``, or ``~key``, which takes one away."""
    if text.startswith("~") and text[1:] in groups:
        raise PalirsError(f"{text}: a study cannot do without {text[1:]}; choose another option, {text[1:]}=…")
    if "=" not in text and not text.startswith("~"):
        raise PalirsError(
            f"{text!r}: settings are given as key=value, without blanks around the =; a value that has blanks in it needs quotes"
        )
    return text


def check_files(task: Mapping[str, Any]) -> None:
    """See that the file a task reads is there."""
    for key in ("frames", "file", "structures"):
        path = task.get(key)
        if not isinstance(path, str | None):
            continue
        if path is None and key in task and key != "structures" and not task.get("check"):
            raise PalirsError(f"task.{key}: needs a value, the file to read")
        if path is not None and not Path(str(path)).is_file():
            raise PalirsError(f"task.{key} = {str(path)!r}: there is no such file")


def quoted(value: str) -> str:
    """Return a list of directories with each in quotes, as names with an equals sign in them need; anything else as it is."""
    if not re.fullmatch(r"\[[^\"'{}]+\]", value):
        return value
    return f"[{','.join(repr(name.strip()) for name in value[1:-1].split(','))}]"


def check_single(settings: Sequence[str]) -> None:
    """Raise :class:`PalirsError` for a setting with several values, which without ``-m`` is a slip."""
    for text in settings:
        key, _, value = text.partition("=")
        if is_sweep(value):
            one = "" if re.match(r"\w+\(", value) else f"; if one study is meant, write {key}=[{value.replace('],[', ',').strip('[]')}]"
            raise PalirsError(f"{text}: several values are a sweep, and that needs -m: python run.py -m {text} …{one}")


def is_sweep(value: str) -> bool:
    """Tell whether a value on the command line is several."""
    outside = re.sub(r"\[[^]]*\]|\{[^}]*\}|'[^']*'|\"[^\"]*\"", "", value)
    return "," in outside or re.match(r"(choice|range|interval|glob)\(", value) is not None
