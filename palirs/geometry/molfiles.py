"""MDL molfiles and SD files, read by RDKit: geometries and sketches, and what they state."""

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
"""Heights [Å] below which a molecule lies in the plane of the paper."""
REAL = (0.7, 1.3)
"""Bonds of a geometry are as long as this times the sum of the covalent radii (N≡N 0.77, F-F 1.24);
sketches draw all of them alike."""
MULTIPLE = {Chem.BondType.TRIPLE: 0.87, Chem.BondType.DOUBLE: 0.95, Chem.BondType.AROMATIC: 0.97}
"""Multiple bonds are shorter than this times the sum of the covalent radii (C≡C 0.79, C≡S 0.85, C=C
0.88, C-C 1.01)."""


def records(text: str) -> list[str]:
    """Return the molecules of a file, each as text; the fourth line of one has its counts."""
    parts = re.split(r"^\$\$\$\$.*\n?", "\n".join(text.splitlines()) + "\n", flags=re.MULTILINE)
    return [part for part in parts if part.strip()]


def title(record: str) -> str:
    """Return the first line."""
    return record.partition("\n")[0].strip()


def structures(record: str, where: str, name: str, count: int = 1) -> list[Atoms]:
    """Return the geometry of a molecule, or conformers of a sketch.

    Hydrogen atoms that a file leaves out are added where there are none at all.

    Parameters
    ----------
    record : str
        Of a file.
    where : str
        What the log and errors call it.
    name : str
        Of the molecule.
    count : int
        So many conformers of a sketch at most.

    Returns
    -------
    list of Atoms
        ``info`` holds the data of the record, ``charge`` and ``multiplicity`` where they are those
        of no closed shell, and ``molecule``; isotopes have masses [amu].

    Raises
    ------
    PalirsError
        For what cannot be read, is no molecule, or leaves open where hydrogen atoms are.
    """
    molecule = _parsed(record, where, sanitize=False)
    if not molecule.GetNumAtoms():
        raise PalirsError(f"molecules.files: {where} has no atoms")
    check_elements(molecule, where)
    molecule.UpdatePropertyCache(strict=False)
    missing = sum(atom.GetNumImplicitHs() for atom in molecule.GetAtoms())
    if _is_sketch(record, molecule, missing):
        added = (
            f", {missing} hydrogen atom{'s are' if missing > 1 else ' is'} added" if missing else ""
        )
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


def isotope_mass(number: int, mass: float) -> float:
    """Return the mass [amu] of an isotope that is given by its nucleons, or by its mass.

    Parameters
    ----------
    number : int
        Of protons.
    mass : float
        A mass [amu], or a whole number of nucleons.
    """
    if mass != round(mass):
        return mass
    return Chem.GetPeriodicTable().GetMassForIsotope(number, round(mass)) or mass


def _parsed(record: str, where: str, sanitize: bool) -> Chem.Mol:
    """Read a record; what RDKit says of one that it cannot read goes into the error."""
    supplier = Chem.SDMolSupplier()
    with rdBase.BlockLogs():
        supplier.SetData(record, sanitize=sanitize, removeHs=sanitize)
        molecule = next(iter(supplier), None)
    if molecule is None:
        with rdBase.CaptureErrorLog() as said:
            next(iter(supplier), None)
        stamped = re.compile(r"^\[\d\d:\d\d:\d\d\] (?:ERROR: )?(\S.*)$", re.MULTILINE)
        reasons = [text for text in stamped.findall(said.messages) if "moving to the" not in text]
        reason = reasons[0] if reasons else "it is cut off"
        raise PalirsError(f"molecules.files: RDKit cannot read {where}: {reason}")
    return molecule


def _stated(record: str, molecule: Chem.Mol) -> dict[str, int]:
    """Return charge and multiplicity, where there are formal charges that do not cancel, or radicals.

    RDKit counts the two electrons of a singlet carbene, radical 1 of the format, as unpaired.
    """
    codes = re.findall(r"\bRAD=(\d)", record)
    for line in re.findall(r"^M  RAD[ \d]{3}(.*)$", record, flags=re.MULTILINE):
        codes += line.split()[1::2]
    charge = Chem.GetFormalCharge(molecule)
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    stated = {"charge": charge} if charge else {}
    return stated | ({"multiplicity": 1 + unpaired - 2 * codes.count("1")} if unpaired else {})


def _is_sketch(record: str, molecule: Chem.Mol, missing: int) -> bool:
    """Tell whether positions are those of a drawing: flat, and called so or impossible else."""
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
    """Return a molecule in space with the hydrogen atoms that its bonds ask for.

    One whose geometry is that of a whole molecule is taken as it is.
    """
    hydrogen = [atom for atom in molecule.GetAtoms() if atom.GetAtomicNum() == 1]
    has_hydrogen = any(
        not atom.GetIsotope() for atom in hydrogen
    )  # isotopes are often written alone
    orders_unknown = all(bond.GetBondType() == Chem.BondType.SINGLE for bond in molecule.GetBonds())
    if (has_hydrogen or orders_unknown) and is_whole(_drawn(molecule)):
        log.info(
            "%s: the orders of its bonds are not those of its geometry, which is taken as it is",
            where,
        )
        return molecule
    if has_hydrogen:
        places = ", ".join(
            f"{atom.GetNumImplicitHs()} at {atom.GetSymbol()}{atom.GetIdx() + 1}"
            for atom in molecule.GetAtoms()
            if atom.GetNumImplicitHs()
        )
        raise PalirsError(
            f"molecules.files: {where} has hydrogen atoms, but its bonds leave room for more ({places}); "
            f"give all of them or none, or the geometry as an .xyz file, which is taken as it is"
        )
    whole = Chem.AddHs(_parsed(record, where, sanitize=True), addCoords=True)
    before, after = (str(_drawn(one).symbols.formula.convert("hill")) for one in (molecule, whole))
    log.warning(
        "%s has no hydrogen atoms: those that its bonds ask for are added, %s becomes %s; give the geometry as an .xyz file if it has none",
        *(where, before, after),
    )
    return whole


def is_whole(atoms: Atoms) -> bool:
    """Tell whether a geometry is that of a closed-shell molecule, its multiple bonds short."""
    try:
        judged = molecule_of(atoms)
    except ValueError:
        return False
    lengths = relative_distances(atoms)
    short = all(
        lengths[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()] < limit
        for bond in judged.GetBonds()
        if (limit := MULTIPLE.get(bond.GetBondType()))
    )
    return short and not any(atom.GetNumRadicalElectrons() for atom in judged.GetAtoms())


def _drawn(molecule: Chem.Mol) -> Atoms:
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    atoms = Atoms(numbers, positions=molecule.GetConformer().GetPositions())
    if isotopes := isotopic_masses(molecule):
        special = [bool(atom.GetIsotope()) for atom in molecule.GetAtoms()]
        atoms.set_masses(np.where(special, isotopes, atoms.get_masses()))
    return atoms
