"""Recipes: small frozen values built from the configuration.

A recipe says *how* something is to be made (an engine, a sampler, a training) and validates itself
when it is built: types, ranges, names. It holds no live resource, so it is cheap, picklable and can
be sent to a worker. Pydantic does the checking.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass as plain_dataclass
from enum import Enum
from typing import Annotated, Any, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass, is_pydantic_dataclass


class PalirsError(Exception):
    """A mistake that the user can mend; the message says what is wrong, where, and what to do."""


class InStudy(Enum):
    """What a setting means for an existing study; a field declares it for itself and all below it.

    ``Annotated[int, InStudy.IDENTITY]``; see :mod:`palirs.settings.existing`.
    """

    IDENTITY = "part of the study's identity: with another value it is another study"
    GROWS = "part of the identity; may get more of what it has"
    MAY_CHANGE = "may change between runs; a run without a value takes that of the run before"
    EACH_RUN = "may change between runs, and each run has its own"


@plain_dataclass(frozen=True)
class Before:
    """Value in studies made before a setting existed: ``Annotated[bool, Before(False)]``."""

    value: Any


T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def recipe(cls: type[T]) -> type[T]:
    """Make a class a recipe: a frozen dataclass whose fields are checked when it is built."""
    return cast(
        "type[T]",
        dataclass(frozen=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))(
            cls
        ),
    )


def is_recipe(value: Any) -> bool:
    """Tell whether something is a class made by :func:`recipe`."""
    return isinstance(value, type) and is_pydantic_dataclass(value)


Femtoseconds = Annotated[float, Field(gt=0, le=1e6, description="fs")]
Picoseconds = Annotated[float, Field(gt=0, le=1e6, description="ps")]
Kelvin = Annotated[float, Field(gt=0, le=5000, description="K")]
Cutoff = Annotated[float, Field(ge=1, le=20, description="Å")]
Wavenumber = Annotated[float, Field(ge=0, le=20000, description="cm⁻¹")]
Friction = Annotated[float, Field(gt=0, le=1000, description="ps⁻¹")]
Accuracy = Annotated[float, Field(gt=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Seconds = Annotated[float, Field(gt=0, le=1e8, description="s")]
Fraction = Annotated[float, Field(gt=0, lt=1, description="share between 0 and 1")]
Count = Annotated[int, Field(ge=1, le=10**9)]


def explain(error: ValidationError, where: str) -> str:
    """Turn a pydantic error into lines a user can act on.

    Parameters
    ----------
    error : ValidationError
        What pydantic found.
    where : str
        The configuration group or key, e.g. ``sampler``.

    Returns
    -------
    str
        One line per mistake: key, the value that was given, what is allowed.
    """
    lines = []
    found = error.errors(include_url=False)
    for item in found:
        if item["type"] == "too_short" and any(other["loc"][:-1] == item["loc"] for other in found):
            continue  # what is wrong with its items is said, and none of them is left
        key = _key(where, item["loc"])
        if item["type"] == "value_error":  # of several values together: the message names them
            lines.append(f"{key}: {item['msg'].removeprefix('Value error, ')}".removeprefix(": "))
            continue
        allowed = _ADVICE.get(item["type"], item["msg"].replace("Input should", "it should"))
        lines.append(f"{key} = {_short(item['input'])}: {allowed}")
    return "\n".join(lines)


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn pydantic's errors into :class:`PalirsError`, see :func:`explain`."""
    try:
        yield
    except ValidationError as error:
        raise PalirsError(explain(error, where)) from error


_ADVICE = {
    "unexpected_keyword_argument": "there is no such key here; remove it or check its spelling",
    "missing": "this key is missing and has no default",
}


def _key(where: str, location: tuple[int | str, ...]) -> str:
    """Return ``sampler.temperatures[0]``."""
    return "".join(
        [where, *(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)]
    ).strip(".")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
