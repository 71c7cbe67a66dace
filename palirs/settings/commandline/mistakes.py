"""What Hydra says about a mistake, in a sentence."""

import difflib
import re
from collections.abc import Collection


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


def in_words(error: Exception, known: Collection[str]) -> str:
    """Return what the framework says, in a sentence where it says more than that.

    For a key or an option that is not there, and for ``${…}`` that stands for nothing.
    """
    text = str(error)
    if (key := re.search(r"Could not override '([^']+)'", text)) and key[1] not in known:
        return unknown_key(key[1], known)
    if option := re.search(r"Could not find '(.+)'\n\nAvailable options in .+:((?:\n\t.+)+)", text):
        return f"{option[1]}: there is no such option; there are {', '.join(option[2].split())}"
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
