"""Any ASE calculator as a reference engine: ``engine=ase engine.calculator._target_=…``."""

import inspect
import tempfile
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator, FileIOCalculator
from ase.calculators.genericfileio import GenericFileIOCalculator
from ase.data import atomic_numbers, chemical_symbols
from pydantic import Field

from palirs import units
from palirs.engines.base import EngineFailure, Properties, version_of
from palirs.engines.constructors import NOT_IN_FINGERPRINT, plain, takes
from palirs.engines.directories import DirectoryEngine
from palirs.engines.states import CalculatorOfStates, arguments, check_places, check_taken
from palirs.geometry.electrons import Electrons
from palirs.recipes import Before, PalirsError, recipe

packages_of = cache(packages_distributions)
"""Distributions of each importable package; it takes a second to find them."""


@recipe
class ASE(DirectoryEngine):
    """An ASE calculator made by ``calculator()`` in the worker that uses it.

    Parameters
    ----------
    calculator_of : callable
        Makes the calculator, usually :func:`functools.partial` of its class; in a configuration
        ``engine.calculator`` with ``_partial_: true``.
    properties : tuple of str
        Properties of the calculator: ``energy`` and ``forces``, which are required, and ``dipole``,
        without which there are no intensities.
    units : dict
        Unit of each property of the calculator (:mod:`palirs.units`), if it is not that of ASE,
        ``eV``, ``eV/Å`` and ``e·Å``.
    elements_covered : tuple of str or None
        Symbols; ``None`` for all.
    title : str or None
        Name in figures and reports.
    version : str or None
        Of the program behind the calculator, where ASE only writes its input; labels of different
        versions are kept apart.
    own_directory : bool
        Give each calculation its own directory, by the ``directory`` argument of the calculator,
        for calculators that write files.
    states : dict
        Where the calculator takes ``charge`` [e], ``multiplicity`` (2S + 1) or the number of
        ``unpaired`` electrons: an argument of the class (``charge``), a value in one of them
        (``dft.mult``), or a key of ``atoms.info`` (``info.spin``). All molecules are told then, and
        ions and radicals are taken; without it neutral closed shells only.
    dipole_origin : {"coordinates", "centre_of_mass", "nuclear_charge"}
        What the calculator's dipole of an ion is about: the origin of the coordinates, the centre
        of mass (without isotopes), or the centre of the nuclear charges.
    """

    calculator_of: Any = None
    properties: tuple[str, ...] = ("energy", "forces", "dipole")
    units: dict[str, str] = Field(default_factory=dict)
    elements_covered: tuple[str, ...] | None = None
    title: str | None = None
    version: str | None = None
    own_directory: bool = False
    states: dict[str, str] = Field(default_factory=dict)
    dipole_origin: Annotated[
        Literal["coordinates", "centre_of_mass", "nuclear_charge"], Before("coordinates")
    ] = "coordinates"

    def __post_init__(self):
        if not callable(self.calculator_of):
            raise PalirsError(
                "engine.calculator: needs _target_, the full name of a calculator class, e.g. "
                "ase.calculators.orca.ORCA"
            )
        allowed = {"energy": units.ENERGY, "forces": units.FORCE, "dipole": units.DIPOLE}
        for key in self.properties:
            if key not in allowed:
                raise PalirsError(f"engine.properties: {key!r} is none of {', '.join(allowed)}")
        if not {"energy", "forces"} <= set(self.properties):
            raise PalirsError(
                "engine.properties: energy and forces are needed to train a potential"
            )
        for key, unit in self.units.items():
            if key not in allowed or unit not in allowed[key]:
                choices = ", ".join(allowed.get(key, allowed))
                raise PalirsError(f"engine.units.{key} = {unit!r}: allowed are {choices}")
            if key not in self.properties and allowed[key][unit] != 1:
                raise PalirsError(
                    f"engine.units.{key} = {unit!r}: {key} is not among engine.properties; add it "
                    "there, or leave the unit out"
                )
        for symbol in self.elements_covered or ():
            if symbol not in atomic_numbers:
                raise PalirsError(f"engine.elements: {symbol!r} is no element")
        self._check_arguments()
        function, keywords = self._parts()
        check_places(self.states, keywords, lambda name: takes(function, name))
        listed = getattr(self._parts()[0], "implemented_properties", None)
        if listed is not BaseCalculator.implemented_properties:  # ASE's own, which some add to
            self._check_given(listed)
        self._check_directory()

    def _check_given(self, implemented: Any) -> None:
        """Check that the calculator lists the properties, if it lists any."""
        if not isinstance(implemented, list | tuple) or not implemented:
            return
        missing = [key for key in self.properties if key not in implemented]
        if missing:
            without = "engine.properties=[energy,forces] for a study without intensities, or "
            without = without if missing == ["dipole"] else ""
            raise PalirsError(
                f"engine.properties: {self._parts()[0].__qualname__} does not give "
                f"{', '.join(missing)}; give {without}another calculator"
            )

    def _check_directory(self) -> None:
        """Check that calculators that write files get their own directory, and no others."""
        function, keywords = self._parts()
        if self.own_directory:
            if "directory" in keywords:
                raise PalirsError(
                    "engine.calculator.directory: engine.own_directory=true gives each "
                    "calculation a directory of its own; leave it out, and say by "
                    "engine.directory where those are made"
                )
            if not takes(function, "directory"):
                problem = f"{function.__qualname__} has no argument directory"
                raise PalirsError(f"engine.own_directory = true: {problem}; give false")
            return
        for key, value in (("directory", self.directory), ("keep", self.keep)):
            if value:
                raise PalirsError(
                    f"engine.{key}: it is for calculations that have a directory of their own; "
                    "give engine.own_directory=true, or leave it out"
                )
        writing = FileIOCalculator | GenericFileIOCalculator
        if isinstance(function, type) and issubclass(function, writing):
            raise PalirsError(
                f"engine.own_directory = false: {function.__qualname__} writes files, and those of "
                "calculations side by side would mix; give engine.own_directory=true"
            )

    def _check_arguments(self) -> None:
        """Check the names of the arguments, if the class lists them."""
        function, keywords = self._parts()
        for key in keywords:
            if not takes(function, key):
                raise PalirsError(
                    f"engine.calculator.{key}: {function.__qualname__} has no such argument; "
                    f"it has {', '.join(inspect.signature(function).parameters)}"
                )

    def prepare(self) -> None:
        """Make the calculator once, to find missing arguments, files and libraries early."""
        try:
            with tempfile.TemporaryDirectory() as directory:
                calculator = self._made(Path(directory), Electrons())
                if arguments(self.states, {}, Electrons()):
                    self._made(Path(directory), Electrons(1, 2))  # it may refuse their names
        except Exception as error:  # classes raise errors of any kind
            raise PalirsError(
                f"engine.calculator: {self._parts()[0].__qualname__} cannot be made with these "
                f"arguments ({type(error).__name__}: {error})"
            ) from error
        if not hasattr(calculator, "calculate"):
            kind = type(calculator).__qualname__
            raise PalirsError(f"engine.calculator: {kind} is no calculator")
        self._check_given(getattr(calculator, "implemented_properties", None))

    @property
    def gives_dipole(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether ``dipole`` is among the properties."""
        return "dipole" in self.properties

    @property
    def takes_electrons(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the calculator was told how it takes charge or multiplicity."""
        return bool(self.states)

    def check(self, atoms: Atoms) -> None:
        """Raise :class:`PalirsError` for an element or a state that is not covered."""
        check_taken(self.states, self._parts()[0].__qualname__, atoms)
        super().check(atoms)

    def origin(self, atoms: Atoms) -> np.ndarray:
        """Return what the calculator's dipole is about [Å]."""
        match self.dipole_origin:
            case "centre_of_mass":
                return atoms.get_center_of_mass()
            case "nuclear_charge":
                return atoms.numbers @ atoms.positions / atoms.numbers.sum()
        return super().origin(atoms)

    @property
    def name(self) -> str:
        """The title, or the name of the class."""
        return self.title or self._parts()[0].__qualname__

    @property
    def settings(self) -> dict:
        """Class, arguments (files by content), units and versions."""
        function, keywords = self._parts()
        package = function.__module__.partition(".")[0]
        states: dict = {"states": dict(sorted(self.states.items()))} if self.states else {}
        if self.dipole_origin != "coordinates":
            states["dipole_origin"] = self.dipole_origin
        return states | {
            "calculator": f"{function.__module__}.{function.__qualname__}",
            "properties": sorted(self.properties),
            "positional": [plain(value) for value in getattr(self.calculator_of, "args", ())],
            "arguments": {
                key: plain(value)
                for key, value in sorted(keywords.items())
                if key not in NOT_IN_FINGERPRINT
            },
            "units": dict(sorted(self.units.items())),
            "package": {name: version_of(name) for name in packages_of().get(package, [])},
            "version": self.version,
        }

    @property
    def elements(self) -> frozenset[int]:
        """Elements as declared."""
        return frozenset(
            atomic_numbers[symbol] for symbol in self.elements_covered or chemical_symbols[1:]
        )

    def calculator_in(self, directory: Path) -> Calculator:
        """Make the calculator, in ``directory`` if it writes files."""
        if self.states:
            return CalculatorOfStates(self.states, partial(self._made, directory))
        return self._made(directory)

    def _made(self, directory: Path, electrons: Electrons | None = None) -> Calculator:
        """Make the calculator, of a charge and multiplicity if it is to be told them."""
        place = {"directory": str(directory)} if self.own_directory else {}
        if electrons is None:
            return self.calculator_of(**place)
        return self.calculator_of(**place, **arguments(self.states, self._parts()[1], electrons))

    def calculator(self) -> Calculator:
        """Make the calculator."""
        return super().calculator() if self.own_directory else self.calculator_in(Path())

    def start(self) -> Calculator | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return a calculator for many frames, unless each has a directory of its own."""
        return None if self.own_directory else self.calculator()

    def run(self, calculator: Calculator | None, atoms: Atoms) -> Properties:
        """Calculate one frame."""
        if self.own_directory:
            return super().run(calculator, atoms)
        return super(DirectoryEngine, self).run(calculator, atoms)

    def read(self, results: dict, atoms: int) -> Properties:
        """Convert results of the calculator to the units of the project."""
        missing = [key for key in self.properties if key not in results]
        if missing:
            raise EngineFailure(
                f"{self.name} gave no {', '.join(missing)}, only {', '.join(results)}; declare "
                "engine.properties",
                final=True,
            )
        factor = {
            "energy": units.ENERGY[self.units.get("energy", "eV")],
            "forces": units.FORCE[self.units.get("forces", "eV/Å")],
            "dipole": units.DIPOLE[self.units.get("dipole", "e·Å")],
        }
        return Properties(
            energy=float(np.ravel(results["energy"])[0]) * factor["energy"],
            forces=np.array(results["forces"], dtype=float).reshape(atoms, 3) * factor["forces"],
            dipole=np.array(results["dipole"], dtype=float).reshape(3) * factor["dipole"]
            if self.gives_dipole
            else None,
        )

    def _parts(self) -> tuple[Callable, Mapping[str, Any]]:
        maker = self.calculator_of
        return (maker.func, maker.keywords) if isinstance(maker, partial) else (maker, {})


def from_ase(
    calculator: Any = None,
    properties: tuple[str, ...] = ("energy", "forces", "dipole"),
    units: Mapping[str, str] | None = None,
    elements: tuple[str, ...] | None = None,
    name: str | None = None,
    version: str | None = None,
    own_directory: bool = False,
    directory: str | None = None,
    keep: bool = False,
    states: Mapping[str, str | None] | None = None,
    dipole_origin: Literal["coordinates", "centre_of_mass", "nuclear_charge"] = "coordinates",
) -> ASE:
    """Make an :class:`ASE` engine from the keys of the configuration."""
    return ASE(
        directory=directory,
        keep=keep,
        calculator_of=calculator,
        properties=tuple(properties),
        units=dict(units or {}),
        elements_covered=tuple(elements) if elements else None,
        title=name,
        version=version,
        own_directory=own_directory,
        states={key: place for key, place in (states or {}).items() if place is not None},
        dipole_origin=dipole_origin,
    )
