"""The manual of all settings, read from the recipes: values, units, ranges, meanings.

``python run.py --help`` prints it, ``docs/configuration.md`` is it.
"""

import inspect
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

EXAMPLES = (
    (
        "python run.py molecules=ethanol",
        "another molecule: a shipped name, a G2 name of ASE, a SMILES",
    ),
    (
        "python run.py committee.size=5 sampler.temperatures=[300,900] study=studies/hot",
        "other values",
    ),
    ("python run.py experiment=dft molecules=formaldehyde", "a preset: real PBE labels"),
    ("python run.py -m seed=1,2,3", "several studies, beside each other in MLflow"),
    (
        "python run.py task=spectra study=studies/methanol-gfn2 temperature=500",
        "a later stage of a study that is there",
    ),
)
BOUNDS = {
    "exclusiveMinimum": "> {}",
    "minimum": "≥ {}",
    "exclusiveMaximum": "< {}",
    "maximum": "≤ {}",
    "minItems": "at least {} of them",
}


@dataclass(frozen=True)
class Entry:
    """A value that can be set.

    Attributes
    ----------
    key : str
        As on the command line.
    value : str
        By default.
    allowed : str
        Type, range and unit.
    text : str
        What it means.
    """

    key: str
    value: str
    allowed: str
    text: str


def entries(
    config: Any, resolve: typing.Callable[[str], Any], place: str = "", target: Any = None
) -> Iterator[Entry]:
    """Yield the values of a composed configuration.

    Parameters
    ----------
    config : mapping
        As plain values; parts with a ``_target_`` are recipes or tasks.
    resolve : callable
        Gives the class or function of a ``_target_``.
    place : str
        Key of this part.
    target : class or function, optional
        Where the values end up, for a part that does not name it.
    """
    named = "_target_" in config
    target = resolve(config["_target_"]) if named else target
    told = (
        {"study": "Directory; null: studies/<molecules>-<engine>."} | parameters(target)
        if target is not None
        else {}
    )
    types = typing.get_type_hints(target, include_extras=True) if target is not None else {}
    limits = {one.name: one.default for one in fields(target)} if is_dataclass(target) else {}
    for key, value in config.items():
        name = f"{place}.{key}" if place else str(key)
        if isinstance(value, Mapping) and ("_target_" in value or not named):
            yield from entries(value, resolve, name)
        elif key not in ("_target_", "_partial_"):
            yield Entry(
                name,
                _plain(value),
                _allowed(types.get(key), limits.get(key)),
                told.get(str(key), ""),
            )


def parameters(target: Any) -> dict[str, str]:
    """Return the first sentence about each parameter in the docstring of a class or function."""
    found = {}
    for one in reversed(inspect.getmro(target)) if inspect.isclass(target) else (target,):
        found |= _described(one.__doc__ or "")
    return found


def _described(docstring: str) -> dict[str, str]:
    text = inspect.cleandoc(docstring).partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    found: dict[str, str] = {}
    for names, told in re.findall(
        r"^(\w[\w, ]*) : [^\n]*\n((?:    .*\n?)+)", text + "\n", flags=re.MULTILINE
    ):
        words = " ".join(line.strip() for line in told.splitlines())
        for name in names.split(","):
            found[name.strip()] = re.split(r"(?<=[^.]\.) (?=[A-Z`])", words)[0].replace("``", "")
    return found


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return (
        f"[{', '.join(map(_plain, value))}]"
        if isinstance(value, Sequence) and not isinstance(value, str)
        else str(value)
    )


def _allowed(kind: Any, default: Any) -> str:
    """Return type, range and unit in words."""
    if kind is None:
        return ""
    whole: Any = (
        Annotated.__class_getitem__((kind, default)) if isinstance(default, FieldInfo) else kind
    )
    try:
        schema = TypeAdapter(whole).json_schema()
    except Exception:  # a type of another library
        return ""
    return (_words(schema) or "settings") + (
        ", or null" if NoneType in get_args(kind) and get_origin(kind) in (Union, UnionType) else ""
    )


def _words(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(
            words for one in schema["anyOf"] if (words := _words(one)) and one.get("type") != "null"
        )
    if "enum" in schema or "const" in schema:
        return ", ".join(map(str, schema.get("enum", [schema.get("const")])))
    kind = {
        "number": "number",
        "integer": "whole number",
        "string": "text",
        "boolean": "true, false",
        "array": "list",
        "object": "pairs",
    }
    words = [kind.get(str(schema.get("type")), "")]
    items = schema.get("items") or (schema.get("prefixItems") or [None])[0]
    if schema.get("type") == "array" and isinstance(items, Mapping) and _words(items):
        words = [f"list of {_words(items)}"]
    words += [text.format(f"{schema[key]:g}") for key, text in BOUNDS.items() if key in schema]
    unit = (
        f" ({schema['description']})"
        if len(str(schema.get("description", ""))) in range(1, 40)
        else ""
    )
    return ", ".join(filter(None, words)) + unit


def overview(groups: Mapping[str, Sequence[str]], found: Sequence[Entry]) -> str:
    """Return what ``--help`` prints."""
    lines = [
        "python run.py [group=option] [key=value] ...",
        "",
        "Options of a group are files in conf/<group>; config.yaml there is the table of contents.",
        "",
    ]
    lines += [f"  {name:18s} {', '.join(options)}" for name, options in groups.items()]
    lines += [
        "",
        "Values as this command line chooses them; [what is allowed]; what they mean:",
        "",
    ]
    for one in found:
        lines.append(
            f"  {one.key}={one.value}   [{one.allowed}]   {one.text}"
            if one.allowed
            else f"  {one.key}={one.value}   {one.text}"
        )
    lines += ["", "Examples:", *(f"  {command}\n      {what}" for command, what in EXAMPLES)]
    lines += [
        "",
        "task=check prints the plan and its cost; --cfg job the settings; -cd sweeps -cn <name> "
        "runs a prepared sweep (sweeps/*.yaml).",
    ]
    return "\n".join(lines)


def page(groups: Mapping[str, Sequence[str]], found: Sequence[Entry]) -> str:
    """Return ``docs/configuration.md``."""
    lines = [
        "# Every setting",
        "",
        "Made by `python -m tests.settings.test_manual` from the recipes; a test sees that it is "
        "up to date.",
        "",
    ]
    lines += ["## Groups", "", "| group | options (`group=option`) |", "| --- | --- |"]
    lines += [
        f"| `{name}` | {', '.join(f'`{option}`' for option in options)} |"
        for name, options in groups.items()
    ]
    lines += ["", "## Values of the default study", ""]
    room = None
    for one in found:
        first = one.key.partition(".")[0] if "." in one.key else "study"
        if first != room:
            room = first
            lines += [
                "",
                f"### {room}",
                "",
                "| key | value | allowed | meaning |",
                "| --- | --- | --- | --- |",
            ]
        cells = (f"`{one.key}`", f"`{one.value}`", one.allowed, one.text)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
