"""Start geometries of a SMILES: conformers embedded by RDKit, ordered by force field energy.

And which atoms of a molecule its isotopes are.
"""

import logging
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from rdkit import Chem, rdBase
from rdkit.Chem import rdMolDescriptors

from palirs import keys
from palirs.geometry.bonds import bonded
from palirs.geometry.electrons import Electrons
from palirs.geometry.embedding import embedded, molecule_of
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)

LARGEST = 150
"""Most heavy atoms: to embed more takes minutes, and their MD is out of reach."""
MATCHES = 100_000
"""Most ways to lay a SMILES on a molecule that are looked at; propane has 144."""


def canonical(text: str) -> str | None:
    """Return the canonical SMILES of RDKit; ``None`` if the text is not a SMILES."""
    molecule = _first(text)
    return None if molecule is None else Chem.MolToSmiles(molecule)


def size(text: str) -> int | None:
    """Return the number of atoms including hydrogen; ``None`` if the text is not a SMILES."""
    molecule = _first(text)
    return None if molecule is None else Chem.AddHs(molecule).GetNumAtoms()


def formula(text: str) -> str | None:
    """Return the molecular formula in Hill order; ``None`` if the text is not a SMILES."""
    molecule = _first(text)
    return None if molecule is None else rdMolDescriptors.CalcMolFormula(molecule)


def conformers(text: str, count: int = 1) -> list[Atoms]:
    """Return conformers of a molecule, the lowest in energy first.

    Isotopes of the SMILES become masses [amu].

    Parameters
    ----------
    text : str
        A SMILES, and after a space the name of the molecule, as in ``.smi`` files. By default it is
        named by its formula and the first letters of its InChIKey, C3H6O-CSCPPA.
    count : int
        Most conformers. The second is named ``name-2``.

    Returns
    -------
    list of Atoms
        With ``info['molecule']``, and charge and multiplicity of ions and radicals.

    Raises
    ------
    PalirsError
        If it is not a SMILES, or cannot be embedded.
    """
    smiles, name = (*text.split(maxsplit=1), "", "")[:2]
    molecule = _parsed(smiles)
    if molecule is None or not molecule.GetNumAtoms():
        raise PalirsError(f"molecules: RDKit cannot read the SMILES {smiles!r}")
    short = smiles if len(smiles) <= 200 else f"{smiles[:40]}…"
    return conformers_of(molecule, smiles, f"the SMILES {short!r}", name.strip(), count)


def conformers_of(molecule: Chem.Mol, label: str, what: str, name: str, count: int) -> list[Atoms]:
    """Return conformers of a molecule without coordinates, see :func:`conformers`.

    Parameters
    ----------
    molecule : Chem.Mol
        From a SMILES or a sketch.
    label, what : str
        Its name in the log and in errors.
    name : str
        Name of the molecule; if empty, it is made of the formula.
    count : int
        Most conformers.

    Raises
    ------
    PalirsError
        If the molecule is not supported.
    """
    check(molecule, what)
    specified = {stereo.specified for stereo in Chem.FindPotentialStereo(molecule)}
    unsure = bool(specified - {Chem.StereoSpecified.Specified})
    try:
        embedding = embedded(molecule if unsure else Chem.AddHs(molecule), name or label, unsure)
    except ValueError as error:
        raise PalirsError(
            f"molecules: {error} of {what}; give its geometry as molecules.files=[my.xyz]"
        ) from error
    name = name or _name(embedding.molecule if unsure else molecule)
    if embedding.others:
        verb = "is another isomer" if len(embedding.others) == 1 else "are other isomers"
        log.warning(
            "%s leaves stereochemistry open: %s is taken, %s %s; write the one that is meant",
            label,
            embedding.taken,
            ", ".join(embedding.others),
            verb,
        )
    energies = [energy for energy, _ in embedding.conformers]
    log.info("%s: %s, %s", label, name, _summary(energies, count))
    chosen = [atoms for _, atoms in embedding.conformers[:count]]
    for number, atoms in enumerate(chosen, start=1):
        called = name if number == 1 else f"{name}-{number}"
        atoms.info |= {keys.MOLECULE: called, **electrons(molecule).info}
    return chosen


def isotopes_on(text: str, atoms: Atoms) -> list[dict[int, float]]:
    """Return mass numbers of isotopes by atom, for each way to lay a SMILES on a molecule.

    Bonds count, but not their orders, which a geometry does not always tell; stereochemistry that
    the SMILES states does where RDKit finds orders that fit.

    Parameters
    ----------
    text : str
        A SMILES; a name may follow.
    atoms : Atoms
        The molecule. There is no way if it has other atoms, bonds or charge.
    """
    molecule = _first(text)
    if molecule is None:
        return []
    molecule = Chem.AddHs(molecule)
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    pairs = np.argwhere(np.triu(bonded(atoms))).tolist()
    same = sorted(numbers) == sorted(atoms.numbers.tolist()) and len(pairs) == len(bonds)
    if not same or Chem.GetFormalCharge(molecule) != Electrons.of(atoms).charge:
        return []
    matches = _skeleton(atoms.numbers.tolist(), pairs).GetSubstructMatches(
        _skeleton(numbers, bonds), uniquify=False, maxMatches=MATCHES
    )
    isotopes = [atom.GetIsotope() for atom in molecule.GetAtoms()]
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
    return _with_stereochemistry(molecule, atoms, [dict(way) for way in sorted(ways)])


def electrons(molecule: Chem.Mol) -> Electrons:
    """Return charge and multiplicity: all electrons that RDKit calls radical ones are parallel."""
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    return Electrons(Chem.GetFormalCharge(molecule), 1 + unpaired)


def _first(text: str) -> Chem.Mol | None:
    """Return the molecule of the SMILES at the start of a text."""
    return _parsed(text.split(maxsplit=1)[0]) if text.strip() else None


def _parsed(text: str) -> Chem.Mol | None:
    with rdBase.BlockLogs():
        return Chem.MolFromSmiles(text)


def check(molecule: Chem.Mol, what: str) -> None:
    """Raise :class:`PalirsError` unless it is one molecule of fair size."""
    size, parts = molecule.GetNumHeavyAtoms(), len(Chem.GetMolFrags(molecule))
    if size > LARGEST:
        raise PalirsError(
            f"molecules: {what} has {size} atoms; at most {LARGEST} beside hydrogen are treated"
        )
    check_elements(molecule, what)
    if Chem.AddHs(molecule).GetNumAtoms() < 2:
        raise PalirsError(
            f"molecules: {what} is one atom, which has no vibrations; at least two are needed"
        )
    if parts > 1:
        raise PalirsError(
            f"molecules: {what} is {parts} molecules; give them one by one, or a complex as "
            "molecules.files=[my.xyz] with molecules.complexes=true"
        )


def check_elements(molecule: Chem.Mol, what: str) -> None:
    """Raise :class:`PalirsError` for atoms without an element, or with several alternatives."""
    for atom in molecule.GetAtoms():
        if not atom.GetAtomicNum():
            raise PalirsError(
                f"molecules: {what} has an atom without an element, '*'; write which one it is"
            )
        if atom.HasQuery():
            raise PalirsError(
                f"molecules: {what} has an atom that may be one of several, "
                f"number {atom.GetIdx() + 1}; write which one it is"
            )


def _name(molecule: Chem.Mol) -> str:
    """Return a name of the formula and the first letters of the InChIKey.

    Those of its second part are added where it encodes stereochemistry or isotopes.
    """
    with rdBase.BlockLogs():
        composition = rdMolDescriptors.CalcMolFormula(
            molecule, separateIsotopes=True, abbreviateHIsotopes=True
        )
        skeleton, details, *_ = [*Chem.MolToInchiKey(molecule).split("-"), ""]
    suffix = "" if details.startswith("UHFFFAOYS") else f"-{details[:3]}"
    return f"{composition}-{skeleton[:6]}{suffix}"


def _summary(energies: list[float], count: int) -> str:
    if len(energies) == 1:
        return "one conformer"
    above = ", ".join(f"{energy - energies[0]:.1f}" for energy in energies[1:6])
    more = f" and {len(energies) - 6} more" if len(energies) > 6 else ""
    taken = "the lowest one is" if count == 1 else f"the lowest {min(count, len(energies))} are"
    return f"{taken} taken of {len(energies)} conformers, the others {above} kcal/mol above{more}"


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
    molecule: Chem.Mol, atoms: Atoms, placed: list[dict[int, float]]
) -> list[dict[int, float]]:
    """Return those isotopes of a geometry, or its mirror image, that fit the SMILES."""
    centres = [
        atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED for atom in molecule.GetAtoms()
    ]
    bonds = [bond.GetStereo() > Chem.BondStereo.STEREOANY for bond in molecule.GetBonds()]
    mirrored = atoms.copy()
    mirrored.positions[:, 2] *= -1
    if not any(centres + bonds):
        return placed
    try:
        wholes = [molecule_of(each) for each in (atoms, mirrored)]
    except ValueError:
        return placed
    if not wholes[0].HasSubstructMatch(_plain(molecule)):
        return placed  # bonds are written in another way
    return [
        isotopes for isotopes in placed if any(_fits(molecule, whole, isotopes) for whole in wholes)
    ]


def _fits(molecule: Chem.Mol, whole: Chem.Mol, isotopes: dict[int, float]) -> bool:
    candidate = Chem.Mol(whole)
    for atom, isotope in isotopes.items():
        candidate.GetAtomWithIdx(atom).SetIsotope(int(isotope))
    Chem.AssignStereochemistryFrom3D(candidate)
    return candidate.HasSubstructMatch(molecule, useChirality=True)


def _plain(molecule: Chem.Mol) -> Chem.Mol:
    """Return a molecule without isotopes, and without stereochemistry."""
    plain = Chem.Mol(molecule)
    for atom in plain.GetAtoms():
        atom.SetIsotope(0)
    Chem.RemoveStereochemistry(plain)
    return plain
