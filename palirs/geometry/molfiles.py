"""MDL molfiles and SD files, read by RDKit: geometries, sketches and their data."""

import logging
import re

import numpy as np
from ase import Atoms
from rdkit import Chem, rdBase

from palirs import keys
from palirs.geometry.bonds import relative_distances
from palirs.geometry.embedding import isotopic_masses, molecule_of
from palirs.geometry.smiles import check_elements, conformers_of
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)

FLAT = 1e-3
"""Largest height of an atom above the xy plane in a planar drawing [Å]."""
REAL = (0.7, 1.3)
"""Lengths of real bonds over the sums of covalent radii (N≡N 0.77, F-F 1.24); in sketches all bonds
have the same length."""
MULTIPLE = {Chem.BondType.TRIPLE: 0.87, Chem.BondType.DOUBLE: 0.95, Chem.BondType.AROMATIC: 0.97}
"""Multiple bonds are shorter than this times the sum of the covalent radii (C≡C 0.79, C≡S 0.85, C=C
0.88, C-C 1.01)."""


def records(text: str) -> list[str]:
    """Return the molecules of a file, split at ``$$$$``; the fourth line of each has its counts."""
    parts = re.split(r"^\$\$\$\$.*\n?", "\n".join(text.splitlines()) + "\n", flags=re.MULTILINE)
    return [part for part in parts if part.strip()]


def title(record: str) -> str:
    """Return the first line, the name of the molecule."""
    return record.partition("\n")[0].strip()


def structures(record: str, where: str, name: str, count: int = 1) -> list[Atoms]:
    """Return the geometry of a molecule, or conformers of a sketch.

    Hydrogen atoms are added where the file has none at all.

    Parameters
    ----------
    record : str
        The text of one molecule.
    where : str
        Name of the record in the log and in errors.
    name : str
        Name of the molecule.
    count : int
        Most conformers of a sketch.

    Returns
    -------
    list of Atoms
        ``info`` holds the data of the record, ``formal_charge`` and ``spin_multiplicity`` of the
        drawing unless it is a neutral closed shell, and ``molecule``; isotopes have masses [amu].

    Raises
    ------
    PalirsError
        If it cannot be read, has no atoms, or some but not all hydrogen atoms.
    """
    molecule = _parsed(record, where, sanitize=False)
    if not molecule.GetNumAtoms():
        raise PalirsError(f"molecules.files: {where} has no atoms")
    check_elements(molecule, where)
    molecule.UpdatePropertyCache(strict=False)
    missing = sum(atom.GetNumImplicitHs() for atom in molecule.GetAtoms())
    if _is_sketch(record, molecule, missing):
        verb = "s are" if missing > 1 else " is"
        added = f", {missing} hydrogen atom{verb} added" if missing else ""
        log.info(
            "%s is a sketch in two dimensions%s: its geometry is embedded like that of a SMILES",
            where,
            added,
        )
        frames = conformers_of(_parsed(record, where, sanitize=True), where, where, name, count)
    else:
        frames = [_drawn(_with_hydrogen(record, molecule, where) if missing else molecule)]
    for number, atoms in enumerate(frames, start=1):
        called = name if number == 1 else f"{name}-{number}"
        atoms.info = molecule.GetPropsAsDict() | _stated(record, molecule) | {keys.MOLECULE: called}
    return frames


def is_isotope(number: int, mass_number: int) -> bool:
    """Tell whether RDKit knows an isotope of an element by its mass number."""
    return Chem.GetPeriodicTable().GetMassForIsotope(number, mass_number) > 0


def isotope_mass(number: int, mass: float) -> float:
    """Return the mass of an isotope [amu].

    Parameters
    ----------
    number : int
        Atomic number.
    mass : float
        A mass [amu], or a mass number (an integer).
    """
    if mass != round(mass):
        return mass
    return Chem.GetPeriodicTable().GetMassForIsotope(number, round(mass)) or mass


def _parsed(record: str, where: str, sanitize: bool) -> Chem.Mol:
    """Read a record; an error quotes what RDKit says about it."""
    supplier = Chem.SDMolSupplier()
    with rdBase.BlockLogs():
        supplier.SetData(record, sanitize=sanitize, removeHs=sanitize)
        molecule = next(iter(supplier), None)
    if molecule is None:
        with rdBase.CaptureErrorLog() as captured:
            next(iter(supplier), None)
        stamped = re.compile(r"^\[\d\d:\d\d:\d\d\] (?:ERROR: )?(\S.*)$", re.MULTILINE)
        reasons = [
            text for text in stamped.findall(captured.messages) if "moving to the" not in text
        ]
        reason = reasons[0] if reasons else "it is cut off"
        raise PalirsError(f"molecules.files: RDKit cannot read {where}: {reason}")
    return molecule


def _stated(record: str, molecule: Chem.Mol) -> dict[str, int]:
    """Return charge and multiplicity, where they are not those of a neutral closed shell.

    RDKit counts the two electrons of a singlet carbene, radical 1 of the format, as unpaired.
    """
    codes = re.findall(r"\bRAD=(\d)", record)
    for line in re.findall(r"^M  RAD[ \d]{3}(.*)$", record, flags=re.MULTILINE):
        codes += line.split()[1::2]
    charge = Chem.GetFormalCharge(molecule)
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    stated = {"formal_charge": charge} if charge else {}
    multiplicity = 1 + unpaired - 2 * codes.count("1")
    return stated | ({"spin_multiplicity": multiplicity} if unpaired else {})


def _is_sketch(record: str, molecule: Chem.Mol, missing: int) -> bool:
    """Return whether positions are those of a drawing: planar, and marked 2D or unphysical."""
    positions = molecule.GetConformer().GetPositions()
    if np.abs(positions[:, 2]).max() > FLAT:
        return False
    if len(positions) > 1 and not np.ptp(positions, axis=0).any():
        return True  # no positions at all
    called_flat = record.split("\n")[1][20:22].upper() == "2D"
    crowded = any(atom.GetDegree() > 3 for atom in molecule.GetAtoms())
    return called_flat or missing > 0 or crowded or not _real_lengths(molecule)


def _real_lengths(molecule: Chem.Mol) -> bool:
    lengths = relative_distances(_drawn(molecule))
    bonds = [lengths[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()] for bond in molecule.GetBonds()]
    return all(REAL[0] < length < REAL[1] for length in bonds)


def _with_hydrogen(record: str, molecule: Chem.Mol, where: str) -> Chem.Mol:
    """Return a molecule with positions, with the hydrogen atoms that its valences require.

    A geometry that is already a complete molecule is returned as it is.
    """
    hydrogen = [atom for atom in molecule.GetAtoms() if atom.GetAtomicNum() == 1]
    # deuterium is often the only hydrogen that is written
    has_hydrogen = any(not atom.GetIsotope() for atom in hydrogen)
    orders_unknown = all(bond.GetBondType() == Chem.BondType.SINGLE for bond in molecule.GetBonds())
    if (has_hydrogen or orders_unknown) and is_whole(_drawn(molecule)):
        log.info(
            "%s: the orders of its bonds are not those of its geometry, which is taken as it is",
            where,
        )
        return molecule
    if has_hydrogen:
        vacancies = ", ".join(
            f"{atom.GetNumImplicitHs()} at {atom.GetSymbol()}{atom.GetIdx() + 1}"
            for atom in molecule.GetAtoms()
            if atom.GetNumImplicitHs()
        )
        raise PalirsError(
            f"molecules.files: {where} has hydrogen atoms, but its bonds leave room for more "
            f"({vacancies}); give all of them or none, or the geometry as an .xyz file, which is "
            "taken as it is"
        )
    whole = Chem.AddHs(_parsed(record, where, sanitize=True), addCoords=True)
    log.warning(
        "%s has no hydrogen atoms: those that its bonds ask for are added, %s becomes %s; "
        "give the geometry as an .xyz file if it has none",
        where,
        _drawn(molecule).symbols.formula.convert("hill"),
        _drawn(whole).symbols.formula.convert("hill"),
    )
    return whole


def is_whole(atoms: Atoms) -> bool:
    """Return whether a geometry is a closed-shell molecule whose multiple bonds are short."""
    try:
        molecule = molecule_of(atoms)
    except ValueError:
        return False
    lengths = relative_distances(atoms)
    short = all(
        lengths[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()]
        < MULTIPLE.get(bond.GetBondType(), np.inf)
        for bond in molecule.GetBonds()
    )
    return short and not any(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())


def _drawn(molecule: Chem.Mol) -> Atoms:
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    atoms = Atoms(numbers, positions=molecule.GetConformer().GetPositions())
    if isotopes := isotopic_masses(molecule):
        special = [bool(atom.GetIsotope()) for atom in molecule.GetAtoms()]
        atoms.set_masses(np.where(special, isotopes, atoms.get_masses()))
    return atoms
