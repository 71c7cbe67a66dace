"""One value as people type it, for Hydra: the shell takes quotes away, and Hydra misses them.

What Hydra reads as it is meant is left alone. What it cannot read, or reads as something else than
the setting takes, is put into quotes where the setting takes a text; where it is not clear what is
meant, the command line that works is told.
"""

import json
import logging
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from glob import glob
from typing import Any

from palirs.molecules import table
from palirs.recipes import PalirsError
from palirs.settings.commandline import quoting
from palirs.settings.commandline.kinds import ANYTHING, Takes
from palirs.settings.commandline.quoting import is_quoted, is_whole, joined, quote, split

log = logging.getLogger(__name__)

FUNCTION = re.compile(r"(int|str|bool|float|sort|shuffle|tag|choice|range|interval|glob)\(.*\)")
"""Functions of Hydra's grammar."""
MIXED = re.compile(r"\\[ (),={}:]")
"""A backslash for Hydra, which no SMILES has, in what Hydra cannot read all the same."""


@dataclass(frozen=True)
class Reading:
    """What Hydra makes of a value, and whether it is several for a sweep."""

    value: Any
    several: bool = False


def is_there(name: str) -> bool:
    """Tell whether this is a shipped molecule, a file, or a pattern of files that are there."""
    path = os.path.expanduser(name)
    return bool(name) and (name in table() or os.path.exists(path) or bool(glob(path)))


@dataclass(frozen=True)
class Writer:
    """Writes the value of a setting so that Hydra reads what was meant.

    Attributes
    ----------
    key, typed : str
        The setting and its value as they were typed.
    read : callable
        Gives a :class:`Reading` of a value; ``None`` if Hydra cannot read it.
    swept : bool
        Whether a comma stands between the values of several studies.
    """

    key: str
    typed: str
    read: Callable[[str], Reading | None]
    swept: bool

    def written(self, value: str, takes: Takes) -> str:
        """Return a value as Hydra reads it.

        Raises
        ------
        PalirsError
            Where it is not clear what is meant, or several values are given where one is needed.
        """
        value = value.strip(" \t")
        if not value and not (takes.empty or takes.anything):
            null = f", or {self.key}=null for none" if takes.null else ""
            raise PalirsError(f"{self.key}=: needs a value after the ={null}")
        parts = self._parts(value, takes) if value else [""]
        if len(parts) > 1 and not all(part.strip() for part in parts):
            text = f"; if one text is meant, write {self._as_text(self.typed)}"
            advice = text if takes.free_text or takes.anything else ""
            raise self._unclear(self.typed, f"a value is missing beside a comma{advice}")
        if len(parts) > 1 and not self.swept:
            raise self._sweep(takes)
        result = ",".join(self._one(part.strip(" \t"), takes) for part in parts)
        reading = self.read(result)
        if reading is None:
            raise self._unclear(self.typed, "this cannot be read; such a text needs quotes")
        if reading.several and not self.swept:
            raise self._sweep(takes)
        return result

    def _parts(self, value: str, takes: Takes) -> list[str]:
        """Return the values, several of them where a comma stands between studies."""
        reading, parts = self.read(value), split(value)
        if FUNCTION.fullmatch(value) and reading is None:
            example = "texts in it need quotes, choice('6-31G(d,p)','def2-svp')"
            text = f"if one text is meant, write {self._as_text(self.typed)}"
            raise self._unclear(self.typed, f"this cannot be read; {example}; {text}")
        if FUNCTION.fullmatch(value):
            return [value]
        if takes.text or takes.members or takes.values:
            parts = joined(parts, is_there)
        if not takes.free_text or self.swept or all(is_quoted(part.strip()) for part in parts):
            return parts
        if len(parts) > 1 and reading is not None:
            message = "palirs: %s=%s is taken as one text; several values, a study each, need -m"
            log.warning(message, self.key, value)
        return [value]

    def _one(self, value: str, takes: Takes) -> str:
        """Return a value that is none of several."""
        reading = self.read(value)
        if takes.null and value == "None":
            text = f", or {self._as_text(value)} for this text" if takes.free_text else ""
            raise self._unclear(value, f"write {self.key}=null for none{text}")
        if value == "???":
            raise self._unclear(value, "needs a value; ??? stands for one that is missing")
        if takes.anything and reading is not None:
            return value
        if reading == Reading(None) and not takes.null:
            empty = f"; an empty list is written {self._line('[]')}" if takes.members else ""
            raise PalirsError(f"{self.key}: needs a value, which null is not{empty}")
        if is_whole(value, "[]") and (takes.members or takes.anything):
            return self._list(value, takes.members or ANYTHING)
        if is_whole(value, "{}") and (takes.values or takes.anything):
            return self._pairs(value, takes)
        if (takes.members or takes.values) and not takes.text:
            return self._container(value, reading, takes)
        if takes.text or reading is None:
            return self._text(value, reading, takes)
        return value

    def _text(self, value: str, reading: Reading | None, takes: Takes) -> str:
        """Return a text: in quotes where Hydra reads something else or nothing."""
        if takes.anything and is_whole(value, "()"):
            a_list = f"a list is written {self._line(f'[{value[1:-1]}]')}"
            raise self._unclear(value, f"{a_list}, a text {self._as_text(value)}")
        if reading is None and MIXED.search(value):
            plain = self._as_text(quoting.ESCAPED.sub(r"\1", value))
            with_them = f"{self._as_text(value)} if they belong to it"
            raise self._unclear(
                value, f"not all signs have a backslash; write {plain}, or {with_them}"
            )
        if reading is None:
            return quote(value, '"')
        if FUNCTION.fullmatch(value):
            return value
        if isinstance(reading.value, list | dict):
            allowed = " or a list" * bool(takes.members)
            allowed += " or pairs {name: value}" * bool(takes.values)
            text = f"if this is meant as a text, write {self._as_text(value)}"
            raise self._unclear(value, f"takes one text{allowed}; {text}")
        number = isinstance(reading.value, bool | int | float) and not takes.number
        return quote(value, '"') if number or reading.several else value

    def _container(self, value: str, reading: Reading | None, takes: Takes) -> str:
        """Return what stands for a list or for pairs without their brackets, or tell of them."""
        as_json = is_quoted(value) and value[1:].startswith('{"')  # as _pairs leaves it
        a_container = reading is not None and isinstance(reading.value, list | dict | None)
        if a_container or (reading is not None and (as_json or value.startswith("${"))):
            return value
        inner = value[1:-1] if is_whole(value, "()") else value
        what, form = ("a list", f"[{inner}]") if takes.members else ("pairs", f"{{name: {inner}}}")
        raise self._unclear(value, f"takes {what}; write {self._line(form)}")

    def _list(self, value: str, takes: Takes) -> str:
        parts = split(value[1:-1]) if value[1:-1].strip() else []
        whole = joined(parts, is_there) if takes.text else parts
        if not all(part.strip() for part in whole):
            raise self._unclear(value, "an empty member; a list is written [one, another]")
        written = [self._one(part.strip(" \t"), takes) for part in whole]
        as_before = written == [part.strip(" \t") for part in parts]
        return value if as_before and self.read(value) is not None else f"[{','.join(written)}]"

    def _pairs(self, value: str, takes: Takes) -> str:
        """Return pairs; as a text of JSON where Hydra has no way to write a name."""
        if not value[1:-1].strip():
            return "{}"
        typed = quoting.pairs(value[1:-1], is_there)
        if typed is None:
            example = self._line('{"a,b": "c,d.jdx"}')
            form = "pairs are written {name: value, another: value}"
            raise self._unclear(value, f"{form}; a comma in a name needs quotes, {example}")
        written = {name: self._one(text, takes.values or ANYTHING) for name, text in typed}
        if len(written) < len(typed):
            raise self._unclear(value, "a name is there twice")
        result = quoting.escaped(written)
        before, after = self.read(value), self.read(result)
        names = list(after.value) if after is not None and isinstance(after.value, dict) else None
        if names == list(written):
            return value if repr(before) == repr(after) else result
        if takes.values is None:
            raise self._unclear(value, "names of pairs are letters of ASCII and digits here")
        readings = {name: self.read(text) for name, text in written.items()}
        plain = {name: reading.value for name, reading in readings.items() if reading is not None}
        return quote(json.dumps(plain, ensure_ascii=False))

    def _sweep(self, takes: Takes) -> PalirsError:
        """Return the error for several values without ``-m``."""
        advice = ""
        if FUNCTION.fullmatch(self.typed):
            pass
        elif takes.members and not takes.text:
            parts = [part.strip() for part in joined(split(self.typed), is_there)]
            members = ",".join(part[1:-1] if is_whole(part, "[]") else part for part in parts)
            advice = f"; if one study is meant, write {self._line(f'[{members}]')}"
        elif takes.anything:
            a_list, a_text = self._line(f"[{self.typed}]"), self._as_text(self.typed)
            advice = f"; if one study is meant, write {a_list} for a list, or {a_text} for a text"
        elif takes.decimal and re.fullmatch(r"[+-]?\d+,\d+", self.typed):
            advice = "; the decimal mark of a number is a point"
        command = f"python run.py -m {shlex.quote(f'{self.key}={self.typed}')} …"
        sentence = f"several values are a sweep, and that needs -m: {command}{advice}"
        return self._unclear(self.typed, sentence)

    def _unclear(self, value: str, sentence: str) -> PalirsError:
        return PalirsError(f"{self.key}={value}: {sentence}")

    def _line(self, value: str) -> str:
        """Return the setting with this value, for a shell."""
        return ("-m " if self.swept else "") + shlex.quote(f"{self.key}={value}")

    def _as_text(self, value: str) -> str:
        """Return the setting with this value as a text, for a shell."""
        return self._line(quote(value, '"'))
