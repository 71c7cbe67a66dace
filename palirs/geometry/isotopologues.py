"""Isotopologues of a molecule: which atoms have which masses, from a SMILES or by atom."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms
from ase.data import atomic_masses
from rdkit import Chem, rdBase

from palirs import keys
from palirs.geometry.bonds import bonded
from palirs.geometry.electrons import Electrons
from palirs.geometry.embedding import molecule_of
from palirs.geometry.isotopes import equivalent, special
from palirs.geometry.molfiles import isotope_mass
from palirs.recipes import PalirsError

BY_ATOM = re.compile(r"(.+):(\d+=\d+\.?\d*(?:,\d+=\d+\.?\d*)*)")
"""A molecule, and atoms with their masses."""
EXAMPLES = "a SMILES with isotopes, [2H]OC, or molecule:atom=mass, methanol:5=2"
MATCHES = 100_000
"""Most ways to lay a SMILES on a molecule that are looked at; propane has 144."""


@dataclass(frozen=True)
class Isotopes:
    """Isotopes that someone asks for.

    Parameters
    ----------
    text : str
        A SMILES with isotopes, ``[2H]OC``, or a molecule and its atoms, numbered from 0, with mass
        numbers or masses [amu], ``methanol:5=2,0=13.003``. After a space a name may follow.

    Raises
    ------
    PalirsError
        If it is neither.
    """

    text: str

    def __post_init__(self):
        if not self.text.strip():
            raise PalirsError(f"an empty text; write {EXAMPLES}")
        if self._told is None and self._smiles is None:
            raise PalirsError(f"{self.text!r}: RDKit cannot read the SMILES; write {EXAMPLES}")

    @property
    def name(self) -> str:
        """What the isotopologue is to be called; empty if that is left open."""
        return (self.text.split(maxsplit=1)[1:] or [""])[0].strip()

    @cached_property
    def _told(self) -> tuple[str, dict[int, float]] | None:
        """A molecule, and mass numbers or masses [amu] of its atoms; ``None`` for a SMILES."""
        match = BY_ATOM.fullmatch(self.text.split(maxsplit=1)[0])
        if match is None:
            return None
        pairs = (pair.split("=") for pair in match[2].split(","))
        return match[1], {int(atom): float(mass) for atom, mass in pairs}

    def masses(self, atoms: Atoms) -> list[np.ndarray]:
        """Return the masses [amu] of each isotopologue of a molecule that is meant, each ``[N]``.

        Several if different atoms may be meant: the in-plane hydrogen atom of methyl in methanol,
        or one of the others. Those that a rotation or reflection turns into each other are one.
        Atoms of a SMILES without an isotope have the mass of their element. Empty if it is another
        molecule.

        Raises
        ------
        PalirsError
            If an atom does not exist.
        """
        masses = atoms.get_masses()
        if self._told is None:
            isotopes = special(atoms, masses)
            masses[isotopes] = atomic_masses[atoms.numbers[isotopes]]
        found: list[np.ndarray] = []
        for placed in self._placed(atoms):
            own = masses.copy()
            for atom, mass in placed.items():
                own[atom] = self._mass(int(atoms.numbers[atom]), mass)
            if not any(equivalent(atoms, own, other) for other in found):
                found.append(own)
        return found

    def _mass(self, number: int, mass: float) -> float:
        """Return the mass [amu] of a mass number, or the mass itself."""
        table = Chem.GetPeriodicTable()
        if mass == round(mass) and not table.GetMassForIsotope(number, round(mass)):
            raise PalirsError(
                f"{self.text!r}: RDKit knows no isotope {mass:.0f} of "
                f"{table.GetElementSymbol(number)}; molecule:atom=mass takes a mass with decimals"
            )
        return isotope_mass(number, mass)

    def _placed(self, atoms: Atoms) -> list[dict[int, float]]:
        """Return mass numbers or masses by atom, for each way to place them."""
        if self._told is None:
            return self._by_match(atoms)
        name, isotopes = self._told
        if name != str(atoms.info.get(keys.MOLECULE)):
            return []
        if max(isotopes) >= len(atoms):
            known = " ".join(f"{symbol}{atom}" for atom, symbol in enumerate(atoms.symbols))
            raise PalirsError(f"{self.text!r}: {name} has no atom {max(isotopes)}, but {known}")
        return [isotopes]

    @cached_property
    def _smiles(self) -> Chem.Mol | None:
        """The SMILES with all hydrogen atoms."""
        with rdBase.BlockLogs():
            molecule = Chem.MolFromSmiles(self.text.split(maxsplit=1)[0])
        return None if molecule is None else Chem.AddHs(molecule)

    def _by_match(self, atoms: Atoms) -> list[dict[int, float]]:
        """Return mass numbers by atom, for each way to lay the SMILES on a molecule.

        Bonds count, but not their orders, which a geometry does not always tell; stereochemistry
        that the SMILES states does where RDKit finds orders that fit.
        """
        smiles = self._smiles
        assert smiles is not None
        numbers = [atom.GetAtomicNum() for atom in smiles.GetAtoms()]
        bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in smiles.GetBonds()]
        pairs = np.argwhere(np.triu(bonded(atoms))).tolist()
        same = sorted(numbers) == sorted(atoms.numbers.tolist()) and len(pairs) == len(bonds)
        if not same or Chem.GetFormalCharge(smiles) != Electrons.of(atoms).charge:
            return []
        matches = _skeleton(atoms.numbers.tolist(), pairs).GetSubstructMatches(
            _skeleton(numbers, bonds), uniquify=False, maxMatches=MATCHES
        )
        isotopes = [atom.GetIsotope() for atom in smiles.GetAtoms()]
        ways = {
            tuple(
                sorted(
                    (atom, float(isotope))
                    for atom, isotope in zip(match, isotopes, strict=True)
                    if isotope
                )
            )
            for match in matches
        }
        return _with_stereochemistry(smiles, atoms, [dict(way) for way in sorted(ways)])


def _skeleton(numbers: list[int], bonds: Sequence[Sequence[int]]) -> Chem.Mol:
    """Return a molecule of atoms and single bonds without charges or isotopes."""
    skeleton = Chem.RWMol()
    for number in numbers:
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        skeleton.AddAtom(atom)
    for first, second in bonds:
        skeleton.AddBond(int(first), int(second), Chem.BondType.SINGLE)
    return skeleton.GetMol()


def _with_stereochemistry(
    smiles: Chem.Mol, atoms: Atoms, placed: list[dict[int, float]]
) -> list[dict[int, float]]:
    """Return those isotopes of a geometry, or its mirror image, that fit the SMILES."""
    centres = [atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED for atom in smiles.GetAtoms()]
    bonds = [bond.GetStereo() > Chem.BondStereo.STEREOANY for bond in smiles.GetBonds()]
    mirrored = atoms.copy()
    mirrored.positions[:, 2] *= -1
    if not any(centres + bonds):
        return placed
    try:
        wholes = [molecule_of(each) for each in (atoms, mirrored)]
    except ValueError:
        return placed
    if not wholes[0].HasSubstructMatch(_plain(smiles)):
        return placed  # bonds are written in another way
    return [
        isotopes for isotopes in placed if any(_fits(smiles, whole, isotopes) for whole in wholes)
    ]


def _fits(smiles: Chem.Mol, whole: Chem.Mol, isotopes: dict[int, float]) -> bool:
    candidate = Chem.Mol(whole)
    for atom, isotope in isotopes.items():
        candidate.GetAtomWithIdx(atom).SetIsotope(int(isotope))
    Chem.AssignStereochemistryFrom3D(candidate)
    return candidate.HasSubstructMatch(smiles, useChirality=True)


def _plain(smiles: Chem.Mol) -> Chem.Mol:
    """Return a molecule without isotopes, and without stereochemistry."""
    plain = Chem.Mol(smiles)
    for atom in plain.GetAtoms():
        atom.SetIsotope(0)
    Chem.RemoveStereochemistry(plain)
    return plain
