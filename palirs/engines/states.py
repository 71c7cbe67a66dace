"""How a calculator of ASE takes charge and multiplicity, which it has no common way for."""

from collections.abc import Callable, Mapping
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from palirs import keys
from palirs.geometry.electrons import Electrons
from palirs.recipes import PalirsError

VALUES: dict[str, Callable[[Electrons], int]] = {
    "charge": lambda electrons: electrons.charge,
    "multiplicity": lambda electrons: electrons.multiplicity,
    "unpaired": lambda electrons: electrons.unpaired,
}
"""What may be given: charge [e], 2S + 1, and the number of unpaired electrons."""
INFO = "info."
"""Before a key of ``atoms.info``; without it a name is one of an argument."""

States = Mapping[str, str]
"""Where each of :data:`VALUES` goes: ``{"charge": "charge", "multiplicity": "info.spin"}``."""


def arguments(states: States, keywords: Mapping[str, Any], electrons: Electrons) -> dict[str, Any]:
    """Return the arguments of the constructor that state charge and spin.

    Parameters
    ----------
    states : mapping
        A name with dots is that of a value within an argument: ``dft.mult``.
    keywords : mapping
        Arguments that are given already; what lies beside a value within one of them stays.
    electrons : Electrons
        Of the molecule.
    """
    found: dict[str, Any] = {}
    for quantity, place in _of_constructor(states).items():
        first, *inner = place.split(".")
        value = VALUES[quantity](electrons)
        found[first] = _with(found.get(first, keywords.get(first)), inner, value)
    return found


def check_places(states: States, keywords: Mapping[str, Any], takes: Callable[[str], bool]) -> None:
    """Raise :class:`PalirsError` for states that go nowhere, or are given a second time.

    Parameters
    ----------
    states : mapping
        As configured.
    keywords : mapping
        Arguments of the constructor that are given.
    takes : callable
        Tells whether the constructor takes an argument of a name.
    """
    for quantity, place in states.items():
        key = f"engine.states.{quantity}"
        if quantity not in VALUES:
            raise PalirsError(f"{key}: it is none of {', '.join(VALUES)}")
        if not all(place.split(".")):
            raise PalirsError(
                f"{key} = {place!r}: give an argument of the calculator such as charge, or a key "
                "of atoms.info such as info.charge"
            )
    for quantity, place in _of_constructor(states).items():
        key, (first, *inner) = f"engine.states.{quantity} = {place}", place.split(".")
        if not takes(first):
            raise PalirsError(f"{key}: the calculator has no argument {first}")
        there: Any = keywords
        for name in (first, *inner):
            there = there.get(name) if isinstance(there, Mapping) else None
        if there is not None:
            raise PalirsError(
                f"{key}: engine.calculator.{place} = {there} would be that of all molecules; leave "
                "it out"
            )
    if len(set(states.values())) < len(states):
        raise PalirsError("engine.states: two of them have one place; each needs its own")


def check_taken(states: States, calculator: str, atoms: Atoms) -> None:
    """Raise :class:`PalirsError` if a calculator was not told how it takes a molecule's state."""
    electrons = Electrons.of(atoms)
    missing = ["charge"] if electrons.charge and "charge" not in states else []
    if electrons.unpaired and not {"multiplicity", "unpaired"} & set(states):
        missing.append("multiplicity")
    if missing:
        settings = " ".join(f"engine.states.{name}=<place>" for name in missing)
        raise PalirsError(
            f"molecule {atoms.info.get(keys.MOLECULE)!r} ({electrons}): nothing says how "
            f"{calculator} takes its {' and '.join(missing)}, and it would calculate another "
            f"state; give {settings}, where a place is an argument of the class (charge, mult) or "
            "a key of atoms.info (info.charge, info.spin)"
        )


class CalculatorOfStates(Calculator):
    """Calculates each structure by a calculator that was told its charge and multiplicity.

    Those are read from ``info``. Calculators are made when they are needed, and kept.

    Parameters
    ----------
    states : mapping
        See :data:`States`.
    make : callable
        Makes the calculator of a charge and multiplicity.
    """

    def __init__(self, states: States, make: Callable[[Electrons], Calculator]):
        super().__init__()
        self.states, self.make = states, make
        self.implemented_properties = ["energy", "forces", "dipole"]
        self.kept: dict[Electrons | None, Calculator] = {}

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Calculate in the units of the calculator."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        electrons = Electrons.of(self.atoms)
        own = electrons if _of_constructor(self.states) else None  # one, if info is all it needs
        if own not in self.kept:
            self.kept[own] = self.make(electrons)
        work = self.atoms.copy()
        work.info |= {
            place.removeprefix(INFO): VALUES[quantity](electrons)
            for quantity, place in self.states.items()
            if place.startswith(INFO)
        }
        calculator = self.kept[own]
        calculator.calculate(work, list(properties), system_changes)
        self.results = dict(calculator.results)


def _of_constructor(states: States) -> dict[str, str]:
    """Return the states that are arguments of the constructor."""
    return {key: place for key, place in states.items() if not place.startswith(INFO)}


def _with(there: Any, path: list[str], value: int) -> Any:
    """Return nested mappings with a value at a path, and what was beside it."""
    if not path:
        return value
    beside = dict(there or {})
    return {**beside, path[0]: _with(beside.get(path[0]), path[1:], value)}
