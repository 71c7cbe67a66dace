"""Settings of the command line as Hydra reads them: quotes where its grammar needs them."""

import itertools
import os
import re
import shlex
from collections.abc import Iterable
from functools import cache
from glob import glob

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from palirs.cli import quoting
from palirs.cli.quoting import is_whole, joined, quote, split
from palirs.recipes import PalirsError

FUNCTION = re.compile(r"(int|str|bool|float|sort|shuffle|tag|choice|range|interval|glob)\(.*\)")
"""Functions of Hydra's grammar."""


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


@cache
def parse(text: str) -> Override | None:
    """Return what Hydra makes of a setting; ``None`` if it cannot read it."""
    try:
        return _parser().parse_overrides([text])[0]
    except HydraException:
        return None


def exists(name: str) -> bool:
    """Tell whether this is a shipped molecule, a file, or a pattern of existing files."""
    from palirs.molecules.names import table  # only where a comma may belong to a name

    path = os.path.expanduser(name)
    return bool(name) and (name in table() or os.path.exists(path) or bool(glob(path)))


def readable(setting: str, swept: bool) -> str:
    """Return a setting as Hydra reads it: what it cannot read is quoted as a text.

    Parameters
    ----------
    setting : str
        ``key=value``, ``+key=value`` or ``~key``.
    swept : bool
        Whether a comma stands between the values of several studies; otherwise it belongs to the
        value.

    Raises
    ------
    PalirsError
        If a value is missing beside a comma between studies, or is an unreadable function.
    """
    key, equals, value = setting.partition("=")
    value = value.strip(" \t")
    if key.startswith("~") or not value:
        return f"{key}{equals}{value}"
    if not swept:
        return f"{key}={_readable(value)}"
    if FUNCTION.fullmatch(value):
        if parse(f"key={value}") is None:
            raise unreadable_function(key, value, "-m ")
        return f"{key}={value}"
    values = [part.strip(" \t") for part in joined(split(value), exists)]
    if not all(values):
        raise missing_value(key, value, "-m ")
    return f"{key}={','.join(map(_readable, values))}"


def _readable(value: str) -> str:
    """Return one value, quoted where Hydra cannot read it or reads several."""
    override = parse(f"key={value}")
    if override is not None and not override.is_sweep_override():
        return value
    if is_whole(value, "[]"):
        members = [part.strip(" \t") for part in joined(split(value[1:-1]), exists)]
        written = f"[{','.join(map(_readable, members))}]"
        return written if parse(f"key={written}") is not None else quote(value, '"')
    named = quoting.pairs(value[1:-1], exists) if is_whole(value, "{}") else None
    if named:
        written = quoting.escaped({name: _readable(text) for name, text in named})
        return written if parse(f"key={written}") is not None else quote(value, '"')
    return quote(value, '"')


def unreadable_function(key: str, value: str, flag: str = "") -> PalirsError:
    """Return the error for a function of Hydra's grammar that Hydra cannot read."""
    example = "texts in it need quotes, choice('6-31G(d,p)','def2-svp')"
    advice = f"if one text is meant, write {_as_text(key, value, flag)}"
    return PalirsError(f"{key}={value}: this cannot be read; {example}; {advice}")


def missing_value(key: str, value: str, flag: str = "", text: bool = True) -> PalirsError:
    """Return the error for an empty value beside a comma; ``text``: a comma may be meant."""
    advice = f"; if one text is meant, write {_as_text(key, value, flag)}" if text else ""
    return PalirsError(f"{key}={value}: a value is missing beside a comma{advice}")


def _as_text(key: str, value: str, flag: str) -> str:
    return flag + shlex.quote(f"{key}=" + quote(value, '"'))


def jobs(settings: Iterable[str]) -> list[list[str]]:
    """Return the settings of each job of a sweep over these; of two with one key, the later."""
    values: dict[str, list[str]] = {}
    for override in filter(None, map(parse, settings)):
        key = override.get_key_element()
        if not override.is_sweep_override():
            values[key] = [str(override.input_line)]
        elif override.is_discrete_sweep():
            values[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
    return [list(job) for job in itertools.product(*values.values())]


def is_swept(setting: str) -> bool:
    """Tell whether a setting has several values, one for each study of a sweep."""
    override = parse(setting)
    return override is not None and override.is_sweep_override()


def bare(setting: str) -> str:
    """Return a setting without the quotes and backslashes that Hydra needs."""
    override = parse(setting) if set(setting) & set("'\"\\") else None
    if override is None or override.is_sweep_override():
        return setting
    return f"{setting.partition('=')[0]}={_plain(override.value())}"


def _plain(value: object) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_plain, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_plain(item)}" for key, item in value.items()) + "}"
    return "null" if value is None else str(value)
