"""Typed values as their settings take them: what Hydra reads otherwise is read again.

A shell takes quotes away, and Hydra misses them: it reads a text ``1e3`` as a number and
``6-31G(d,p)`` not at all. Where it is not clear what is meant, the error has the line that works.
"""

import logging
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from palirs.cli import quoting
from palirs.cli.kinds import ANYTHING, Takes
from palirs.cli.overrides import FUNCTION, exists, missing_value, parse, unreadable_function
from palirs.cli.quoting import is_quoted, is_whole, joined, quote, split
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)

MIXED = re.compile(r"\\[ (),={}:]")
"""A backslash for Hydra, which no SMILES has, in what Hydra cannot read all the same."""
PROGRAM = "palirs" if Path(sys.argv[0]).name == "palirs" else "python run.py"
"""How this program is started."""


def with_types(
    settings: dict[str, Any], typed: Iterable[str], takes: Mapping[str, Takes], flag: str = ""
) -> dict[str, Any]:
    """Put typed values into composed settings, in place, as their keys take them.

    Parameters
    ----------
    settings : dict
        Composed settings as plain values.
    typed : iterable of str
        ``key=value`` of this study, in the order of the command line.
    takes : mapping
        What each key takes, see :func:`palirs.cli.kinds.kinds`.
    flag : str
        ``"-m "`` in a sweep, for the lines that errors advise.

    Raises
    ------
    PalirsError
        Where a value is not what its key takes, or it is not clear what is meant.
    """
    for setting in typed:
        name, _, value = setting.partition("=")
        key = name.lstrip("+")
        parent, _, last = key.rpartition(".")
        whole = takes.get(parent)
        kind = takes.get(key) or (whole.values if whole else None)
        if kind is None:
            continue
        node = settings
        for part in parent.split(".") if parent else ():
            node = node.get(part) or {}
        composed = node.get(last)
        if last not in node or (isinstance(composed, dict) and kind.values is None):
            continue  # a group, or nothing that Hydra could have read otherwise
        result = Reader(key, value.strip(), flag).read(kind)
        if isinstance(result, dict) and isinstance(composed, dict):
            kept = {name: item for name, item in composed.items() if str(name) not in result}
            result = kept | result
        node[last] = result
    return settings


@dataclass(frozen=True)
class Reader:
    """Reads the value of one setting as it was typed on the command line.

    Attributes
    ----------
    key, typed : str
        The setting and its value as they were typed.
    flag : str
        ``"-m "`` in a sweep, for the lines that errors advise.
    """

    key: str
    typed: str
    flag: str = ""

    def read(self, takes: Takes) -> Any:
        """Return the value.

        Raises
        ------
        PalirsError
            Where it is not clear what is meant, or several values are given where one is needed.
        """
        value = self.typed.strip(" \t")
        if not value and not (takes.empty or takes.anything):
            null = f", or {self.key}=null for none" if takes.null else ""
            raise PalirsError(f"{self.key}=: needs a value after the ={null}")
        parts = self._parts(value, takes) if value else [""]
        if len(parts) > 1 and not all(part.strip() for part in parts):
            raise missing_value(self.key, value, self.flag, takes.free_text or takes.anything)
        if len(parts) > 1:
            raise self.sweep(takes)
        return self._one(parts[0].strip(" \t"), takes)

    def _parts(self, value: str, takes: Takes) -> list[str]:
        """Return the values, several of them where a comma stands between studies."""
        override, parts = parse(f"key={value}"), split(value)
        if FUNCTION.fullmatch(value) and override is None:
            raise unreadable_function(self.key, value, self.flag)
        if FUNCTION.fullmatch(value):
            return [value]
        if takes.text or takes.members or takes.values:
            parts = joined(parts, exists)
        if not takes.free_text or (
            len(parts) > 1 and all(is_quoted(part.strip()) for part in parts)
        ):
            return parts
        if len(parts) > 1 and override is not None:
            message = "palirs: %s=%s is taken as one text; several values, a study each, need -m"
            log.warning(message, self.key, value)
        return [value]

    def _one(self, value: str, takes: Takes) -> Any:
        """Return a value that is none of several."""
        override = parse(f"key={value}")
        several = override is not None and override.is_sweep_override()
        if several and (FUNCTION.fullmatch(value) or not takes.free_text):
            raise self.sweep(takes)
        if takes.null and value == "None":
            text = f", or {self._as_text(value)} for this text" if takes.free_text else ""
            raise self._unclear(value, f"write {self.key}=null for none{text}")
        if value == "???":
            raise self._unclear(value, "needs a value; ??? stands for one that is missing")
        if takes.anything and override is not None:
            return override.value()
        if override is not None and not several and override.value() is None and not takes.null:
            empty = f"; an empty list is written {self._line('[]')}" if takes.members else ""
            raise PalirsError(f"{self.key}: needs a value, which null is not{empty}")
        if is_whole(value, "[]") and (takes.members or takes.anything):
            return self._list(value, takes.members or ANYTHING)
        if is_whole(value, "{}") and (takes.values or takes.anything):
            return self._pairs(value, takes)
        if (takes.members or takes.values) and not takes.text:
            return self._container(value, override, takes)
        if takes.text or override is None:
            return self._text(value, override, takes)
        return override.value()

    def _text(self, value: str, override: Override | None, takes: Takes) -> Any:
        """Return a text as it was typed, unless Hydra reads one too."""
        if takes.anything and is_whole(value, "()"):
            a_list = f"a list is written {self._line(f'[{value[1:-1]}]')}"
            raise self._unclear(value, f"{a_list}, a text {self._as_text(value)}")
        if override is None and MIXED.search(value):
            plain = self._as_text(quoting.ESCAPED.sub(r"\1", value))
            with_them = f"{self._as_text(value)} if they belong to it"
            raise self._unclear(
                value, f"not all signs have a backslash; write {plain}, or {with_them}"
            )
        if override is None or override.is_sweep_override():
            return value
        result = override.value()
        if isinstance(result, list | dict):
            allowed = " or a list" * bool(takes.members)
            allowed += " or pairs {name: value}" * bool(takes.values)
            text = f"if this is meant as a text, write {self._as_text(value)}"
            raise self._unclear(value, f"takes one text{allowed}; {text}")
        is_number = isinstance(result, bool | int | float) and not takes.number
        return value if is_number else result

    def _container(self, value: str, override: Override | None, takes: Takes) -> Any:
        """Return what stands for a list or pairs without their brackets, or tell of them."""
        if override is not None and (override.value() is None or value.startswith("${")):
            return override.value()
        inner = value[1:-1] if is_whole(value, "()") else value
        what, form = ("a list", f"[{inner}]") if takes.members else ("pairs", f"{{name: {inner}}}")
        raise self._unclear(value, f"takes {what}; write {self._line(form)}")

    def _list(self, value: str, takes: Takes) -> list[Any]:
        parts = split(value[1:-1]) if value[1:-1].strip() else []
        whole = joined(parts, exists) if takes.text else parts
        if not all(part.strip() for part in whole):
            raise self._unclear(value, "an empty member; a list is written [one, another]")
        return [self._one(part.strip(" \t"), takes) for part in whole]

    def _pairs(self, value: str, takes: Takes) -> dict[str, Any]:
        if not value[1:-1].strip():
            return {}
        typed = quoting.pairs(value[1:-1], exists)
        if typed is None:
            example = self._line('{"a,b": "c,d.jdx"}')
            form = "pairs are written {name: value, another: value}"
            raise self._unclear(value, f"{form}; a comma in a name needs quotes, {example}")
        named = {name: self._one(text, takes.values or ANYTHING) for name, text in typed}
        if len(named) < len(typed):
            raise self._unclear(value, "a name is there twice")
        return named

    def sweep(self, takes: Takes) -> PalirsError:
        """Return the error for several values without ``-m``."""
        advice = ""
        if FUNCTION.fullmatch(self.typed):
            pass
        elif takes.members and not takes.text:
            parts = [part.strip() for part in joined(split(self.typed), exists)]
            members = ",".join(part[1:-1] if is_whole(part, "[]") else part for part in parts)
            advice = f"; if one study is meant, write {self._line(f'[{members}]')}"
        elif takes.anything:
            a_list, a_text = self._line(f"[{self.typed}]"), self._as_text(self.typed)
            advice = f"; if one study is meant, write {a_list} for a list, or {a_text} for a text"
        elif takes.decimal and re.fullmatch(r"[+-]?\d+,\d+", self.typed):
            advice = "; the decimal mark of a number is a point"
        command = f"{PROGRAM} -m {shlex.quote(f'{self.key}={self.typed}')} …"
        sentence = f"several values are a sweep, and that needs -m: {command}{advice}"
        return self._unclear(self.typed, sentence)

    def _unclear(self, value: str, sentence: str) -> PalirsError:
        return PalirsError(f"{self.key}={value}: {sentence}")

    def _line(self, value: str) -> str:
        """Return the setting with this value, for a shell."""
        return self.flag + shlex.quote(f"{self.key}={value}")

    def _as_text(self, value: str) -> str:
        """Return the setting with this value as a text, for a shell."""
        return self._line(quote(value, '"'))
