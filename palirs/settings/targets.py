"""Settings hold no code: what a ``_target_`` may name, looked up before anything is called.

A configuration may come from a study directory that somebody else made. A ``_target_`` in it names
a recipe of palirs, or, under ``engine.calculator``, a class that ASE's calculators or their
profiles are the base of; to see that, the module it names is imported there. Elsewhere not even
that is done with what is not of palirs.
"""

from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import packages_distributions
from typing import Any

from palirs.recipes import PalirsError, is_recipe

FUNCTIONS = ("palirs.engines.from_ase",)
"""Functions, beside recipes and tasks, that a configuration may name."""
CALCULATOR = "engine.calculator"
"""Where a class of ASE may stand."""


def check_targets(config: Any, key: str = "") -> None:
    """Raise :class:`PalirsError` for a ``_target_`` that is not allowed, before it is called.

    Parameters
    ----------
    config : dict, list or value
        Settings as plain values.
    key : str
        Key of the configuration that they belong to.
    """
    for where, target, node in _targets(config, key):
        if target == "???":
            continue
        if not isinstance(target, str):
            raise PalirsError(f"{where}._target_ = {target!r}: it should be a name")
        if where == CALCULATOR or where.startswith(f"{CALCULATOR}."):
            _check_calculator(where, target, node)
        elif not target.startswith("palirs.") or not _ours(where, target):
            raise PalirsError(
                f"{where}._target_ = {target!r}: settings name recipes of palirs only "
                f"({where.partition('.')[0]}=<option> chooses one); "
                f"a calculator of ASE goes under engine=ase engine.calculator._target_=<class>"
            )


def _targets(config: Any, place: str) -> Iterator[tuple[str, Any, dict]]:
    if isinstance(config, dict):
        if "_target_" in config:
            yield place, config["_target_"], config
        for key, value in config.items():
            yield from _targets(value, f"{place}.{key}".strip("."))
    elif isinstance(config, list):
        for number, value in enumerate(config):
            yield from _targets(value, f"{place}.{number}")


def _ours(where: str, target: str) -> bool:
    """Tell whether a name of palirs is that of a recipe, or of a task where a task belongs."""
    module, _, name = target.rpartition(".")
    if module == "palirs.tasks":
        return where == "task" and name.isidentifier() and not name.startswith("_")
    if target in FUNCTIONS:
        return where == "engine"
    recipe = _look_up(where, target)
    return is_recipe(recipe) and recipe.__module__.startswith("palirs.")


def _check_calculator(where: str, target: str, node: dict) -> None:
    """Raise :class:`PalirsError` unless a target is an installed calculator or profile."""
    from ase.calculators.calculator import BaseCalculator
    from ase.calculators.genericfileio import BaseProfile

    if target.partition(".")[0] not in packages_distributions():
        raise PalirsError(
            f"{where}._target_ = {target!r}: it should be a class derived from ASE's "
            "calculators; there is no installed package "
            f"{target.partition('.')[0]!r}"
        )
    base, what = (
        (BaseCalculator, "calculators") if where == CALCULATOR else (BaseProfile, "profiles")
    )
    named = _look_up(where, target)
    if not isinstance(named, type) or not issubclass(named, base):
        raise PalirsError(
            f"{where}._target_ = {target!r}: it should be the full name of a class derived from "
            f"ASE's {what}"
        )
    if where == CALCULATOR and node.get("_partial_") is not True:
        raise PalirsError(
            f"{where}._partial_: it should be true, the calculator is made where it is used"
        )


def _look_up(where: str, target: str) -> Any:
    module, _, name = target.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise PalirsError(
            f"{where}._target_ = {target!r}: there is no such class here ({error})"
        ) from error
