"""Program that embeds one molecule, in a process of its own.

RDKit does not always heed a time limit or Ctrl-C, but a process can be killed.

It reads a pickled :class:`Request` from standard input and writes a pickled :class:`Answer`, or the
reason why there is none, to standard output; :mod:`palirs.geometry.embedding` runs it. Only RDKit
is imported here, which takes a seventh of a second.
"""

import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from rdkit import Chem, RDLogger
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolDescriptors
from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers, StereoEnumerationOptions

EMBEDDED, MOST = 30, 300
"""Conformers that are tried, plus as many for each rotatable bond, and at most so many."""
SEED = 61453
"""Seed of the embedding, so that a molecule has the same geometries every time."""
STEPS = 2000
"""Steps of a relaxation at most."""
NAMED, LOOKING = 3, 5.0
"""Most other isomers that are named, and the CPU time for finding them [s]."""


@dataclass(frozen=True)
class Request:
    """A molecule to embed.

    Attributes
    ----------
    molecule : Chem.Mol
        With its hydrogen atoms, unless its stereochemistry is ``open``.
    open : bool
        Whether the stereochemistry may be open, so that one isomer is to be chosen.
    patience : float
        CPU time after which a molecule without any geometry is given up [s].
    """

    molecule: Chem.Mol
    open: bool
    patience: float


@dataclass(frozen=True)
class Answer:
    """Conformers of the molecule of a request.

    Attributes
    ----------
    isomer : Chem.Mol
        The embedded isomer, with the hydrogen atoms of the request.
    positions : list
        Positions of each conformer, ``[conformers][N][3]`` [Å].
    energies : list of float
        Energies by the force field [kcal/mol]; infinite where its relaxation failed.
    taken : str
        SMILES of the isomer.
    others : list of str
        SMILES of isomers that fit the request as well, without mirror images; at most
        :data:`NAMED`.
    """

    isomer: Chem.Mol
    positions: list
    energies: list[float]
    taken: str = ""
    others: list[str] = field(default_factory=list)


def answer(request: Request, hopeful: threading.Event) -> Answer:
    """Embed a molecule and relax its conformers.

    Parameters
    ----------
    request : Request
        What to embed.
    hopeful : threading.Event
        Set at the first geometry.

    Raises
    ------
    ValueError
        If there is no geometry; ``of ...`` may follow the message.
    """
    molecule = isomer = request.molecule
    if request.open:
        options = StereoEnumerationOptions(tryEmbedding=True, rand=SEED)
        isomer = next(iter(EnumerateStereoisomers(molecule, options)), molecule)
    whole = Chem.AddHs(isomer) if request.open else Chem.Mol(isomer)
    embed(whole, hopeful)
    energies = relax(whole)
    positions = [conformer.GetPositions().tolist() for conformer in whole.GetConformers()]
    lowest = min(range(len(energies)), key=lambda number: energies[number])
    named = isomers(molecule, isomer, whole, lowest) if request.open else ("", [])
    return Answer(isomer, positions, energies, *named)


def embed(molecule: Chem.Mol, hopeful: threading.Event) -> None:
    """Embed conformers by ETKDGv3, from random coordinates where that fails otherwise."""
    bare = Chem.RemoveHs(molecule)
    trials = min(MOST, EMBEDDED * (1 + rdMolDescriptors.CalcNumRotatableBonds(bare)))
    parameters = rdDistGeom.ETKDGv3()
    for parameters.useRandomCoords in (False, True):
        for number in range(trials):  # the seed that each has in EmbedMultipleConfs
            parameters.randomSeed = SEED * (number + 1)
            if rdDistGeom.EmbedMolecule(Chem.Mol(molecule), parameters) >= 0:
                hopeful.set()
                parameters.randomSeed = SEED
                rdDistGeom.EmbedMultipleConfs(molecule, trials, parameters)
                return
    raise ValueError("RDKit finds no geometry")


def relax(molecule: Chem.Mol) -> list[float]:
    """Relax every conformer by MMFF94s, or UFF where that lacks parameters.

    Return the energies [kcal/mol], infinite where the relaxation fails.
    """
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        results = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(
            molecule, maxIters=STEPS, mmffVariant="MMFF94s"
        )
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(molecule):
        results = rdForceFieldHelpers.UFFOptimizeMoleculeConfs(molecule, maxIters=STEPS)
    else:
        raise ValueError("neither MMFF94 nor UFF knows all atoms")
    return [energy if failed >= 0 else float("inf") for failed, energy in results]


def isomers(
    requested: Chem.Mol, chosen: Chem.Mol, whole: Chem.Mol, lowest: int
) -> tuple[str, list[str]]:
    """Return SMILES of the isomer that was taken, and of others that fit the request as well.

    A hydrogen atom of C=N-H, which a SMILES leaves out, is written where it distinguishes two
    isomers: the embedding makes both, and the lower one is taken.
    """
    ends = set()
    for stereo in Chem.FindPotentialStereo(chosen):
        is_open = stereo.specified != Chem.StereoSpecified.Specified
        if is_open and stereo.type == Chem.StereoType.Bond_Double:
            bond = chosen.GetBondWithIdx(stereo.centeredOn)
            atoms = (bond.GetBeginAtom(), bond.GetEndAtom())
            ends |= {atom.GetIdx() for atom in atoms if atom.GetTotalNumHs()}
    if ends:
        requested, chosen = Chem.AddHs(requested, onlyOnAtoms=sorted(ends)), Chem.Mol(whole)
        Chem.AssignStereochemistryFrom3D(chosen, chosen.GetConformers()[lowest].GetId())
        chosen = Chem.RemoveHs(chosen)
    taken, others = Chem.MolToSmiles(chosen), list[str]()
    images = {_either_image(chosen)}
    for isomer in _possible(requested):
        image = _either_image(isomer)
        if image not in images:
            images.add(image)
            others.append(Chem.MolToSmiles(isomer))
        if len(others) == NAMED:
            break
    return taken, others


def _possible(molecule: Chem.Mol) -> Iterator[Chem.Mol]:
    """Yield isomers that can be embedded, until the time is up."""
    parameters, end = rdDistGeom.ETKDGv3(), time.process_time() + LOOKING
    parameters.randomSeed, parameters.timeout = SEED, 2
    for isomer in EnumerateStereoisomers(molecule, StereoEnumerationOptions(rand=SEED)):
        if rdDistGeom.EmbedMolecule(Chem.AddHs(isomer), parameters) >= 0:
            yield Chem.RemoveHs(isomer)
        if time.process_time() > end:
            return


def _either_image(molecule: Chem.Mol) -> str:
    """Return one SMILES for a molecule and its mirror image, which have the same spectrum."""
    mirrored = Chem.Mol(molecule)
    for atom in mirrored.GetAtoms():
        atom.InvertChirality()
    return min(Chem.MolToSmiles(molecule), Chem.MolToSmiles(mirrored))


def give_up(seconds: float, hopeful: threading.Event, out: BinaryIO) -> None:
    """End the process if there is no geometry after so many seconds of CPU time."""
    while not hopeful.wait(0.2):
        if time.process_time() > seconds:
            pickle.dump(f"RDKit finds, within {seconds:g} s of CPU time, no geometry", out)
            out.flush()
            os._exit(0)


def main() -> None:
    """Answer the request on standard input; output of RDKit goes to standard error."""
    out, hopeful = os.fdopen(os.dup(1), "wb"), threading.Event()
    os.dup2(2, 1)
    RDLogger.DisableLog("rdApp.*")
    request = pickle.load(sys.stdin.buffer)
    threading.Thread(target=give_up, args=(request.patience, hopeful, out), daemon=True).start()
    try:
        reply = answer(request, hopeful)
    except ValueError as error:
        reply = str(error)
    hopeful.set()
    pickle.dump(reply, out)
    out.close()


if __name__ == "__main__":
    main()
