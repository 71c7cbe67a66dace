"""What a setting takes: one text, a number, a list, pairs; by the types of its recipe or task."""

import ast
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, reduce
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from palirs.recipes import is_recipe

TASKS = "palirs.tasks"
NO_TYPES = (ImportError, AttributeError, NameError, TypeError, ValueError)
"""Raised where a name is that of nothing with types; what is wrong with it is told later."""


@dataclass(frozen=True)
class Takes:
    """What a setting takes; several of them where it takes either.

    Attributes
    ----------
    text, number, null : bool
        One text; a number, true or false; null.
    choices : bool
        A text, one of a few.
    decimal : bool
        A number that need not be whole.
    members, values : Takes or None
        What the members of a list, and the values of pairs, are.
    anything : bool
        Nothing is known about it.
    empty : bool
        An empty text is what it has.
    """

    text: bool = False
    number: bool = False
    null: bool = False
    choices: bool = False
    decimal: bool = False
    members: "Takes | None" = None
    values: "Takes | None" = None
    anything: bool = False
    empty: bool = False

    @property
    def free_text(self) -> bool:
        """Whether it takes any text, in which a comma is a comma."""
        return self.text and not self.choices

    def __or__(self, other: "Takes") -> "Takes":
        names = [field.name for field in fields(self)]
        return Takes(*(getattr(self, name) or getattr(other, name) for name in names))


TEXT, ANYTHING = Takes(text=True), Takes(anything=True)
NULL, NUMBER = Takes(null=True), Takes(number=True)
PLAIN = {
    str: TEXT,
    int: NUMBER,
    bool: NUMBER,
    float: Takes(number=True, decimal=True),
    NoneType: NULL,
    None: NULL,
}


def kinds(config: Mapping[str, Any], target: Any = None, place: str = "") -> dict[str, Takes]:
    """Return what every key of a composed configuration takes.

    Parameters
    ----------
    config : mapping
        As plain values; parts with a ``_target_`` are recipes or tasks.
    target : class, optional
        Where the values end up, of the whole configuration.
    place : str
        Key of this part.
    """
    hints: Mapping[str, Any] = {}
    if "_target_" in config:
        hints = _hints(str(config["_target_"]))
    elif target is not None:
        hints = typing.get_type_hints(target, include_extras=True) | {"study": str | None}
    own = {str(key): takes(hints.get(str(key), Any)) for key in config}
    for key in _empty(str(config.get("_target_"))) & set(own):
        own[key] |= Takes(empty=True)
    return dict(_kinds(config, own | {"_target_": TEXT}, place))


def _kinds(
    config: Mapping[str, Any],
    own: Mapping[str, Takes],
    place: str,
) -> Iterator[tuple[str, Takes]]:
    for key, value in config.items():
        name, kind = f"{place}.{key}".strip("."), own.get(str(key), ANYTHING)
        yield name, kind
        if isinstance(value, Mapping) and "_target_" not in value and kind.values is not None:
            yield from _kinds(value, {str(child): kind.values for child in value}, name)
        elif isinstance(value, Mapping):
            yield from kinds(value, place=name).items()


def takes(annotation: Any) -> Takes:
    """Return what an annotation allows."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return takes(inner[0])
    if origin in (Union, UnionType):
        return reduce(Takes.__or__, map(takes, inner))
    if origin is Literal:
        return Takes(text=True, choices=True)
    if origin in (tuple, list, Sequence):
        return Takes(members=takes(inner[0]))
    if origin in (dict, Mapping):
        return Takes(values=takes(inner[1]))
    return PLAIN.get(annotation, ANYTHING)


@cache
def _hints(target: str) -> Mapping[str, Any]:
    """Return the types of the parameters of a recipe or a task; nothing for what is not of palirs.

    Of a task from its source: to import one takes seconds.
    """
    try:
        return typing.get_type_hints(recipe_or_task(target), include_extras=True)
    except NO_TYPES:
        return {}


def _empty(target: str) -> set[str]:
    """Return the fields of a recipe that are an empty text by default."""
    recipe: Any = recipe_or_task(target)
    if not is_recipe(recipe):
        return set()
    return {field.name for field in fields(recipe) if field.default == ""}


@cache
def recipe_or_task(target: str) -> Any:
    """Return the recipe, or the task by its source, that a ``_target_`` names."""
    module, _, name = target.rpartition(".")
    if module == TASKS:
        return task_of_source(name)
    try:
        return getattr(import_module(module), name) if target.startswith("palirs.") else None
    except NO_TYPES:
        return None


def task_of_source(name: str) -> Any:
    """Return a function with the docstring and the types of a task; to import one takes seconds."""

    def task() -> None: ...

    spec = find_spec(TASKS)
    assert spec is not None and spec.origin is not None
    for file in Path(spec.origin).parent.glob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                parameters = [each for each in node.args.args[1:] if each.annotation is not None]
                task.__annotations__ = {
                    each.arg: _evaluated(each.annotation) for each in parameters
                }
                task.__doc__ = ast.get_docstring(node)
    return task


def _evaluated(annotation: ast.expr | None) -> Any:
    try:
        written = ast.unparse(annotation) if annotation is not None else "object"
        return eval(written, {"Sequence": Sequence, "Mapping": Mapping})
    except NO_TYPES:
        return Any
