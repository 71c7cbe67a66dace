"""Mistakes end the program with a sentence, those that Hydra finds too."""

import difflib
import re
import shlex
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from palirs.cli.arguments import OPEN, read_arguments
from palirs.cli.composing import known_keys
from palirs.cli.kinds import ANYTHING
from palirs.cli.quoting import unquoted
from palirs.cli.values import Reader
from palirs.recipes import PalirsError


@contextmanager
def explained(typed: Sequence[str]) -> Iterator[None]:
    """End the program with a sentence for a mistake of the user, or when it is stopped.

    ``typed``: the command line.
    """
    try:
        yield
    except PalirsError as error:
        sys.exit(f"palirs: {error}")
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if not _is_of_hydra(error):
            raise
        sys.exit(f"palirs: {in_words(error, typed)}")
    except KeyboardInterrupt as stop:
        kept = "what was done is kept, the same command goes on from there"
        print(f"palirs: stopped{stop}; {kept}", file=sys.stderr)
        sys.exit(143 if str(stop) else 130)


def _is_of_hydra(error: Exception) -> bool:
    """Tell whether an exception comes from composing: not from a mistake of this program."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = str(trace.tb_frame.f_globals.get("__name__")) if trace is not None else ""
    return module.partition(".")[0] in ("hydra", "omegaconf")


def unknown_key(wanted: str, known: Collection[str]) -> str:
    """Return a sentence about a key that is not there: those that may be meant, those beside it."""
    keys = [key for key in known if not key.endswith("_")]  # none of _target_
    parent = wanted.rpartition(".")[0]
    parent = parent if parent in keys else ""
    begin = f"{parent}." if parent else ""
    inside = [key.removeprefix(begin) for key in keys if key.startswith(begin)]
    allowed = ", ".join(sorted(key for key in inside if "." not in key))
    close = difflib.get_close_matches(wanted, keys, n=3)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    where = f" in {parent}" if parent else ""
    return f"{wanted}: there is no such key.{hint} Allowed{where}: {allowed}"


def unreadable_name(key: str, value: str) -> str:
    """Return a sentence about a name below an open setting that Hydra's keys cannot have."""
    parent, _, name = key.rpartition(".")
    line = shlex.quote(f"{parent}={{{name}: {value}}}")
    return f"{key}={value}: such a name is no key; write {line}"


def in_words(error: Exception, typed: Sequence[str]) -> str:
    """Return what Hydra says, in a sentence where it says more than that.

    Parameters
    ----------
    error : Exception
        From composing settings, or from looking one up.
    typed : sequence of str
        The command line.
    """
    text = str(error)
    if isinstance(error, OverrideParseException):
        key, _, value = str(error.override).lstrip("+").partition("=")
        if OPEN.match(key):
            return unreadable_name(key, unquoted(value))
        return unknown_key(key, known_keys(read_arguments(typed)))
    if key := re.search(r"Could not override '([^']+)'", text):
        known = known_keys(read_arguments(typed))
        if key[1] not in known:
            return unknown_key(key[1], known)
    if option := re.search(r"Could not find '(.+)'\n\nAvailable options in .+:((?:\n\t.+)+)", text):
        return f"{option[1]}: there is no such option; there are {', '.join(option[2].split())}"
    if several := re.search(r"[Ss]weep parameters '(.+?)=(.+)' requires --multirun", text):
        return str(Reader(several[1], several[2]).sweep(ANYTHING))
    if override := re.match(r"Error merging override (.+)", text):
        cause = str(error.__cause__).splitlines()[0]
        name = "${ begins the name of another key, and this cannot be read"
        reason = name if "${" in text else cause
        return f"{override[1]}: {reason}"
    place = re.search(r"full_key: (\S+)", text)
    if name := re.search(r"Interpolation key '([^']+)' not found", text):
        variable = f"a variable of the shell is written ${{oc.env:{name[1]}}}"
        text = f"${{{name[1]}}}: there is no such key; {variable}"
    return f"{place[1]}: {text.splitlines()[0]}" if place else text
