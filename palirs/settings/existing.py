"""What the settings mean for a study that exists already, as their recipes declare it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_type_hints

from palirs.recipes import Before, InStudy, is_recipe
from palirs.settings.study import StudySettings


@dataclass(frozen=True)
class Declaration:
    """What a setting means for an existing study, and its value where it did not exist yet.

    ``order``: what a setting of named values may be, the least first.
    """

    meaning: InStudy
    before: Any = None
    order: tuple[str, ...] = ()

    @property
    def of_identity(self) -> bool:
        """Whether it is part of the identity of a study."""
        return self.meaning in (InStudy.IDENTITY, InStudy.GROWS)


@cache
def declaration(key: str) -> Declaration:
    """Return the declaration of a setting by its key; keys below a declared one inherit it."""
    recipe, meaning, before, order = StudySettings, InStudy.IDENTITY, None, ()
    for name in key.split("."):
        annotation = next(_annotations(recipe, name), None)
        for mark in _parts(annotation):
            meaning = mark if isinstance(mark, InStudy) else meaning
            before = mark.value if isinstance(mark, Before) else before
        order = tuple(part for part in _parts(annotation) if isinstance(part, str))
        recipe = next(filter(is_recipe, _parts(annotation)), None)
    return Declaration(meaning, before, order)


def values_before(group: str) -> dict[str, Any]:
    """Return what the settings of a group amounted to before they existed, nested as they are."""
    return _values_before(get_type_hints(StudySettings, include_extras=True)[group])


def _values_before(annotation: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    recipe = next(filter(is_recipe, _parts(annotation)), None)
    for name, inner in get_type_hints(recipe or object, include_extras=True).items():
        marks = [part for part in _parts(inner) if isinstance(part, Before)]
        if marks:
            values[name] = marks[-1].value
        elif below := _values_before(inner):
            values[name] = below
    return values


def kept_groups() -> list[str]:
    """Return the settings that a run on an existing study takes from the run before it."""
    names = get_type_hints(StudySettings)
    return [name for name in names if declaration(name).meaning is not InStudy.EACH_RUN]


def _annotations(recipe: Any, name: str) -> Iterator[Any]:
    """Yield the annotations of a field of a recipe, or of those of its kind that have it."""
    if recipe:
        hints = get_type_hints(recipe, include_extras=True)
        if name in hints:
            yield hints[name]
        for special in recipe.__subclasses__():
            yield from _annotations(special, name)


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield the types and marks that an annotation consists of."""
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)
