"""From a SMILES string to start geometries: RDKit embeds conformers, a force field orders them by energy."""

import logging

from ase import Atoms
from rdkit import Chem, rdBase
from rdkit.Chem import rdMolDescriptors

from palirs import keys
from palirs.geometry.embedding import embedded
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)

LARGEST = 150
"""Atoms without hydrogen: to embed more takes minutes, and their MD is out of reach."""


def canonical(text: str) -> str | None:
    """Return the SMILES as RDKit writes it, or ``None`` where it is none."""
    molecule = _first(text)
    return None if molecule is None else Chem.MolToSmiles(molecule)


def size(text: str) -> int | None:
    """Return how many atoms the molecule of a SMILES has, hydrogen too; ``None`` where it is none."""
    molecule = _first(text)
    return None if molecule is None else Chem.AddHs(molecule).GetNumAtoms()


def formula(text: str) -> str | None:
    """Return the molecular formula of a SMILES in the order of Hill; ``None`` where it is none."""
    molecule = _first(text)
    return None if molecule is None else rdMolDescriptors.CalcMolFormula(molecule)


def conformers(text: str, count: int = 1) -> list[Atoms]:
    """Return conformers of a molecule, the lowest in energy first.

    Isotopes of the SMILES become masses [amu].

    Parameters
    ----------
    text : str
        A SMILES; after a space the name of the molecule, as in ``.smi`` files. Without one it is
        called by its formula and the first letters of its InChIKey, C3H6O-CSCPPA.
    count : int
        So many at most. The second is called ``name-2``.

    Returns
    -------
    list of Atoms
        With ``info['molecule']``.

    Raises
    ------
    PalirsError
        For what is no SMILES, a charge, unpaired electrons, or a molecule that cannot be embedded.
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
        Of a SMILES, or a sketch.
    label, what : str
        What the log calls it, and errors.
    name : str
        Of the molecule; empty for one made of its formula.
    count : int
        So many at most.

    Raises
    ------
    PalirsError
        For what is not treated.
    """
    check(molecule, what)
    specified = {stereo.specified for stereo in Chem.FindPotentialStereo(molecule)}
    unsure = bool(specified - {Chem.StereoSpecified.Specified})
    try:
        found = embedded(molecule if unsure else Chem.AddHs(molecule), name or label, unsure)
    except ValueError as error:
        raise PalirsError(
            f"molecules: {error} of {what}; give its geometry as molecules.files=[my.xyz]"
        ) from error
    name = name or _name(found.molecule if unsure else molecule)
    if found.others:
        verb = "is another isomer" if len(found.others) == 1 else "are other isomers"
        also = f"{', '.join(found.others)} {verb}"
        log.warning(
            "%s leaves stereochemistry open: %s is taken, %s; write the one that is meant",
            label,
            found.taken,
            also,
        )
    log.info("%s: %s, %s", label, name, _told([energy for energy, _ in found.conformers], count))
    for number, (_, atoms) in enumerate(found.conformers[:count], start=1):
        atoms.info[keys.MOLECULE] = name if number == 1 else f"{name}-{number}"
    return [atoms for _, atoms in found.conformers[:count]]


def _first(text: str) -> Chem.Mol | None:
    """Return the molecule of the SMILES that a text begins with."""
    return _parsed(text.split(maxsplit=1)[0]) if text.strip() else None


def _parsed(text: str) -> Chem.Mol | None:
    with rdBase.BlockLogs():
        return Chem.MolFromSmiles(text)


def check(molecule: Chem.Mol, what: str) -> None:
    """Refuse what a closed-shell treatment of neutral molecules does not cover."""
    size, parts, charge = (
        molecule.GetNumHeavyAtoms(),
        len(Chem.GetMolFrags(molecule)),
        Chem.GetFormalCharge(molecule),
    )
    if size > LARGEST:
        raise PalirsError(
            f"molecules: {what} has {size} atoms; at most {LARGEST} beside hydrogen are treated"
        )
    check_elements(molecule, what)
    if charge:
        raise PalirsError(
            f"molecules: {what} has charge {charge:+d} e; only neutral molecules are treated"
        )
    if parts > 1:
        raise PalirsError(
            f"molecules: {what} is {parts} molecules; give them one by one, or a complex as molecules.files=[my.xyz] with "
            f"molecules.complexes=true"
        )
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    if unpaired:
        raise PalirsError(
            f"molecules: {what} has {unpaired} unpaired electron(s); only closed-shell molecules are treated"
        )


def check_elements(molecule: Chem.Mol, what: str) -> None:
    """Refuse atoms that are none, and those that may be one of several."""
    for atom in molecule.GetAtoms():
        if not atom.GetAtomicNum():
            raise PalirsError(
                f"molecules: {what} has an atom without an element, '*'; write which one it is"
            )
        if atom.HasQuery():
            raise PalirsError(
                f"molecules: {what} has an atom that may be one of several, number {atom.GetIdx() + 1}; write which one it is"
            )


def _name(molecule: Chem.Mol) -> str:
    """Return formula and first letters of the InChIKey, of its second part too where stereochemistry or isotopes are in it."""
    with rdBase.BlockLogs():
        composition = rdMolDescriptors.CalcMolFormula(
            molecule, separateIsotopes=True, abbreviateHIsotopes=True
        )
        skeleton, rest, *_ = [*Chem.MolToInchiKey(molecule).split("-"), ""]
    return f"{composition}-{skeleton[:6]}" + (
        "" if rest.startswith("UHFFFAOYS") else f"-{rest[:3]}"
    )


def _told(energies: list[float], count: int) -> str:
    if len(energies) == 1:
        return "one conformer"
    above = ", ".join(f"{energy - energies[0]:.1f}" for energy in energies[1:6])
    more = f" and {len(energies) - 6} more" if len(energies) > 6 else ""
    taken = "the lowest one is" if count == 1 else f"the lowest {min(count, len(energies))} are"
    return f"{taken} taken of {len(energies)} conformers, the others {above} kcal/mol above{more}"
