"""Molecules by name: the shipped table and its groups, ASE's G2 set, and SMILES."""

import difflib
import logging
from collections.abc import Callable
from functools import cache, partial
from importlib.resources import as_file, files

from ase import Atoms
from ase.data import atomic_numbers
from ase.formula import Formula

from palirs import keys
from palirs.molecules.reading import read_frames
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)


@cache
def table() -> dict[str, Atoms]:
    """Return the shipped molecules by name; ``info`` holds ``group`` and ``smiles``."""
    with as_file(files("palirs") / "data" / "molecules.xyz") as path:
        frames = read_frames(path)
    return {atoms.info[keys.MOLECULE]: atoms for atoms in frames}


@cache
def _g2() -> dict[str, Callable[[], Atoms]]:
    """Return a constructor of each molecule of ASE's G2 set, by name."""
    from ase.build import molecule  # takes long to import
    from ase.collections import g2

    return {name: partial(molecule, name) for name in g2.names}


def groups() -> dict[str, list[str]]:
    """Return the names of the molecules of each group of the shipped table."""
    members: dict[str, list[str]] = {}
    for name, atoms in table().items():
        members.setdefault(atoms.info["group"], []).append(name)
    return members


def written(smiles: str, conformers: int = 1) -> list[Atoms]:
    """Return conformers of a SMILES.

    The first is the shipped structure if there is one and the SMILES has no name of its own. Each
    states its charge, also where that is zero: a SMILES says it.
    """
    molecules = _written(smiles, conformers)
    for atoms in molecules:
        atoms.info.setdefault(keys.CHARGE, 0)
    return molecules


def _written(smiles: str, conformers: int) -> list[Atoms]:
    from palirs.geometry import smiles as chemistry  # imports RDKit

    canonical = chemistry.canonical(smiles)
    shipped = [
        name
        for name, atoms in table().items()
        if chemistry.canonical(str(atoms.info["smiles"])) == canonical
    ]
    if canonical is None or not shipped or len(smiles.split()) > 1:
        return chemistry.conformers(smiles, conformers)
    if conformers == 1:
        return named(shipped[0])
    return chemistry.conformers(f"{smiles} {shipped[0]}", conformers)


def named(name: str, conformers: int = 1) -> list[Atoms]:
    """Return the molecule of a name, the molecules of a group, or conformers of a SMILES."""
    if name in groups():
        return [named(member)[0] for member in groups()[name]]
    if name in table():
        atoms = table()[name].copy()
    elif name in _g2():
        atoms = _g2()[name]()
    elif _reads_as_smiles(name):
        return _read_as_smiles(name, conformers)
    else:
        close = difflib.get_close_matches(name, [*groups(), *table(), *_g2()], n=3)
        close = close or difflib.get_close_matches(name.upper(), _g2(), n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise PalirsError(
            f"molecules.names: unknown molecule {name!r}; {hint}Known are the groups "
            f"{', '.join(groups())}, their members ({', '.join(list(table())[:5])}, ...), and "
            "ASE's G2 names (H2O, CH3OH, ...). For another one give its SMILES or "
            "molecules.files=[my.xyz]"
        )
    atoms.info[keys.MOLECULE] = name
    return [atoms]


def _reads_as_smiles(text: str) -> bool:
    from palirs.geometry.smiles import canonical

    return canonical(text) is not None


def _read_as_smiles(text: str, conformers: int) -> list[Atoms]:
    """Return conformers of a name as a SMILES, and warn if it may be a molecular formula."""
    from palirs.geometry.smiles import formula

    molecules = written(text, conformers)
    composition = str(formula(text))
    if means_formula(text, composition):
        meant = " or ".join(_same_formula(text)) or "the SMILES of that molecule"
        log.warning(
            "molecules.names: %s is no known name and was read as a SMILES, which is %s; if the "
            "formula %s is meant, write %s",
            text,
            composition,
            text,
            meant,
        )
    else:
        name = molecules[0].info[keys.MOLECULE]
        log.info("molecules.names: %s was read as a SMILES: %s, %s", text, composition, name)
    return molecules


def means_formula(text: str, composition: str) -> bool:
    """Tell whether a text may be meant as a molecular formula that differs from its SMILES.

    It is if it is the formula of a known molecule (OCO, NNO), if it has three or more elements once
    each (OCN), or two of which the molecule has a closed shell (NF, but not CF).

    Parameters
    ----------
    text : str
        As given.
    composition : str
        Formula of the text read as a SMILES.
    """
    counts = _counts(text)
    if not counts or counts == _counts(composition):
        return False
    electrons = sum(atomic_numbers[symbol] * count for symbol, count in counts.items())
    once = set(counts.values()) == {1} and (len(counts) > 2 or electrons % 2 == 0)
    return once or bool(_same_formula(text))


def _same_formula(text: str) -> list[str]:
    """Return the names of molecules of a formula in the G2 set and the table."""
    counts = _counts(text)
    molecules = {**{name: make() for name, make in _g2().items()}, **table()}
    return [name for name, atoms in molecules.items() if atoms.symbols.formula.count() == counts]


def _counts(text: str) -> dict[str, int]:
    """Return the number of atoms of each element of a formula; empty if it is not one."""
    try:
        return Formula(text).count()
    except (ValueError, KeyError):
        return {}
