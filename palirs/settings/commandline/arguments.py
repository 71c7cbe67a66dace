"""Flags and settings of a command line, before Hydra sees them, and what their values stand for."""

import os
import re
from argparse import Namespace
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from palirs.recipes import PalirsError
from palirs.settings.commandline.homes import with_home
from palirs.settings.commandline.quoting import is_quoted, is_whole, joined, quote, split
from palirs.settings.commandline.values import is_there

ALONE = (
    "-m",
    "--multirun",
    "-c",
    "--cfg",
    "-i",
    "--info",
    "--run",
    "-r",
    "-sc",
    "--shell-completion",
)
"""Flags of which Hydra takes one at a time."""
ATOM = re.compile(r"\[\d*[A-Za-z][a-z]?@{0,2}(H\d*)?([+-]+\d*)?(:\d+)?\]")
"""An atom in brackets, as a SMILES has them, and no list of one name."""
USUAL = "studies/<molecules>-<engine>"
"""Directory of a study that names none."""


def flags_first(
    arguments: Sequence[str], flags: Mapping[str, bool], groups: Collection[str]
) -> list[str]:
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
        For an unknown flag, one without its value, two that exclude each other, and what is no
        ``key=value``.
    """
    found, settings, rest = list[str](), list[str](), list(arguments)
    while rest:
        one = rest.pop(0)
        name = one.partition("=")[0]
        if not one.startswith("-"):
            settings.append(_setting(one, groups))
        elif name not in flags:
            raise PalirsError(
                f"{one}: there is no such flag; settings are given without dashes, {name.lstrip('-')}=…"
            )
        elif "=" in one or not flags[name]:
            found.append(f"{name}={with_home(one.partition('=')[2])}" if "=" in one else one)
        elif not rest or "=" in rest[0] or rest[0].startswith("-"):
            raise PalirsError(
                f"{name}: needs a value after it, as in  -cd sweeps -cn committee_size --cfg job"
            )
        else:
            found += [one, rest.pop(0)]
    alone = [one for one in found if one.partition("=")[0] in ALONE]
    if len(alone) > 1:
        raise PalirsError(f"{' and '.join(alone)} cannot be given together")
    return [*found, *settings]


def _setting(text: str, groups: Collection[str]) -> str:
    """Return what has the form of a setting: ``key=value``, ``+key=value``, or ``~key``, which takes one away."""
    if text.startswith("~") and text[1:] in groups:
        raise PalirsError(
            f"{text}: a study cannot do without {text[1:]}; choose another option, {text[1:]}=…"
        )
    if not text.isprintable() and any("\ud800" <= sign <= "\udfff" for sign in text):
        raise PalirsError(
            f"{text!r}: this is not UTF-8; rename the file, or set the terminal to it"
        )
    if text.partition("=")[0] in ("", "+", "++") or ("=" not in text and not text.startswith("~")):
        raise PalirsError(
            f"{text!r}: settings are given as key=value, without blanks around the =; a value that has blanks in it needs quotes"
        )
    return text


def places(asked: Namespace, conf: Path) -> tuple[str, Path, Path | None, set[str]]:
    """Return the name of the primary config, its directory, another to search, and all groups.

    Parameters
    ----------
    asked : Namespace
        What the flags say.
    conf : Path
        The settings of palirs.

    Raises
    ------
    PalirsError
        If a directory or file that a flag names is not there.
    """
    name = asked.config_name or "config"
    if asked.config_path:
        raise PalirsError("-cp replaces the settings of palirs; -cd <directory> adds to them")
    if asked.config_dir and not os.path.isdir(asked.config_dir):
        raise PalirsError(f"-cd {asked.config_dir}: there is no such directory")
    home, other = conf, Path(asked.config_dir).resolve() if asked.config_dir else None
    if other is not None and not (conf / f"{name}.yaml").is_file():
        home, other = other, conf
    if not (home / f"{name}.yaml").is_file():
        names = ", ".join(sorted(file.stem for file in home.glob("*.yaml")))
        raise PalirsError(f"-cn {name}: there is no such file in {home}; there are {names}")
    inside = [place for root in (home, other) if root for place in root.iterdir()]
    return name, home, other, {place.name for place in inside if place.is_dir()}


def directory(study: Any) -> Path:
    """Return the directory that ``study=<dir>`` names.

    Raises
    ------
    PalirsError
        If it is no name.
    """
    name = str(study).strip()
    is_name = isinstance(study, str | int | float) and not re.search(r"[\x00-\x1f]", name)
    if not name or not is_name:
        raise PalirsError(f"study = {study!r}: it should name a directory; null for {USUAL}")
    if variable := re.match(r"\$(\w+)(?=/|\Z)", name):
        written = f"${{oc.env:{variable[1]}}}{name[variable.end() :]}"
        reason = f"a shell knows what ${variable[1]} is, outside of single quotes"
        raise PalirsError(f"study = {study!r}: {reason}; or write {written}")
    return Path(name.rstrip("/ ") or name)


def usual_name(names: Sequence[Any], smiles: Sequence[Any], files: Sequence[Any]) -> str:
    """Return a name for a study of these molecules, without the slashes that a SMILES has."""
    named = [str(text).partition(" ")[2] or str(text) for text in smiles]
    joined_names = "-".join(map(str, [*names, *named, *(Path(str(file)).stem for file in files)]))
    return re.sub(r"[^\w.,+=()#@\[\]-]", "_", joined_names.replace("\\", "-"))[:60]


def check_files(task: Mapping[str, Any]) -> None:
    """See that the file a task reads is there."""
    for key in ("frames", "file", "structures"):
        path = task.get(key)
        if not isinstance(path, str | None):
            continue
        if path is None and key in task and key != "structures" and not task.get("check"):
            raise PalirsError(f"task.{key}: needs a value, the file to read")
        if path is not None and not os.path.isfile(path):
            raise PalirsError(f"task.{key} = {str(path)!r}: there is no such file")


def short_forms(
    arguments: Sequence[str],
    task: Mapping[str, Any],
    molecules: Collection[str],
) -> list[str]:
    """Translate what is shorter to type.

    ``molecules=ethanol`` means ``molecules.names=[ethanol]`` where there is no option of that name,
    ``frames=x.xyz`` after ``task=label`` means ``task.frames=x.xyz``, and the arguments of an ASE
    calculator need no ``+``.

    Parameters
    ----------
    arguments : sequence of str
        Settings and flags.
    task : mapping
        What the task takes, as its file in ``conf/task`` has it.
    molecules : collection of str
        Options of the group.
    """
    translated, own = [], {key for key in task if not key.startswith("_")}
    for argument in arguments:
        key, _, value = argument.partition("=")
        first, _, inner = key.partition(".")
        is_option = set(value.split(",")) <= set(molecules)
        if key == "molecules" and value and not is_option and not is_whole(value, "{}"):
            names = map(_names, joined(split(value), is_there))
            argument = f"molecules.names={','.join(names)}"
        elif key in own or (inner and isinstance(task.get(first), Mapping)):
            argument = f"task.{argument}"
        elif key.startswith("engine.calculator."):
            argument = f"++{argument}"
        translated.append(argument)
    return translated


def _names(text: str) -> str:
    """Return the list, in quotes, that ``ethanol``, ``[ethanol, CCO]`` or ``[2H]O[2H]`` means."""
    text = text.strip()
    together = is_whole(text, "[]") and not ATOM.fullmatch(text)
    parts = joined(split(text[1:-1]), is_there) if together else [text]
    names = [name if is_quoted(name) else quote(name) for part in parts if (name := part.strip())]
    return f"[{','.join(names)}]" if text else ""
