"""A potential of MACE's own as an engine: a foundation model, or any ``.model`` file.

The file is a pickle: the worker that calculates opens it, which runs the code in it. Naming it in
the configuration is the word that it is trusted, as it is in ``task=import_model``. Which class it
holds is read without that.
"""

import logging
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import chemical_symbols

from palirs import keys
from palirs.engines import Engine, EngineFailure, TBLite
from palirs.engines.base import version_of
from palirs.engines.papers import PAPERS
from palirs.mace.pickles import (
    ENERGIES,
    LEARNT,
    PICKLE,
    Opened,
    check_file,
    class_of,
    content,
    not_learnt,
    open_model,
)
from palirs.mace.settings import Device
from palirs.recipes import PalirsError, recipe
from palirs.units import DIPOLE

log = logging.getLogger(__name__)

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
        Where the dipole comes from: ``auto``, the file if it gives one (EnergyDipolesMACE), else
        GFN2-xTB; ``GFN2-xTB`` or ``GFN1-xTB``; ``model``, the file; a second file, of dipoles
        (AtomicDipolesMACE, AtomicDielectricMACE, or a dipole model that ``task=export_model``
        wrote); or ``none``. Fixed charges of atoms, which MACE can add to a dipole, are zero.
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
    dipoles: str = "auto"
    dipole_unit: Literal["Debye", "e·Å", "e·Bohr"] = "Debye"
    dtype: Literal["float64", "float32"] = "float64"
    device: Device = "cpu"

    takes_electrons: ClassVar[bool] = False

    def __post_init__(self):
        where_from = (*XTB, "model", "auto", "none")
        if self.dipoles not in where_from and Path(self.dipoles).suffix != ".model":
            raise PalirsError(
                f"engine.dipoles = {self.dipoles!r}: allowed are {', '.join(where_from)}, or a "
                ".model file of dipoles"
            )

    @property
    def gives_dipole(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether there is a dipole."""
        return self.dipoles != "none"

    @cached_property
    def source(self) -> str:
        """Where the dipole comes from, ``auto`` resolved by the class named in the file."""
        if self.dipoles != "auto":
            return self.dipoles
        return "model" if class_of(self.file) == "EnergyDipolesMACE" else XTB[0]

    @property
    def name(self) -> str:
        """Name of the file, and head."""
        return f"MACE {Path(self.file).stem}" + (f", {self.head}" if self.head else "")

    @property
    def sources(self) -> tuple[str, ...]:
        """Papers on MACE, and on the parametrisation of the dipole."""
        return (PAPER, *([PAPERS[self.source]] if self.source in XTB else []))

    @property
    def settings(self) -> dict:
        """Files by content, head, precision and versions."""
        own = {
            "file": content(self.file),
            "head": self.head,
            "dtype": self.dtype,
            "mace": version_of("mace-torch"),
            "dipoles": self.source,
        }
        if self.source in XTB:
            own["dipoles"] = TBLite(method=self.source).identity  # pyright: ignore[reportArgumentType]
        elif self.source != "none":
            own["dipoles"] = "model" if self.source == "model" else content(self.source)
            own["dipole_unit"] = self.dipole_unit
        return own

    @property
    def elements(self) -> frozenset[int]:
        """All: which ones the model has learnt is known when it is opened."""
        return frozenset(range(1, len(chemical_symbols)))

    @property
    def files(self) -> dict[str, str]:
        """The ``.model`` files, by the keys that name them."""
        second = {} if self.source in (*XTB, "model", "none") else {"dipoles": self.source}
        return {"file": self.file, **second}

    def prepare(self) -> None:
        """Open the models once, to find a missing file or head and a model of another kind."""
        for key, path in self.files.items():
            check_file(key, path)
            log.warning(PICKLE, path)
        if self.device != "cpu":
            from palirs.mace.forces.devices import check_device  # torch, which takes seconds

            check_device("engine.device", self.device)
        self.calculator()
        where = {"model": f"the model, in {self.dipole_unit}", "none": "nowhere: no intensities"}
        log.info("%s: dipoles from %s", self.name, where.get(self.source, self.source))

    def check(self, atoms: Atoms) -> None:
        """Raise :class:`PalirsError` for an ion or radical, or for elements not learnt.

        The latter only once :meth:`prepare` has opened the models.
        """
        super().check(atoms)
        for key, path in self.files.items():
            learnt = LEARNT.get(self.identity[key])
            unknown = not_learnt(path, learnt, atoms) if learnt else ""
            if unknown:
                raise PalirsError(
                    f"molecule {atoms.info.get(keys.MOLECULE)!r}: engine.{key} = {unknown}; give "
                    "another model, or leave the molecule out"
                )

    def calculator(self) -> Calculator:
        """Make the calculator.

        Raises
        ------
        PalirsError
            If a file is not a model of the kind that is needed, has no such head, or is another
            one than when the settings were read.
        """
        energy = self._open("file", self.head)
        if energy.kind not in ENERGIES:
            raise PalirsError(
                f"engine.file = {self.file}: a {energy.title}, which gives no energy; name it as "
                "engine.dipoles, and a ScaleShiftMACE here"
            )
        if self.source == "model" and energy.kind != "EnergyDipoleMACE":
            raise PalirsError(
                f"engine.dipoles = model: {self.file} is a {energy.title}, which gives no "
                "dipole; give GFN2-xTB, a .model file of dipoles, or none"
            )
        if self.source == "none":
            return _Joined(energy, None, 0.0)
        if self.source == "model":
            return _Joined(energy, energy, DIPOLE[self.dipole_unit])
        if self.source in XTB:
            xtb = TBLite(method=self.source).calculator()  # pyright: ignore[reportArgumentType]
            return _Joined(energy, xtb, 1.0)
        second = self._open("dipoles", None)
        if "Dipole" not in second.kind:
            raise PalirsError(
                f"engine.dipoles = {self.dipoles}: a {second.title}, which gives no dipole; give a "
                "file of dipoles (AtomicDipolesMACE, AtomicDielectricMACE), GFN2-xTB or none"
            )
        ours = second.title == "ExportedDipole"
        return _Joined(energy, second, 1.0 if ours else DIPOLE[self.dipole_unit])

    def _open(self, key: str, head: str | None) -> Opened:
        """Open one of :attr:`files`, if it is still the one that the labels are kept under."""
        path = self.files[key]
        check_file(key, path)
        if content(path) != self.identity[key]:
            raise PalirsError(
                f"engine.{key} = {path}: the file has changed since the settings were read, and "
                "its labels would be kept as those of the one before; run again"
            )
        return open_model(path, key, head, self.dtype, self.device)


class _Joined(Calculator):
    """Energy and forces by one calculator, the dipole by it or by another one."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "dipole"]

    def __init__(self, energy: Opened, dipole: Opened | Calculator | None, factor: float):
        super().__init__()
        self.energy, self.dipole, self.factor = energy, dipole, factor

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        assert atoms is not None
        for model in (self.energy, self.dipole):
            if isinstance(model, Opened):
                unknown = not_learnt(model.path, model.elements, atoms)
                if unknown:
                    raise EngineFailure(unknown, final=True)
        super().calculate(atoms, properties, system_changes)
        plain = Atoms(atoms.numbers, positions=atoms.positions)
        self.energy.calculator.calculate(plain)
        results = self.energy.calculator.results
        self.results = {"energy": results["energy"], "forces": np.array(results["forces"])}
        if self.dipole is None:
            return
        if self.dipole is not self.energy:
            second = self.dipole.calculator if isinstance(self.dipole, Opened) else self.dipole
            second.calculate(plain, ["dipole"], all_changes)
            results = second.results
        self.results["dipole"] = np.array(results["dipole"]).reshape(3) * self.factor
