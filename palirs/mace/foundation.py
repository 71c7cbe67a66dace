"""A potential of MACE's own as an engine: a foundation model, or any ``.model`` file.

The file is a pickle: the worker that calculates opens it, which runs the code in it. Naming it in
the configuration is the word that it is trusted, as it is in ``task=import_model``.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import chemical_symbols

from palirs.engines import Engine, EngineFailure, TBLite
from palirs.engines.base import version_of
from palirs.engines.directories import digest
from palirs.engines.papers import PAPERS
from palirs.mace.settings import Device
from palirs.recipes import PalirsError, recipe
from palirs.units import DIPOLE

log = logging.getLogger(__name__)

TYPES = {
    "MACE": "MACE",
    "ScaleShiftMACE": "MACE",
    "EnergyDipolesMACE": "EnergyDipoleMACE",
    "AtomicDipolesMACE": "DipoleMACE",
    "AtomicDielectricMACE": "DipolePolarizabilityMACE",
    "ExportedDipole": "DipoleMACE",
}
"""Classes of models, and what MACE's calculator calls them."""
ENERGIES = ("MACE", "EnergyDipoleMACE")
"""Types that give energy and forces."""
PAPER = "I. Batatia et al., NeurIPS 2022, arXiv:2206.07697"
XTB = ("GFN2-xTB", "GFN1-xTB")


@recipe
class MACEModel(Engine):
    """A ``.model`` file by MACE's own calculator: energy and forces, and a dipole from somewhere.

    Parameters
    ----------
    file : str
        The model (ScaleShiftMACE, MACE or EnergyDipolesMACE, one head or several).
    head : str or None
        Which head of several; ``None`` for the only one, or the one called default.
    dipoles : str
        Where the dipole comes from: ``GFN2-xTB`` or ``GFN1-xTB``; ``model``, if the file gives it
        too; a second file, of dipoles (AtomicDipolesMACE, AtomicDielectricMACE, or a dipole model
        that ``task=export_model`` wrote); or ``none``.
    dipole_unit : {"Debye", "e·Å", "e·Bohr"}
        Of the dipole of a model, which the file does not tell; MACE's readers of data expect Debye.
        Those that ``task=export_model`` wrote are in e·Å whatever this says.
    dtype : {"float64", "float32"}
        Precision.
    device : str
        ``cpu``, ``cuda`` or ``cuda:1``.
    """

    file: str
    head: str | None = None
    dipoles: str = "GFN2-xTB"
    dipole_unit: Literal["Debye", "e·Å", "e·Bohr"] = "Debye"
    dtype: Literal["float64", "float32"] = "float64"
    device: Device = "cpu"

    takes_electrons: ClassVar[bool] = False

    def __post_init__(self):
        where_from = (*XTB, "model", "none")
        if self.dipoles not in where_from and Path(self.dipoles).suffix != ".model":
            raise PalirsError(
                f"engine.dipoles = {self.dipoles!r}: allowed are {', '.join(where_from)}, or a "
                ".model file of dipoles"
            )

    @property
    def gives_dipole(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether there is a dipole."""
        return self.dipoles != "none"

    @property
    def name(self) -> str:
        """Name of the file, and head."""
        return f"MACE {Path(self.file).stem}" + (f", {self.head}" if self.head else "")

    @property
    def sources(self) -> tuple[str, ...]:
        """Papers on MACE, and on the parametrisation of the dipole."""
        return (PAPER, *([PAPERS[self.dipoles]] if self.dipoles in XTB else []))

    @property
    def settings(self) -> dict:
        """Files by content, head, precision and versions."""
        own = {
            "file": _content(self.file),
            "head": self.head,
            "dtype": self.dtype,
            "mace": version_of("mace-torch"),
            "dipoles": self.dipoles,
        }
        if self.dipoles in XTB:
            own["dipoles"] = TBLite(method=self.dipoles).identity  # pyright: ignore[reportArgumentType]
        elif self.dipoles != "none":
            own["dipoles"] = "model" if self.dipoles == "model" else _content(self.dipoles)
            own["dipole_unit"] = self.dipole_unit
        return own

    @property
    def elements(self) -> frozenset[int]:
        """All: which ones the model has learnt is known when it is opened."""
        return frozenset(range(1, len(chemical_symbols)))

    def prepare(self) -> None:
        """Open the models once, to find a missing file or head and a model of another kind."""
        for path in (self.file, *([self.dipoles] if self.dipoles.endswith(".model") else [])):
            if not Path(path).is_file():
                raise PalirsError(f"engine=mace: {path}: there is no such file")
        log.warning("%s is a pickle: opening it runs the code in it", self.file)
        self.calculator()

    def calculator(self) -> Calculator:
        """Make the calculator.

        Raises
        ------
        PalirsError
            If a file is not a model of the kind that is needed, or has no such head.
        """
        energy = _open(self.file, self.head, self.dtype, self.device)
        if energy.kind not in ENERGIES:
            raise PalirsError(
                f"engine.file = {self.file}: a {energy.title}, which gives no energy; name it as "
                "engine.dipoles, and a ScaleShiftMACE here"
            )
        dipole: Calculator | None = None
        factor = DIPOLE[self.dipole_unit]
        if self.dipoles in XTB:
            dipole = TBLite(method=self.dipoles).calculator()  # pyright: ignore[reportArgumentType]
            factor = 1.0
        elif self.dipoles == "model":
            if energy.kind != "EnergyDipoleMACE":
                raise PalirsError(
                    f"engine.dipoles = model: {self.file} is a {energy.title}, which gives no "
                    "dipole; give GFN2-xTB, a .model file of dipoles, or none"
                )
        elif self.dipoles != "none":
            second = _open(self.dipoles, None, self.dtype, self.device)
            if "Dipole" not in second.kind:
                raise PalirsError(
                    f"engine.dipoles = {self.dipoles}: a {second.title}, which gives no dipole"
                )
            dipole = second.calculator
            factor = 1.0 if second.title == "ExportedDipole" else factor
        return _Joined(energy, dipole, factor)


@dataclass(frozen=True)
class _Opened:
    """MACE's calculator of a model; its class, and the kind that MACE's calculator calls it."""

    calculator: Any
    title: str
    kind: str

    @property
    def elements(self) -> set[int]:
        return {int(number) for number in self.calculator.models[0].atomic_numbers}


class _Joined(Calculator):
    """Energy and forces by one calculator, the dipole by it or by another one."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "dipole"]

    def __init__(self, energy: _Opened, dipole: Calculator | None, factor: float):
        super().__init__()
        self.energy, self.dipole, self.factor = energy, dipole, factor

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        assert atoms is not None
        missing = {int(number) for number in atoms.numbers} - self.energy.elements
        if missing:
            known = ", ".join(chemical_symbols[z] for z in sorted(self.energy.elements))
            unknown = ", ".join(chemical_symbols[z] for z in sorted(missing))
            raise EngineFailure(
                f"the {self.energy.title} has not learnt {unknown}; it knows {known}", final=True
            )
        super().calculate(atoms, properties, system_changes)
        plain = Atoms(atoms.numbers, positions=atoms.positions)
        self.energy.calculator.calculate(plain)
        results = self.energy.calculator.results
        self.results = {"energy": results["energy"], "forces": np.array(results["forces"])}
        if self.dipole is not None:
            self.dipole.calculate(plain, ["dipole"], all_changes)
            results = self.dipole.results
        if "dipole" in results:
            self.results["dipole"] = np.array(results["dipole"]).reshape(3) * self.factor


def _content(path: str) -> str:
    """Return a digest of a file; its name if it is not there, which the first calculation says."""
    return digest([Path(path)], names=False) if Path(path).is_file() else path


def _open(path: str, head: str | None, dtype: str, device: str) -> _Opened:
    """Open a model; this runs code from the file.

    Raises
    ------
    PalirsError
        If there is none, MACE's calculator takes no such model, or it has no such head.
    """
    from palirs.mace.backend import mace_calculator
    from palirs.mace.exchange import load_pickle

    module = load_pickle(Path(path))
    title = type(module).__name__
    if title not in TYPES:
        raise PalirsError(
            f"{path}: a {title}; MACE's calculator takes {', '.join(list(TYPES)[:-1])}"
        )
    heads = list(getattr(module, "heads", None) or ["Default"])
    named = [each for each in heads if each.lower() == "default"]
    if head is not None and head not in heads:
        raise PalirsError(f"engine.head = {head!r}: {path} has {', '.join(heads)}")
    if head is None and len(heads) > 1 and not named:
        raise PalirsError(f"engine.head: {path} has several, {', '.join(heads)}; name one")
    return _Opened(
        mace_calculator(module, TYPES[title], head or (heads + named)[-1], dtype, device),
        title,
        TYPES[title],
    )
