"""A recipe's own defaults are those of the file that spells it out.

Other files say what differs.
"""

from dataclasses import MISSING, fields, is_dataclass

import pytest
import yaml
from pydantic.fields import FieldInfo

from palirs.cli.arguments import CONF
from palirs.cli.kinds import recipe_or_task
from palirs.recipes import is_recipe


def nodes(values):
    """Yield every part of a file that has a target."""
    if isinstance(values, dict):
        if "_target_" in values:
            yield values
        for value in values.values():
            yield from nodes(value)


def defaults(recipe):
    """Return the defaults of single values, lists as lists."""
    found = {}
    for field in fields(recipe):
        value = field.default
        if isinstance(value, FieldInfo):
            value = value.get_default(call_default_factory=True)
        if value is not MISSING and "Undefined" not in repr(value) and not is_dataclass(value):
            found[field.name] = list(value) if isinstance(value, tuple) else value
    return found


NO_DEFAULTS = {"names": "which molecules", "dispersion": "a functional may have none"}
FILES = sorted(CONF.rglob("*.yaml"))
PARTS = [part for file in FILES for part in nodes(yaml.safe_load(file.read_text()) or {})]
RECIPES = sorted(
    {part["_target_"] for part in PARTS if is_recipe(recipe_or_task(part["_target_"]))}
)


@pytest.mark.parametrize("target", RECIPES)
def test_a_file_spells_out_the_defaults(target):
    own = defaults(recipe_or_task(target))
    differing = []
    for part in (part for part in PARTS if part["_target_"] == target):
        given = {key: value for key, value in part.items() if not isinstance(value, dict)}
        different = {
            key: (value, own[key])
            for key, value in given.items()
            if key in own and key not in NO_DEFAULTS and value not in (own[key], "???")
        }
        if not different:
            return
        differing.append(different)
    raise AssertionError(f"the file says, the recipe says: {differing}")
