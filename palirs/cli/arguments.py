"""The command line as it was typed: flags, settings, and the short forms of a few settings."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

import palirs
from palirs.cli.homes import with_home
from palirs.cli.kinds import TEXT, Takes
from palirs.cli.overrides import exists, is_swept, missing_value, parse, readable
from palirs.cli.quoting import is_quoted, is_whole, joined, quote, split
from palirs.cli.values import Reader
from palirs.recipes import PalirsError

PACKAGE = Path(palirs.__file__).parent
CONF, SWEEPS = PACKAGE / "conf", PACKAGE / "sweeps"
FLAGS = {
    **dict.fromkeys(("-h", "--help", "--hydra-help", "--version", "--resolve"), False),
    **dict.fromkeys(("-m", "--multirun", "-r", "--run", "-i", "--info"), False),
    **dict.fromkeys(("-sc", "--shell-completion"), False),
    **dict.fromkeys(("-c", "--cfg", "-p", "--package", "--experimental-rerun"), True),
    **dict.fromkeys(("-cp", "--config-path", "-cn", "--config-name"), True),
    **dict.fromkeys(("-cd", "--config-dir"), True),
}
"""Flags of Hydra, and whether a value follows each."""
ALONE = ("-m", "--multirun", "-c", "--cfg", "-i", "--info", "--run", "-r")
ALONE += ("-sc", "--shell-completion")
"""Flags of which Hydra takes one at a time."""
OPEN = re.compile(r"(engine\.calculator|(.+\.)?(experiment|atomic_energies|cas|studies))\.")
"""Begin of keys below settings whose names are free, which Hydra otherwise takes with a + only."""
GROUP = Takes(text=True, choices=True, null=True, members=TEXT)
"""An option of a group."""
ATOM = re.compile(r"\[\d*[A-Za-z][a-z]?@{0,2}(H\d*)?([+-]+\d*)?(:\d+)?\]")
"""An atom in brackets, as a SMILES has them, and no list of one name."""
PLUGIN = re.compile(r"hydra\.(launcher|sweeper|callbacks\.\w+)\._target_")


@dataclass(frozen=True)
class Arguments:
    """A command line: its flags with their values, and its settings.

    Attributes
    ----------
    flags : tuple of str
        In order, each followed by its value.
    settings : tuple of str
        ``key=value``, ``+key=value`` or ``~key``, short forms written out.
    """

    flags: tuple[str, ...]
    settings: tuple[str, ...]

    def value(self, *names: str) -> str | None:
        """Return the value of a flag, by its names."""
        following = dict(zip(self.flags, self.flags[1:], strict=False))
        return next((following[name] for name in names if name in following), None)

    @property
    def help(self) -> bool:
        """Whether the settings are to be explained."""
        return bool({"-h", "--help"} & set(self.flags))

    @property
    def name(self) -> str:
        """Name of the primary config."""
        return self.value("-cn", "--config-name") or "config"

    @property
    def folder(self) -> Path | None:
        """Directory that is searched besides."""
        named = self.value("-cd", "--config-dir")
        return None if named is None else Path(named).resolve()

    @property
    def swept(self) -> bool:
        """Whether several values may be several studies; a prepared sweep says so in its file."""
        asked = {"-m", "--multirun"} & set(self.flags) or "hydra.mode=MULTIRUN" in self.settings
        return bool(asked) or self.name != "config"

    def written(self) -> list[str]:
        """Return flags and settings as Hydra reads them.

        Raises
        ------
        PalirsError
            For what Hydra would explain badly.
        """
        return [*self.flags, *(_written(text, self.swept) for text in self.settings)]


def read_arguments(arguments: Sequence[str]) -> Arguments:
    """Read a command line; flags may stand anywhere.

    Raises
    ------
    PalirsError
        For an unknown flag, one without its value, two that exclude each other, a directory or file
        that is not there, and what is no ``key=value``.
    """
    flags, settings, rest = list[str](), list[str](), list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        if not argument.startswith("-"):
            settings.append(_setting(argument))
        elif name not in FLAGS:
            advice = f"settings are given without dashes, {name.lstrip('-')}=…"
            raise PalirsError(f"{argument}: there is no such flag; {advice}")
        elif not FLAGS[name]:
            flags.append(argument)
        elif equals:
            flags += [name, with_home(value)]
        elif not rest or "=" in rest[0] or rest[0].startswith("-"):
            example = "-cd sweeps -cn committee_size --cfg job"
            raise PalirsError(f"{name}: needs a value after it, as in  {example}")
        else:
            flags += [name, rest.pop(0)]
    alone = [flag for flag in flags if flag in ALONE]
    if len(alone) > 1:
        raise PalirsError(f"{' and '.join(alone)} cannot be given together")
    read = Arguments(_with_shipped_sweeps(flags), tuple(settings))
    _check_places(read)
    task = next((text.partition("=")[2] for text in settings if text.startswith("task=")), "study")
    written_out = (_short_form(text, task, read) for text in settings)
    return Arguments(read.flags, tuple(written_out))


def _setting(text: str) -> str:
    """Return what has the form of a setting: ``key=value``, ``+key=value`` or ``~key``."""
    if not text.isprintable() and any("\ud800" <= sign <= "\udfff" for sign in text):
        advice = "rename the file, or set the terminal to it"
        raise PalirsError(f"{text!r}: this is not UTF-8; {advice}")
    if text.partition("=")[0] in ("", "+", "++") or ("=" not in text and not text.startswith("~")):
        form = "settings are given as key=value, without blanks around the ="
        raise PalirsError(f"{text!r}: {form}; a value that has blanks in it needs quotes")
    return text


def _with_shipped_sweeps(flags: Sequence[str]) -> tuple[str, ...]:
    """Return flags in which ``-cd sweeps`` is the shipped directory, where there is no other."""
    shipped = {} if os.path.isdir("sweeps") else {"sweeps": str(SWEEPS)}
    names = ("", *flags)
    return tuple(
        shipped.get(flag, flag) if before in ("-cd", "--config-dir") else flag
        for before, flag in zip(names, flags, strict=False)
    )


def _check_places(arguments: Arguments) -> None:
    """See that the directory and the file that flags name are there."""
    folder, name = arguments.folder, arguments.name
    if arguments.value("-cp", "--config-path"):
        raise PalirsError("-cp replaces the settings of palirs; -cd <directory> adds to them")
    if folder is not None and not folder.is_dir():
        named = arguments.value("-cd", "--config-dir")
        raise PalirsError(f"-cd {named}: there is no such directory")
    if not any((place / f"{name}.yaml").is_file() for place in (CONF, folder) if place):
        home = folder or CONF
        names = ", ".join(sorted(file.stem for file in home.glob("*.yaml")))
        raise PalirsError(f"-cn {name}: there is no such file in {home}; there are {names}")


def _short_form(text: str, task: str, arguments: Arguments) -> str:
    """Write out a short form: molecules by name, and arguments of the chosen task.

    ``molecules=ethanol`` means ``molecules.names=[ethanol]`` where there is no option of that name;
    ``frames=x.xyz`` with ``task=label`` means ``task.frames=x.xyz``.
    """
    key, _, value = text.partition("=")
    first, below, _ = key.partition(".")
    options = {file.stem for file in CONF.glob("molecules/*.yaml")}
    if key == "molecules" and value.strip():
        is_option = set(value.split(",")) <= options or is_whole(value, "{}")
        return text if is_option else f"molecules.names={_names(value, arguments.swept)}"
    taken = _arguments_of(task)
    if is_group(key) and value in _options(key):
        return text  # experiment=tiny is a preset, experiment=unknown.jdx what task=identify reads
    if key in taken or (below and isinstance(taken.get(first), dict)):
        return f"task.{text}"
    return text


def _options(group: str) -> set[str]:
    """Return the options of a group."""
    return {
        str(file.relative_to(CONF / group).with_suffix(""))
        for file in CONF.glob(f"{group}/**/*.yaml")
    }


@cache
def _arguments_of(task: str) -> dict:
    """Return the arguments of a task and their values, as its file in ``conf/task`` has them."""
    file = CONF / "task" / f"{task}.yaml"
    settings = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {key: value for key, value in settings.items() if not key.startswith("_")}


def _names(value: str, swept: bool) -> str:
    """Return the lists, names in quotes, that ``ethanol``, ``[ethanol, CCO]`` or ``[2H]O`` mean."""
    parts = [part.strip() for part in joined(split(value), exists)]
    if not all(parts):
        raise missing_value("molecules", value, "-m " if swept else "")
    if len(parts) > 1 and not swept:
        raise Reader("molecules", value.strip()).sweep(Takes(members=TEXT))
    return ",".join(map(_list, parts))


def _list(text: str) -> str:
    together = is_whole(text, "[]") and not ATOM.fullmatch(text)
    parts = joined(split(text[1:-1]), exists) if together else [text]
    names = [name if is_quoted(name) else quote(name) for part in parts if (name := part.strip())]
    return f"[{','.join(names)}]"


def _written(text: str, swept: bool) -> str:
    """Return a setting as Hydra reads it."""
    name, _, value = text.partition("=")
    key, value = name.lstrip("+~"), value.strip(" \t")
    prefix = name.removesuffix(key)
    if prefix == "~" and parse(text) is None:
        raise PalirsError(f"{text}: ~key takes a key away; a setting is given as key=value")
    if prefix == "~":
        return text
    if PLUGIN.fullmatch(key) and not value.startswith(("hydra.", "hydra_plugins.")):
        allowed = "it should be one of Hydra's own or of its plug-ins"
        raise PalirsError(f"{key} = {value!r}: {allowed}")
    if is_group(key):
        return _group(key, prefix, value, swept)
    free = OPEN.match(key) or is_whole(value, "{}")
    return readable(f"{prefix or '++' * bool(free)}{key}={value}", swept)


def is_group(key: str) -> bool:
    """Tell whether a key is that of a group, whose options are files."""
    return "/" in key or "@" in key or (CONF / key).is_dir()


def _group(key: str, prefix: str, value: str, swept: bool) -> str:
    """Return the choice of a group's option."""
    if not value:
        options = "one of the options that --help lists"
        raise PalirsError(f"{key}=: needs a value after the =, {options}")
    if is_whole(value, "{}"):
        return readable(f"{prefix or '++'}{key}={value}", swept)
    if is_swept(f"{key}={value}") and not swept:
        raise Reader(key, value).sweep(GROUP)
    written = readable(f"{prefix}{key}={value}", swept)
    override = parse(written)
    is_number = override is not None and isinstance(override.value(), int | float)
    return f"{prefix}{key}={quote(value)}" if is_number else written
