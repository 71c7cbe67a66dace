"""Geometries of a molecule by RDKit: conformers are embedded and relaxed by a force field."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from ase import Atoms
from rdkit import Chem, RDLogger
from rdkit.Chem import rdDetermineBonds, rdDistGeom, rdForceFieldHelpers, rdMolDescriptors

from palirs.geometry.distinct import distances

T = TypeVar("T")

EMBEDDED, MOST = 30, 300
"""Conformers that are tried, for each rotatable bond as many more, and so many at most."""
SEED = 61453
"""Of the embedding, so that a molecule has the same geometries every time."""
SAME = 0.1
"""Conformers of which no distance between atoms differs by more than this [Å] are one."""
DIGITS = 4
"""Of start geometries [Å]: what the last digits of a force field's minimum are depends on the machine."""
STEPS = 2000


def conformers_like(atoms: Atoms) -> list[tuple[float, Atoms]]:
    """Return conformers of the molecule that a structure is, its atoms in their order, with energies [kcal/mol], the lowest first.

    Bonds and stereochemistry are those of the structure (Kim and Kim 2015, doi:10.1002/bkcs.10334).

    Raises
    ------
    ValueError
        If RDKit cannot tell the bonds, or the force fields do not know an atom.
    """
    return embedded(_molecule_of(atoms))


def canonical_of(atoms: Atoms) -> str | None:
    """Return the canonical SMILES of a structure, without stereochemistry; ``None`` if RDKit cannot tell its bonds."""
    try:
        molecule = Chem.RemoveHs(_molecule_of(atoms))
    except ValueError:
        return None
    return Chem.MolToSmiles(molecule, isomericSmiles=False)


def _molecule_of(atoms: Atoms) -> Chem.Mol:
    block = f"{len(atoms)}\n\n" + "\n".join(f"{a.symbol} {a.x:.8f} {a.y:.8f} {a.z:.8f}" for a in atoms)
    with Quiet():
        molecule = Chem.MolFromXYZBlock(block)
        rdDetermineBonds.DetermineBonds(molecule, charge=0)
        Chem.AssignStereochemistryFrom3D(molecule)
    return molecule


def embedded(molecule: Chem.Mol) -> list[tuple[float, Atoms]]:
    """Return the conformers of a molecule with its hydrogen atoms, and their energies [kcal/mol], the lowest first.

    They are embedded by ETKDGv3 (Wang et al. 2020, doi:10.1021/acs.jcim.0c00025), relaxed by MMFF94s, or UFF where that has no parameters.

    Raises
    ------
    ValueError
        If there is none, in words that ``of ...`` may follow.
    """
    trials = min(MOST, EMBEDDED * (1 + rdMolDescriptors.CalcNumRotatableBonds(Chem.RemoveHs(molecule))))
    parameters = rdDistGeom.ETKDGv3()
    parameters.randomSeed = SEED
    if not len(rdDistGeom.EmbedMultipleConfs(molecule, trials, parameters)):
        parameters.useRandomCoords = True
        rdDistGeom.EmbedMultipleConfs(molecule, trials, parameters)
    if not molecule.GetNumConformers():
        raise ValueError("RDKit finds no geometry")
    energies = _relax(molecule)
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    masses = [atom.GetMass() for atom in molecule.GetAtoms()] if any(atom.GetIsotope() for atom in molecule.GetAtoms()) else None
    found = []
    for number in np.argsort(energies, kind="stable"):
        positions = np.round(molecule.GetConformer(int(number)).GetPositions(), DIGITS)
        found.append((float(energies[number]), Atoms(numbers, positions=positions, masses=masses)))
    return differing(found, lambda pair: pair[1])


def differing(found: Sequence[T], structure: Callable[[T], Atoms]) -> list[T]:
    """Return the first of those that are one conformer, up to mirror images and exchange of equal atoms."""
    rows, kept = [], []
    for one in found:
        row = distances(structure(one))
        if all(np.abs(row - other).max() > SAME for other in rows):
            rows.append(row)
            kept.append(one)
    return kept


def _relax(molecule: Chem.Mol) -> np.ndarray:
    """Relax every conformer and return the energies [kcal/mol], infinite where that fails."""
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        found = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(molecule, maxIters=STEPS, mmffVariant="MMFF94s")
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(molecule):
        found = rdForceFieldHelpers.UFFOptimizeMoleculeConfs(molecule, maxIters=STEPS)
    else:
        raise ValueError("neither MMFF94 nor UFF knows all atoms")
    return np.array([energy if failed >= 0 else np.inf for failed, energy in found])


class Quiet:
    """RDKit says in its own way, on the terminal, what is wrong with a string that may be a name."""

    def __enter__(self) -> None:
        RDLogger.DisableLog("rdApp.*")

    def __exit__(self, *_: object) -> None:
        RDLogger.EnableLog("rdApp.*")
