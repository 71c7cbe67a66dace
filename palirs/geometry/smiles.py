"""From a SMILES string to start geometries: RDKit embeds conformers, a force field orders them by energy."""

import logging

from ase import Atoms
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers, StereoEnumerationOptions

from palirs import keys
from palirs.geometry.embedding import SEED, Quiet, embedded
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)

LARGEST = 150
"""Atoms without hydrogen: to embed more takes minutes, and their MD is out of reach."""


def canonical(text: str) -> str | None:
    """Return the SMILES as RDKit writes it, or ``None`` where it is none."""
    molecule = _parsed(text.partition(" ")[0]) if text else None
    return None if molecule is None else Chem.MolToSmiles(molecule)


def size(text: str) -> int | None:
    """Return how many atoms the molecule of a SMILES has, hydrogen too; ``None`` where it is none."""
    molecule = _parsed(text.partition(" ")[0]) if text else None
    return None if molecule is None else Chem.AddHs(molecule).GetNumAtoms()


def conformers(text: str, count: int = 1) -> list[Atoms]:
    """Return conformers of a molecule, the lowest in energy first.

    Conformers are embedded by ETKDGv3 (Wang et al. 2020, doi:10.1021/acs.jcim.0c00025), relaxed by MMFF94s, or UFF where that has no
    parameters, and ordered by its energy. Isotopes of the SMILES become masses [amu].

    Parameters
    ----------
    text : str
        A SMILES; after a space the name of the molecule, as in ``.smi`` files. Without one it is called by its formula and the first
        letters of its InChIKey, C3H6O-CSCPPA.
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
    smiles, _, name = text.strip().partition(" ")
    molecule = _parsed(smiles)
    if molecule is None or not molecule.GetNumAtoms():
        raise PalirsError(f"molecules: RDKit cannot read the SMILES {smiles!r}")
    _check(smiles, molecule)
    molecule = _one_isomer(smiles, molecule)
    name = name.strip() or _name(molecule)
    whole = Chem.AddHs(molecule)
    try:
        found = embedded(whole)
    except ValueError as error:
        raise PalirsError(f"molecules: {error} of the SMILES {smiles!r}; give molecules.files=[my.xyz]") from error
    log.info("%s: %s, %s", smiles, name, _told([energy for energy, _ in found], count))
    for number, (_, atoms) in enumerate(found[:count], start=1):
        atoms.info[keys.MOLECULE] = name if number == 1 else f"{name}-{number}"
    return [atoms for _, atoms in found[:count]]


def _parsed(text: str) -> Chem.Mol | None:
    with Quiet():
        return Chem.MolFromSmiles(text)


def _check(smiles: str, molecule: Chem.Mol) -> None:
    """Refuse what a closed-shell treatment of neutral molecules does not cover."""
    size, parts, charge = molecule.GetNumAtoms(), len(Chem.GetMolFrags(molecule)), Chem.GetFormalCharge(molecule)
    if size > LARGEST:
        raise PalirsError(f"molecules: the SMILES {smiles[:40]!r}… has {size} atoms; at most {LARGEST} beside hydrogen are treated")
    if any(not atom.GetAtomicNum() for atom in molecule.GetAtoms()):
        raise PalirsError(f"molecules: the SMILES {smiles!r} has an atom without an element, '*'; write which one it is")
    if charge:
        raise PalirsError(f"molecules: the SMILES {smiles!r} has charge {charge:+d} e; only neutral molecules are treated")
    if parts > 1:
        raise PalirsError(
            f"molecules: the SMILES {smiles!r} is {parts} molecules; give them one by one, or a complex as molecules.files=[my.xyz] with "
            f"molecules.complexes=true"
        )
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    if unpaired:
        raise PalirsError(f"molecules: the SMILES {smiles!r} has {unpaired} unpaired electron(s); only closed-shell molecules are treated")


def _one_isomer(smiles: str, molecule: Chem.Mol) -> Chem.Mol:
    """Return a molecule without open stereocentres, whose conformers are then those of one isomer; say so where it matters.

    One open centre leaves two mirror images, which have one spectrum.
    """
    left = [one for one in Chem.FindPotentialStereo(molecule) if one.specified == Chem.StereoSpecified.Unspecified]
    if not left:
        return molecule
    chosen = next(iter(EnumerateStereoisomers(molecule, StereoEnumerationOptions(tryEmbedding=True, rand=SEED))), molecule)
    if len(left) > 1 or left[0].type == Chem.StereoType.Bond_Double:
        log.warning("%s leaves stereochemistry open; %s is taken, write another one to have it", smiles, Chem.MolToSmiles(chosen))
    return chosen


def _name(molecule: Chem.Mol) -> str:
    """Return formula and first letters of the InChIKey, of its second part too where stereochemistry or isotopes are in it."""
    formula = rdMolDescriptors.CalcMolFormula(molecule, separateIsotopes=True, abbreviateHIsotopes=True)
    with Quiet():
        skeleton, rest, *_ = [*Chem.MolToInchiKey(molecule).split("-"), ""]
    return f"{formula}-{skeleton[:6]}" + ("" if rest.startswith("UHFFFAOYS") else f"-{rest[:3]}")


def _told(energies: list[float], count: int) -> str:
    if len(energies) == 1:
        return "one conformer"
    above = ", ".join(f"{energy - energies[0]:.1f}" for energy in energies[1:6])
    more = f" and {len(energies) - 6} more" if len(energies) > 6 else ""
    taken = "the lowest one is" if count == 1 else f"the lowest {min(count, len(energies))} are"
    return f"{taken} taken of {len(energies)} conformers, the others {above} kcal/mol above{more}"
