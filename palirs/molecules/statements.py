"""Charge and spin of a structure, wherever its file or calculator states them."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from palirs.geometry.electrons import Electrons
from palirs.recipes import PalirsError

CHARGE = {"charge", "totalcharge", "totcharge", "netcharge", "molecularcharge", "formalcharge"}
CHARGE |= {"pubchemtotalcharge"}
MULTIPLICITY = {"multiplicity", "mult", "spinmultiplicity", "totalspinmultiplicity", "spin"}
UNPAIRED = {"uhf", "unpaired", "unpairedelectrons", "nunpaired", "nopen"}
MOMENTS = {"magmom", "totalmagmom", "magneticmoment"}
UNPAIRED |= MOMENTS
"""Keys, without capitals, blanks and underscores. ``spin`` is the multiplicity, as in OMol25 and
ORCA, or 0 for a singlet."""
WORDS = {"neutral": 0.0, "singlet": 1.0}
TOLERANCE = 0.1
"""Largest deviation of a charge [e], or number of unpaired electrons, from a whole number: sums of
rounded atomic charges and spins are not exact."""
EXACT = 1e-6
"""Deviation of a charge [e] above which the log says that it was rounded."""


def is_statement(key: str) -> bool:
    """Tell whether a key states charge or spin."""
    return _plain(key) in CHARGE | MULTIPLICITY | UNPAIRED


def electrons(atoms: Atoms, name: str) -> Electrons:
    """Return charge and multiplicity as stated; a closed shell if the multiplicity is not.

    Raises
    ------
    PalirsError
        If statements contradict each other, mean nothing, or do not fit the number of electrons.
    """
    charge, spin = _charge(atoms, name), _stated_unpaired(atoms, name)
    count = int(atoms.numbers.sum()) - charge
    if spin is None and count % 2:
        raise PalirsError(
            f"molecule {name!r}: open shell ({count} electrons); write its multiplicity, "
            "multiplicity=2 for one unpaired electron, or its charge, in the comment line of its "
            f"file or as molecules.multiplicities={{{name}: 2}}, or give a SMILES"
        )
    stated = Electrons(charge, 1 + (spin or 0))
    if not stated.fit(atoms):
        raise PalirsError(
            f"molecule {name!r}: {count} electrons cannot be {stated}; correct charge or "
            "multiplicity"
        )
    return stated


def _charge(atoms: Atoms, name: str) -> int:
    """Return the charge [e]; zero if nothing states it."""
    stated = [*_charges(atoms, name)]
    return _agreed(stated, "charge", name) if stated else 0


def _stated_unpaired(atoms: Atoms, name: str) -> int | None:
    """Return the number of unpaired electrons, ``None`` if nothing states it."""
    stated, moments = [*_unpaired(atoms, name)], [*_moments(atoms, name)]
    if not stated:
        if cancelled := [source for source, total in moments if total < TOLERANCE]:
            raise PalirsError(
                f"molecule {name!r}: its {cancelled[0]} cancel; write its multiplicity, "
                "multiplicity=1 for a singlet"
            )
        return _agreed(moments, "number of unpaired electrons", name) if moments else None
    return _agreed(
        [*stated, *(pair for pair in moments if pair[1] > TOLERANCE)],
        "number of unpaired electrons",
        name,
    )


def _agreed(stated: Sequence[tuple[str, float]], what: str, name: str) -> int:
    """Return the whole number that all statements mean."""
    values = {round(value) for _, value in stated}
    texts = ", ".join(f"{source}: {value:g}" for source, value in dict.fromkeys(stated))
    if any(abs(value - round(value)) > TOLERANCE for _, value in stated):
        raise PalirsError(f"molecule {name!r}: the {what} is no whole number ({texts})")
    if len(values) > 1:
        raise PalirsError(f"molecule {name!r}: its statements of the {what} differ ({texts})")
    return values.pop()


def remarks(atoms: Atoms, name: str) -> list[str]:
    """Return remarks for the log on charges that are not quite whole numbers."""
    return [
        f"molecule {name!r}: charge {charge:+.2g} e ({source}) is taken for {round(charge)}"
        for source, charge in _charges(atoms, name)
        if EXACT < abs(charge - round(charge)) <= TOLERANCE
    ]


def contradicts(atoms: Atoms, name: str, own: Electrons) -> str:
    """Return what a structure states that its molecule is not, in words; empty if nothing.

    Raises
    ------
    PalirsError
        If its statements contradict each other, or mean nothing.
    """
    charges, unpaired = [*_charges(atoms, name)], [*_unpaired(atoms, name)]
    unpaired += [pair for pair in _moments(atoms, name) if pair[1] > TOLERANCE]
    if charges and (charge := _agreed(charges, "charge", name)) != own.charge:
        return f"of charge {charge:+d}"
    what = "number of unpaired electrons"
    if unpaired and (count := _agreed(unpaired, what, name)) != own.unpaired:
        return f"of multiplicity {count + 1}"
    return ""


def stated_electrons(atoms: Atoms, name: str) -> tuple[int | None, int | None]:
    """Return charge and multiplicity as stated, ``None`` for what is not.

    Raises
    ------
    PalirsError
        If statements contradict each other or mean nothing.
    """
    charges = [*_charges(atoms, name)]
    spin = _stated_unpaired(atoms, name)
    charge = _agreed(charges, "charge", name) if charges else None
    return charge, None if spin is None else spin + 1


def states_multiplicity(atoms: Atoms, name: str) -> bool:
    """Tell whether the multiplicity, or the number of unpaired electrons, is stated."""
    return bool([*_unpaired(atoms, name)])


def _charges(atoms: Atoms, name: str) -> Iterator[tuple[str, float]]:
    """Yield name and value [e] of each statement of the charge; zeros of all atoms are none."""
    for key, value in _stated(atoms, CHARGE):
        if (charge := _number(key, value, atoms, name)) is not None:
            yield key, charge
    for source, values, title in (
        ("the sum of its initial charges", atoms.get_initial_charges(), "initial charges"),
        ("the sum of the charges of its atoms", _results(atoms).get("charges"), "charges"),
    ):
        if values is not None and np.any(_finite(values, title, name)):
            yield source, float(np.sum(values))


def _unpaired(atoms: Atoms, name: str) -> Iterator[tuple[str, float]]:
    """Yield name and number of unpaired electrons of each statement of the spin."""
    for key, value in _stated(atoms, MULTIPLICITY):
        if (multiplicity := _number(key, value, atoms, name)) is None:
            continue
        if multiplicity < 1 - TOLERANCE and (multiplicity or _plain(key) != "spin"):
            raise _meaningless(key, value, name)
        yield f"{key} {multiplicity:g}", multiplicity - 1 if multiplicity else 0.0
    for key, value in _stated(atoms, UNPAIRED):
        if (unpaired := _number(key, value, atoms, name)) is None:
            continue
        if unpaired < 0 and _plain(key) not in MOMENTS:
            raise _meaningless(key, value, name)
        yield f"{key} {unpaired:g}", abs(unpaired)


def _moments(atoms: Atoms, name: str) -> Iterator[tuple[str, float]]:
    """Yield source and size of the sum of magnetic moments, where any of them is no noise."""
    results = _results(atoms)
    for source, values in (
        ("initial magnetic moments", atoms.get_initial_magnetic_moments()),
        ("magnetic moments", results.get("magmoms")),
        ("magmom", results.get("magmom")),
    ):
        if values is None:
            continue
        moments = _finite(values, source, name)
        if np.abs(moments).sum() > TOLERANCE:
            yield source, float(abs(moments.sum()))


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


def _finite(values: Any, source: str, name: str) -> np.ndarray:
    """Return values of the atoms as numbers."""
    try:
        numbers = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise PalirsError(
            f"molecule {name!r}: its {source} are not finite numbers; correct them, or leave "
            "them out"
        )
    return numbers


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
        f"neutral closed shell, or leave it out"
    )
