"""Any ASE calculator as a reference engine: ``engine=ase engine.calculator._target_=…``."""

import hashlib
import inspect
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator, FileIOCalculator
from ase.calculators.genericfileio import GenericFileIOCalculator
from ase.data import atomic_numbers, chemical_symbols
from pydantic import Field

from palirs import units
from palirs.engines.base import EngineFailure, Properties, version_of
from palirs.engines.directories import DirectoryEngine, digest
from palirs.recipes import PalirsError, recipe

NOT_IN_FINGERPRINT = {"command", "directory", "label", "device", "workdir", "binary"}
"""Arguments that do not change results and are not part of the fingerprint."""


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
    """

    calculator_of: Any = None
    properties: tuple[str, ...] = ("energy", "forces", "dipole")
    units: dict[str, str] = Field(default_factory=dict)
    elements_covered: tuple[str, ...] | None = None
    title: str | None = None
    version: str | None = None
    own_directory: bool = False

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
            if not _takes(function, "directory"):
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
            if not _takes(function, key):
                raise PalirsError(
                    f"engine.calculator.{key}: {function.__qualname__} has no such argument; "
                    f"it has {', '.join(inspect.signature(function).parameters)}"
                )

    def prepare(self) -> None:
        """Make the calculator once, to find missing arguments, files and libraries early."""
        try:
            with tempfile.TemporaryDirectory() as directory:
                calculator = self.calculator_in(Path(directory))
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
    def name(self) -> str:
        """The title, or the name of the class."""
        return self.title or self._parts()[0].__qualname__

    @property
    def settings(self) -> dict:
        """Class, arguments (files by content), units and versions."""
        function, keywords = self._parts()
        package = function.__module__.partition(".")[0]
        return {
            "calculator": f"{function.__module__}.{function.__qualname__}",
            "properties": sorted(self.properties),
            "positional": [_plain(value) for value in getattr(self.calculator_of, "args", ())],
            "arguments": {
                key: _plain(value)
                for key, value in sorted(keywords.items())
                if key not in NOT_IN_FINGERPRINT
            },
            "units": dict(sorted(self.units.items())),
            "package": {
                name: version_of(name) for name in packages_distributions().get(package, [])
            },
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
        if self.own_directory:
            return self.calculator_of(directory=str(directory))
        return self.calculator_of()

    def calculator(self) -> Calculator:
        """Make the calculator."""
        return super().calculator() if self.own_directory else self.calculator_of()

    def start(self) -> Calculator | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return a calculator for many frames, unless each has a directory of its own."""
        return None if self.own_directory else self.calculator_of()

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
    )


def _takes(function: Callable, argument: str) -> bool:
    """Tell whether a function takes an argument, or does not list its arguments."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return True
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _plain(value: Any) -> Any:
    """Return JSON values that identify an argument, by content of files and fields of objects."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | Path):
        return _content(Path(value)) or str(value)
    if isinstance(value, np.ndarray):
        return [
            str(value.dtype),
            list(value.shape),
            hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16],
        ]
    if callable(value):
        name = getattr(value, "__qualname__", type(value).__qualname__)
        return f"{getattr(value, '__module__', '')}.{name}"
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    fields = {
        key: item
        for key, item in getattr(value, "__dict__", {}).items()
        if key not in NOT_IN_FINGERPRINT and "command" not in key
    }
    return {
        "class": type(value).__qualname__,
        **{key: _plain(item) for key, item in fields.items()},
    }


def _content(path: Path) -> str | None:
    """Return a digest of a file or of the files of a directory; ``None`` if there is none."""
    try:
        if path.is_file():
            return digest([path], names=False)
        if path.is_dir() and str(path) not in ("", "."):
            return digest(file for file in sorted(path.iterdir()) if file.is_file())
    except (OSError, ValueError):  # such as a text that is too long for a path
        return None
    return None
