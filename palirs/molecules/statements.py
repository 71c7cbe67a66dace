"""Charge and spin of a structure, wherever its file or calculator states them."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from ase import Atoms

from palirs.recipes import PalirsError

CHARGE = {"charge", "totalcharge", "totcharge", "netcharge", "molecularcharge", "formalcharge"}
CHARGE |= {"pubchemtotalcharge"}
MULTIPLICITY = {"multiplicity", "mult", "spinmultiplicity", "totalspinmultiplicity", "spin"}
UNPAIRED = {"uhf", "unpaired", "unpairedelectrons", "nunpaired", "nopen"}
UNPAIRED |= {"magmom", "totalmagmom", "magneticmoment"}
"""Keys, without capitals, blanks and underscores. ``spin`` is the multiplicity, as in OMol25 and
ORCA, or 0 for a singlet."""
WORDS = {"neutral": 0.0, "singlet": 1.0}
NEUTRAL = 0.1
"""Largest charge [e], or number of unpaired electrons, of a neutral molecule with a closed shell:
sums of rounded atomic charges and spins are not exact."""
EXACT = 1e-6
"""Charge [e] above which the log says that it was taken for zero."""


def is_statement(key: str) -> bool:
    """Tell whether a key states charge or spin."""
    return _plain(key) in CHARGE | MULTIPLICITY | UNPAIRED


def check_charge(atoms: Atoms, name: str) -> None:
    """Raise :class:`PalirsError` for a charge, or a value that cannot be one."""
    for source, charge in _charges(atoms, name):
        if abs(charge) > NEUTRAL:
            where = "" if source == "charge" else f" ({source})"
            raise PalirsError(
                f"molecule {name!r}: charge {charge:+g} e{where}; only neutral molecules are "
                "treated"
            )


def check_spin(atoms: Atoms, name: str) -> None:
    """Raise :class:`PalirsError` for unpaired electrons, or a value that cannot be their number."""
    for source, unpaired in _unpaired(atoms, name):
        if abs(unpaired) > NEUTRAL:
            raise PalirsError(
                f"molecule {name!r}: open shell ({source}); only closed-shell molecules are treated"
            )


def remarks(atoms: Atoms, name: str) -> list[str]:
    """Return remarks for the log on charges that are not quite zero."""
    return [
        f"molecule {name!r}: charge {charge:+.2g} e ({source}) is taken for 0"
        for source, charge in _charges(atoms, name)
        if abs(charge) > EXACT
    ]


def states_multiplicity(atoms: Atoms, name: str) -> bool:
    """Tell whether the multiplicity is stated."""
    stated = _stated(atoms, MULTIPLICITY)
    return any(_number(key, value, atoms, name) is not None for key, value in stated)


def _charges(atoms: Atoms, name: str) -> Iterator[tuple[str, float]]:
    """Yield name and value [e] of each statement of the charge."""
    for key, value in _stated(atoms, CHARGE):
        if (charge := _number(key, value, atoms, name)) is not None:
            yield key, charge
    initial = atoms.get_initial_charges()
    yield "the sum of its initial charges", _sum(initial, "initial charges", name)
    if "charges" in (results := _results(atoms)):
        yield "the sum of the charges of its atoms", _sum(results["charges"], "charges", name)


def _unpaired(atoms: Atoms, name: str) -> Iterator[tuple[str, float]]:
    """Yield name and number of unpaired electrons of each statement of the spin."""
    for key, value in _stated(atoms, MULTIPLICITY):
        if (multiplicity := _number(key, value, atoms, name)) is None:
            continue
        if multiplicity == 0 and _plain(key) != "spin":
            raise _meaningless(key, value, name)
        yield f"{key} {multiplicity:g}", multiplicity - 1 if multiplicity else 0.0
    for key, value in _stated(atoms, UNPAIRED):
        if (unpaired := _number(key, value, atoms, name)) is not None:
            yield f"{key} {unpaired:g}", unpaired
    results = _results(atoms)
    moments = {
        "initial magnetic moments": atoms.get_initial_magnetic_moments(),
        "magnetic moments": results.get("magmoms", 0.0),
    }
    for source, values in moments.items():
        total = _sum(values, source, name, absolute=True)
        yield f"{source} {total:g}", total
    if (moment := _number("magmom", results.get("magmom"), atoms, name)) is not None:
        yield f"magmom {moment:g}", moment


def _stated(atoms: Atoms, keys: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield the values of some keys in ``info``, a row of a database, or a calculator."""
    row = atoms.info.get("key_value_pairs")
    for source in (atoms.info, row, getattr(atoms.calc, "parameters", None)):
        for key, value in source.items() if isinstance(source, dict) else ():
            if _plain(key) in keys:
                yield str(key), value


def _plain(key: object) -> str:
    return re.sub(r"[\s_-]", "", str(key)).lower()


def _results(atoms: Atoms) -> dict[str, Any]:
    return getattr(atoms.calc, "results", None) or {}


def _sum(values: Any, source: str, name: str, absolute: bool = False) -> float:
    """Return the sum of the values of the atoms, or of their absolute values."""
    try:
        numbers = np.asarray(values, dtype=float)
        total = float(np.abs(numbers).sum() if absolute else numbers.sum())
    except (TypeError, ValueError):
        total = np.nan
    if not np.isfinite(total):
        raise PalirsError(
            f"molecule {name!r}: its {source} are not finite numbers; correct them, or leave "
            "them out"
        )
    return total


def _number(key: str, value: Any, atoms: Atoms, name: str) -> float | None:
    """Return a value as a number, atomic charges as their sum; ``None`` if it is empty."""
    try:
        numbers = _numbers(value)
    except (TypeError, ValueError, OverflowError):
        numbers = np.array([np.nan])
    if not numbers.size:
        return None
    if _plain(key) in CHARGE and numbers.shape == (len(atoms),):
        numbers = numbers.sum(keepdims=True)
    if numbers.size != 1 or not np.isfinite(numbers).all():
        raise _meaningless(key, value, name)
    return float(numbers.item())


def _numbers(value: Any) -> np.ndarray:
    """Return the numbers of a value; an empty array if it has none.

    Raises
    ------
    OverflowError, TypeError, ValueError
        If it holds something else than numbers, or too large ones.
    """
    if value is None:
        return np.empty(0)
    if isinstance(value, str):
        words = value.replace(",", " ").split()
        return np.array([float(WORDS.get(word.lower(), word)) for word in words])
    array = np.asarray(value)
    if array.size and array.dtype.kind not in "iuf":
        raise TypeError(f"{array.dtype} are no numbers")
    return array.astype(float)


def _meaningless(key: str, value: Any, name: str) -> PalirsError:
    """Return the error for a value that means nothing under its key."""
    what, allowed = "multiplicity", 1
    if _plain(key) in CHARGE:
        what, allowed = "charge [e]", 0
    elif _plain(key) in UNPAIRED:
        what, allowed = "number of unpaired electrons", 0
    return PalirsError(
        f"molecule {name!r}: {key} = {str(value)[:60]!r} is no {what}; write {key}={allowed} for a "
        f"neutral closed-shell molecule, or leave it out"
    )
