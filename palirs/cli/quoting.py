"""Text as Hydra reads it: where the members of a list end, and how a text is put into quotes.

Hydra's grammar knows quotes, brackets and letters of ASCII; names of files and molecules have more.
Brackets that do not match are letters here, and so are quotes inside of a word.
"""

import re
from collections.abc import Callable, Mapping, Sequence

OPEN = {"[": "]", "(": ")", "{": "}"}
SPECIAL = r"([\\()\[\]{}:=, \t])"
ESCAPED = re.compile(rf"\\{SPECIAL}")
"""What Hydra reads as the sign behind the backslash, outside of quotes."""


def quote(text: str, mark: str = "'") -> str:
    """Return a text in quotes, with ``mark`` unless only that is in it; each sign means itself."""
    other = {"'": '"', '"': "'"}[mark]
    mark = other if mark in text and other not in text else mark
    inside = re.sub(rf"(\\*){mark}", rf"\1\1\\{mark}", text)
    return mark + re.sub(r"(\\+)\Z", r"\1\1", inside) + mark


def unquoted(text: str) -> str:
    """Return what a name of a pair means, which may be in quotes or have backslashes."""
    if is_quoted(text):
        return re.sub(rf"\\([\\{text[0]}])", r"\1", text[1:-1])
    return ESCAPED.sub(r"\1", text)


def spans(text: str) -> dict[int, int]:
    """Return where brackets and quotes open and close; an outer pair besides those in it."""
    pairs: dict[int, int] = {}
    waiting: list[int] = []
    place = 0
    while place < len(text):
        sign = text[place]
        if sign in "'\"" and (end := _closing(text, place)) is not None:
            pairs[place] = end
            place = end
        elif sign in OPEN:
            waiting.append(place)
        elif any(OPEN[text[start]] == sign for start in waiting):
            while OPEN[text[start := waiting.pop()]] != sign:
                pass  # a bracket that nothing closes is a letter
            pairs[start] = place
        place += 1
    return pairs


def _closing(text: str, start: int) -> int | None:
    """Return where the quotes that open here end; ``None`` for those inside of a word."""
    if re.search(r"[^\s\[({,:=]\s*\Z", text[:start]):
        return None
    closing = re.compile(rf"(?<!\\)(?:\\\\)*{text[start]}(?=\s*(?:[\])}},:]|\Z))")
    match = closing.search(text, start + 1)
    return None if match is None else match.end() - 1


def is_whole(text: str, brackets: str) -> bool:
    """Tell whether a text is one pair of these brackets, or quotes, and what is in it."""
    if len(text) < 2 or text[0] != brackets[0] or text[-1] != brackets[-1]:
        return False
    return spans(text).get(0) == len(text) - 1


def is_quoted(text: str) -> bool:
    """Tell whether a text stands in quotes."""
    return is_whole(text, "''") or is_whole(text, '""')


def split(text: str, sign: str = ",") -> list[str]:
    """Return what stands between commas, or another sign, outside of brackets and quotes."""
    parts, begin = [], 0
    for place in _places(text, sign):
        parts.append(text[begin:place])
        begin = place + 1
    return [*parts, text[begin:]]


def _places(text: str, sign: str) -> list[int]:
    inside = spans(text).items()
    places = [match.start() for match in re.finditer(rf"(?<!\\){sign}", text)]
    return [place for place in places if not any(start < place < end for start, end in inside)]


def joined(parts: Sequence[str], is_there: Callable[[str], bool]) -> list[str]:
    """Put together again what is a name with a comma in it.

    That of a file or a molecule that is there, while its parts are not.
    """
    whole, rest = list[str](), list(parts)
    while rest:
        for count in range(len(rest), 1, -1):
            name, each = ",".join(rest[:count]), [part.strip() for part in rest[:count]]
            if is_there(name.strip()) and not all(map(is_there, each)):
                break
        else:
            count, name = 1, rest[0]
        whole.append(name)
        del rest[:count]
    return whole


def pairs(text: str, is_there: Callable[[str], bool]) -> list[tuple[str, str]] | None:
    """Return the names and values of ``name: value, …``, names without their quotes.

    A comma may be part of a name or a value: which of them is told by what is there. ``None`` where
    it is not clear.
    """
    named: list[tuple[str, str]] = []
    waiting = ""
    for part in split(text):
        places = _places(part, r":(?=\s|\Z)") or _places(part, ":")
        last, value = named[-1] if named else ("", "")
        longer = f"{value},{part}".strip()
        if places:
            name = unquoted(f"{waiting}{part[: places[0]]}".strip())
            if waiting and named and not (is_there(name) or is_there(value)):
                return None
            named.append((name, part[places[0] + 1 :].strip()))
            waiting = ""
        elif named and not waiting and is_there(longer) and not is_there(value):
            named[-1] = (last, longer)
        else:
            waiting += f"{part},"
    if waiting and named:  # no name comes any more
        named[-1] = (named[-1][0], f"{named[-1][1]},{waiting[:-1]}".strip())
    elif waiting.strip(", "):
        return None
    return named if all(name and value for name, value in named) else None


def escaped(values: Mapping[str, str]) -> str:
    """Return pairs in braces, names with backslashes: Hydra knows no quotes there."""
    written = [(re.sub(SPECIAL, r"\\\1", name), value) for name, value in values.items()]
    return "{" + ",".join(f"{name}: {value}" for name, value in written) + "}"
