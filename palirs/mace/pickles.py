"""MACE's ``.model`` files: what is told of one without opening it, and opening it.

They are pickles: opening one runs whatever code its author put there. Importing this module needs
neither torch nor mace.
"""

import pickle
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.data import chemical_symbols

from palirs.engines.directories import digest
from palirs.recipes import PalirsError

PICKLE = "%s is a pickle: opening it runs the code in it. Open only files from people you trust"
"""The warning before a file is opened."""
TYPES = {
    "MACE": "MACE",
    "ScaleShiftMACE": "MACE",
    "EnergyDipolesMACE": "EnergyDipoleMACE",
    "AtomicDipolesMACE": "DipoleMACE",
    "AtomicDielectricMACE": "DipolePolarizabilityMACE",
    "ExportedDipole": "DipoleMACE",
}
"""Classes of models, and what MACE's calculator calls them."""
COMPILED = "RecursiveScriptModule"
ENERGIES = ("MACE", "EnergyDipoleMACE")
"""Types that give energy and forces."""
LEARNT: dict[str, frozenset[int]] = {}
"""Elements of the models that this process has opened, by the digest of their files."""


@dataclass(frozen=True)
class Opened:
    """MACE's calculator of a model.

    Attributes
    ----------
    calculator : MACECalculator
        Calculates; its dipole is in the unit that the model has learnt.
    title, kind : str
        Class of the model, and what MACE's calculator calls it.
    path : str
        Of the file.
    """

    calculator: Any
    title: str
    kind: str
    path: str

    @property
    def elements(self) -> frozenset[int]:
        """Atomic numbers that the model has learnt."""
        return frozenset(int(number) for number in self.calculator.models[0].atomic_numbers)


def class_of(path: str) -> str | None:
    """Return the class in a ``.model`` file without running its code; ``None`` if it is unclear.

    The first name that the pickle in torch's archive refers to is that of the whole object.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            inside = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            operations = pickletools.genops(archive.read(inside))
            name = next(str(argument) for code, argument, _ in operations if code.name == "GLOBAL")
    except (OSError, ValueError, StopIteration, zipfile.BadZipFile):
        return None
    return name.split()[-1]


ODD = (AttributeError, ValueError, KeyError, IndexError, TypeError)
"""What unpickling other files raises."""


def check_file(key: str, path: str) -> None:
    """Raise :class:`PalirsError` if there is no such file."""
    if not Path(path).is_file():
        raise PalirsError(
            f"engine.{key} = {path}: there is no such file; give the path of a .model file, "
            f"relative to {Path.cwd()}"
        )


def not_learnt(path: str, learnt: frozenset[int], atoms: Atoms) -> str:
    """Return in words which elements of a molecule a model has not learnt; empty if none."""
    unknown = {int(number) for number in atoms.numbers} - learnt
    if not unknown:
        return ""
    these, known = (
        ", ".join(chemical_symbols[number] for number in sorted(numbers))
        for numbers in (unknown, learnt)
    )
    return f"{path} has not learnt {these}; it knows {known}"


def content(path: str) -> str:
    """Return a digest of a file; its name if it is not there, which the first calculation says."""
    return digest([Path(path)], names=False) if Path(path).is_file() else path


def open_model(path: str, key: str, head: str | None, dtype: str, device: str) -> Opened:
    """Open a model; this runs code from the file.

    Raises
    ------
    PalirsError
        If there is none, MACE's calculator takes no such model, or it has no such head.
    """
    from palirs.mace.backend import mace_calculator

    module = load_pickle(Path(path))
    title = type(module).__name__
    if title not in TYPES:
        raise PalirsError(
            f"engine.{key} = {path}: a {title}; MACE's calculator takes "
            f"{', '.join(list(TYPES)[:-1])}"
            + ("; give the .model file from which it was compiled" if title == COMPILED else "")
        )
    heads = list(getattr(module, "heads", None) or ["Default"])
    named = [each for each in heads if each.lower() == "default"]
    if head is not None and head not in heads:
        raise PalirsError(f"engine.head = {head!r}: {path} has {', '.join(heads)}")
    if head is None and len(heads) > 1 and not named:
        raise PalirsError(f"engine.head: {path} has several, {', '.join(heads)}; name one")
    found = Opened(
        mace_calculator(module, TYPES[title], head or (heads + named)[-1], dtype, device),
        title,
        TYPES[title],
        path,
    )
    LEARNT[content(path)] = found.elements
    return found


def load_pickle(path: Path) -> Any:
    """Return the model in a ``.model`` file, on the CPU; this runs code from the file.

    Raises
    ------
    PalirsError
        If there is none, or torch cannot load it.
    """
    if not path.is_file():
        raise PalirsError(f"{path}: there is no such file")
    import torch

    from palirs.mace.backend import quietly

    try:
        with quietly():
            return torch.load(path, map_location="cpu", weights_only=False)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ImportError, *ODD) as error:
        raise PalirsError(
            f"{path}: torch cannot load it ({type(error).__name__}: {error}); it should be a "
            ".model file of MACE"
        ) from error
