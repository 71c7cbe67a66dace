"""Molecules: a name from the shipped table, an ASE G2 name, a SMILES or an xyz file becomes a checked :class:`ase.Atoms`."""

import difflib
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, cast

import ase.io
import numpy as np
from ase import Atoms
from ase.build import molecule as g2_molecule
from ase.collections import g2
from pydantic import Field
from scipy.sparse.csgraph import connected_components

from palirs import keys
from palirs.geometry.bonds import relative_distances
from palirs.recipes import PalirsError, recipe

CLOSEST_CONTACT = 0.6
"""Two atoms closer than this share of the sum of their covalent radii lie on top of each other."""
APART = 1.75
"""Two atoms further apart than this times the sum of their covalent radii are not bonded: a C-H bond of 1.9 Å, C-C of 2.7 Å."""
DECIMALS = 8
"""Positions are kept on a grid of 1e-8 Å, the precision of the extended XYZ file, so that a structure that went through a file
is still the same structure."""


@recipe
class Molecules:
    """The molecules of a study.

    Parameters
    ----------
    names : tuple of str
        Names of the shipped table (``methanol``), its groups (``organics24``, ``transfer8``), or ASE G2 names (``H2O``); what is none of
        these and can be read as a SMILES is one.
    smiles : tuple of str
        SMILES, each with a name after a space if it should have its own: ``CC(C)=O`` or ``CC(C)=O acetone``. Here ``CO`` is methanol.
    conformers : int
        So many conformers of each SMILES at most, the lowest by a force field, each a molecule of its own: ``name``, ``name-2``, …
    files : tuple of str
        Files that ASE can read; each frame is one molecule, named by its ``info['molecule']`` or by the file. A column ``masses`` [amu]
        gives isotopes.
    complexes : bool
        Allow frames of several molecules that are not bonded to each other.
    """

    names: tuple[str, ...] = Field(default=())
    smiles: tuple[str, ...] = Field(default=())
    conformers: Annotated[int, Field(ge=1, le=100)] = 1
    files: tuple[str, ...] = Field(default=())
    complexes: bool = False

    def load(self) -> list[Atoms]:
        """Return the checked molecules, each with ``info['molecule']``.

        Raises
        ------
        PalirsError
            For an unknown name, an unreadable file, two molecules of one name, or a molecule that cannot be treated.
        """
        found = [atoms for name in self.names for atoms in named(name, self.conformers)]
        found += [atoms for text in self.smiles for atoms in written(text, self.conformers)]
        found += [atoms for path in self.files for atoms in read(path)]
        if not found:
            raise PalirsError(
                "molecules: the list is empty; give molecules.names=[methanol], molecules.smiles=[CCO] or molecules.files=[my.xyz]"
            )
        seen: set[str] = set()
        for atoms in found:
            name = atoms.info[keys.MOLECULE]
            if name in seen:
                raise PalirsError(f"molecules: two molecules are called {name!r}; names must differ, rename one of them")
            seen.add(name)
            check(atoms)
            if not self.complexes:
                check_whole(atoms)
        return found


@cache
def table() -> dict[str, Atoms]:
    """Return the shipped molecules by name; ``info`` holds ``group`` and ``smiles``."""
    with as_file(files("palirs") / "data" / "molecules.xyz") as path:
        frames = read_frames(path)
    return {atoms.info[keys.MOLECULE]: atoms for atoms in frames}


def groups() -> dict[str, list[str]]:
    """Return the groups of the shipped table: name of the group to names of its molecules."""
    found: dict[str, list[str]] = {}
    for name, atoms in table().items():
        found.setdefault(atoms.info["group"], []).append(name)
    return found


def written(smiles: str, conformers: int = 1) -> list[Atoms]:
    """Return conformers of a SMILES; the first of a shipped molecule, without another name, is the shipped one."""
    from palirs.geometry import smiles as chemistry  # RDKit, which takes a part of a second

    canonical = chemistry.canonical(smiles)
    shipped = [name for name, atoms in table().items() if chemistry.canonical(str(atoms.info["smiles"])) == canonical]
    if canonical is None or not shipped or " " in smiles.strip():
        return chemistry.conformers(smiles, conformers)
    if conformers == 1:
        return named(shipped[0])
    return chemistry.conformers(f"{smiles} {shipped[0]}", conformers)


def named(name: str, conformers: int = 1) -> list[Atoms]:
    """Return the molecule of this name, or the molecules of this group, or conformers of what is a SMILES."""
    if name in groups():
        return [named(member)[0] for member in groups()[name]]
    if name in table():
        atoms = table()[name].copy()
    elif name in g2.names:
        atoms = g2_molecule(name)
    elif _reads_as_smiles(name):
        return written(name, conformers)
    else:
        known = [*groups(), *table(), *g2.names]
        close = difflib.get_close_matches(name, known, n=3) or difflib.get_close_matches(name.upper(), g2.names, n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise PalirsError(
            f"molecules.names: unknown molecule {name!r}; {hint}Known are the groups {', '.join(groups())}, their members "
            f"({', '.join(list(table())[:5])}, ...), and ASE's G2 names (H2O, CH3OH, ...). For another one give "
            f"its SMILES or molecules.files=[my.xyz]"
        )
    atoms.info[keys.MOLECULE] = name
    return [atoms]


def _reads_as_smiles(text: str) -> bool:
    from palirs.geometry.smiles import canonical

    return canonical(text) is not None


def read_frames(path: str | Path) -> list[Atoms]:
    """Return every structure of a file, in any format ASE reads."""
    return cast("list[Atoms]", ase.io.read(path, index=":"))


def read(path: str) -> list[Atoms]:
    """Read molecules from a file in any format ASE knows."""
    if not Path(path).is_file():
        raise PalirsError(f"molecules.files: no file {path!r}")
    try:
        frames = read_frames(path)
    except Exception as error:
        raise PalirsError(f"molecules.files: ASE cannot read {path!r}: {error}") from error
    stem = Path(path).stem
    for number, atoms in enumerate(frames):
        atoms.calc = None
        atoms.info.setdefault(keys.MOLECULE, stem if len(frames) == 1 else f"{stem}-{number}")
    return frames


def check(atoms: Atoms) -> None:
    """Raise :class:`PalirsError` for a molecule that the closed-shell, isolated treatment does not cover."""
    name = atoms.info.get(keys.MOLECULE, str(atoms.symbols))
    if len(atoms) < 2:
        raise PalirsError(f"molecule {name!r}: {len(atoms)} atom(s) have no vibrations; at least two are needed")
    if any(character in name for character in "/\\ \t\n") or name.startswith("."):
        raise PalirsError(f"molecule name {name!r}: it becomes part of file names, use letters, digits, '-', '_', ',' and '.'")
    if atoms.pbc.any():
        raise PalirsError(f"molecule {name!r}: periodic boundary conditions are set; only isolated molecules are treated")
    if not np.isfinite(atoms.positions).all():
        raise PalirsError(f"molecule {name!r}: positions are not finite numbers")
    if not np.isfinite(atoms.get_masses()).all() or (atoms.get_masses() <= 0).any():
        raise PalirsError(f"molecule {name!r}: its masses are not positive numbers; the column masses is in amu")
    charge = atoms.info.get("charge", 0) or atoms.get_initial_charges().sum()
    if abs(charge) > 1e-9:
        raise PalirsError(f"molecule {name!r}: charge {charge:+g} e; only neutral molecules are treated")
    if atoms.numbers.sum() % 2 or np.abs(atoms.get_initial_magnetic_moments()).sum() > 1e-9:
        raise PalirsError(
            f"molecule {name!r}: open shell ({atoms.numbers.sum()} electrons, initial magnetic moments "
            f"{atoms.get_initial_magnetic_moments().sum():g}); only closed-shell molecules are treated"
        )
    _check_contacts(atoms, name)


def pieces(atoms: Atoms) -> np.ndarray:
    """Return the number of the molecule that each atom belongs to, ``[N]``: atoms hang together by distances below :data:`APART`."""
    _, found = connected_components(relative_distances(atoms) < APART, directed=False)
    return found


def check_whole(atoms: Atoms) -> None:
    """Raise :class:`PalirsError` for several molecules in one."""
    found = pieces(atoms)
    if found.max() > 0:
        parts = " and ".join(str(Atoms(atoms.numbers[found == number]).symbols) for number in range(found.max() + 1))
        raise PalirsError(
            f"molecule {atoms.info[keys.MOLECULE]!r}: {parts} are not bonded to each other; give them one by one, or "
            f"molecules.complexes=true if a complex is meant"
        )


def intact(atoms: Atoms, optimum: Atoms) -> bool:
    """Tell whether a displaced molecule hangs together as its optimum does, no atoms on top of each other."""
    return bool(relative_distances(atoms).min() >= CLOSEST_CONTACT) and bool(pieces(atoms).max() == pieces(optimum).max())


def _check_contacts(atoms: Atoms, name: str) -> None:
    ratio = relative_distances(atoms)
    i, j = np.unravel_index(ratio.argmin(), ratio.shape)
    if ratio[i, j] < CLOSEST_CONTACT:
        raise PalirsError(
            f"molecule {name!r}: atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]}) are {atoms.get_distance(i, j):.2f} Å apart, "
            f"on top of each other; are the positions in Å?"
        )


def on_grid(atoms: Atoms) -> Atoms:
    """Return a copy with positions rounded to the grid of the files; masses of isotopes stay, calculator and velocities do not."""
    positions = np.round(atoms.positions, DECIMALS) + 0.0
    found = Atoms(atoms.numbers, positions=positions, info=dict(atoms.info))
    keep_masses(atoms, found)
    return found


def keep_masses(old: Atoms, new: Atoms) -> None:
    """Give a structure the masses of isotopes that another has, if it has any [amu]."""
    if old.has("masses"):
        new.set_masses(old.get_masses())
