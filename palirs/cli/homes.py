"""Home directories in composed settings, which a shell would have put there."""

import os
import re
from collections.abc import Mapping
from typing import Any

from palirs.recipes import PalirsError

HOME = re.compile(r"(?P<address>(?:(?:sqlite|file):/{2,3})?)(?P<home>~[\w.-]*)(?=/|\Z)")


def with_homes(values: Any) -> Any:
    """Return settings in which texts that begin with ``~/`` or ``~user/`` have the home directory.

    Such a text is a path, whatever it is for. Of a ``command`` every word is looked at: no shell
    sees it.
    """
    if isinstance(values, Mapping):
        words = {"command": _command}
        return {key: words.get(key, with_homes)(value) for key, value in values.items()}
    if isinstance(values, list):
        return [with_homes(value) for value in values]
    return with_home(values) if isinstance(values, str) else values


def _command(value: Any) -> Any:
    if not isinstance(value, str):
        return with_homes(value)
    return " ".join(with_home(word) for word in value.split(" "))


def with_home(text: str) -> str:
    """Return a text with the directory that ``~`` at its beginning, or after ``sqlite:///``, means.

    Raises
    ------
    PalirsError
        If there is no such user.
    """
    match = HOME.match(text)
    if match is None or (match["home"] == text and text != "~"):  # ~name may be that of a file
        return text
    home = os.path.expanduser(match["home"])
    if home.startswith("~"):
        raise PalirsError(f"{text}: there is no user {match['home'][1:]!r} whose home ~ could be")
    return match["address"] + home + text[match.end() :]
