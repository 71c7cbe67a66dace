"""Conformers of a molecule, embedded and relaxed by RDKit.

RDKit runs in a separate process, which has a time limit and ends when the program is interrupted.
"""

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from math import comb
from typing import TypeVar

import numpy as np
from ase import Atoms
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds

from palirs.geometry.distinct import distances
from palirs.geometry.electrons import Electrons
from palirs.geometry.embedding_process import Answer, Request

T = TypeVar("T")

log = logging.getLogger(__name__)

SAME = 0.1
"""Conformers whose sorted distances all differ by at most this [Å] are duplicates."""
DIGITS = 4
"""Decimal digits of start geometries [Å]: the last digits of a minimum depend on the machine."""
PATIENCE = 60.0
"""CPU time without any geometry after which a molecule is given up [s]: most molecules get their
first geometry within a second, cages and cyclophanes may be tried for hours."""
LONGEST = 600.0
"""Time limit of a molecule [s]; erythromycin, 118 atoms, takes two minutes."""
SILENT, REMINDED = 5.0, 60.0
"""Time until the first log line about the wait, and between further ones [s]."""
ORDERS = 1_000_000
"""Most assignments of bond orders that are tried, for a few seconds; those of usual molecules are
found within a thousand."""
LONE_PAIRS = {7, 8, 9, 15, 16, 17, 34, 35, 53}
"""Atomic numbers of elements that usually have a lone pair."""
PLACED_ORDERS = 10_000
"""Most assignments of bond orders that are tried for each place of the unpaired electrons."""
PLACES = 2_000
"""Most places of the unpaired electrons that are tried, for some seconds."""


@dataclass(frozen=True)
class Embedding:
    """Conformers of a molecule.

    Attributes
    ----------
    molecule : Chem.Mol
        The isomer, with hydrogen atoms where the given molecule has them.
    conformers : list of tuple
        Energy by the force field [kcal/mol] and geometry, the lowest first.
    taken : str
        SMILES of the isomer, where the stereochemistry was open.
    others : list of str
        SMILES of isomers that fit as well, not counting mirror images.
    """

    molecule: Chem.Mol
    conformers: list[tuple[float, Atoms]]
    taken: str = ""
    others: list[str] = field(default_factory=list)


def conformers_like(atoms: Atoms) -> list[tuple[float, Atoms]]:
    """Return energies [kcal/mol] and conformers of the molecule of a structure, lowest first.

    The atoms keep their order. Bonds and stereochemistry are those of the structure (Kim and Kim
    2015, doi:10.1002/bkcs.10334).

    Raises
    ------
    ValueError
        If RDKit cannot determine the bonds, or the force fields lack an atom type.
    """
    return embedded(molecule_of(atoms), str(atoms.symbols)).conformers


def canonical_of(atoms: Atoms) -> str | None:
    """Return the canonical SMILES of a structure, without stereochemistry.

    ``None`` if RDKit cannot determine its bonds.
    """
    try:
        molecule = molecule_of(atoms)
        with rdBase.BlockLogs():
            molecule = Chem.RemoveHs(molecule)
    except ValueError:
        return None
    return Chem.MolToSmiles(molecule, isomericSmiles=False)


def molecule_of(atoms: Atoms) -> Chem.Mol:
    """Return the molecule of a structure, with bonds and stereochemistry by its geometry.

    RDKit gives a radical single bonds only (allyl would have three unpaired electrons), so bonds
    are those of a closed shell with a hydrogen atom more for each unpaired electron, and those of a
    radical cation, which may have lost a bonding electron, are the neutral molecule's.

    Raises
    ------
    ValueError
        If RDKit cannot determine the bonds, or knows none that fit charge and multiplicity.
    """
    electrons = Electrons.of(atoms)
    if not electrons.unpaired:
        return _closed(atoms, electrons.charge)
    if electrons == Electrons(1, 2):
        try:
            cation = _ionised(_closed(atoms, 0))
        except ValueError:
            cation = None
        if cation is not None:
            return cation
    molecule = _radical(_connected(atoms), electrons.charge, electrons.unpaired)
    Chem.AssignStereochemistryFrom3D(molecule)
    return molecule


def _closed(atoms: Atoms, charge: int) -> Chem.Mol:
    """Return the closed shell of a structure that has this charge [e], see :func:`molecule_of`."""
    with rdBase.BlockLogs():
        molecule = _unbonded(atoms)
        try:
            rdDetermineBonds.DetermineBonds(molecule, charge=charge, maxIterations=ORDERS)
        except RuntimeError as error:  # too many assignments of bond orders
            raise ValueError("RDKit cannot tell the orders of the bonds") from error
        Chem.AssignStereochemistryFrom3D(molecule)
    return molecule


def _connected(atoms: Atoms) -> Chem.Mol:
    """Return a molecule whose bonds have no orders yet."""
    with rdBase.BlockLogs():
        molecule = _unbonded(atoms)
        rdDetermineBonds.DetermineConnectivity(molecule)
    return molecule


def _radical(connected: Chem.Mol, charge: int, unpaired: int) -> Chem.Mol:
    """Return a molecule with unpaired electrons where hydrogen atoms would make a closed shell.

    Of several formulas that of fewest charged atoms is taken, then of most aromatic atoms, then of
    unpaired electrons on the lightest elements, and then the first SMILES: it does not depend on
    the order of the atoms.

    Parameters
    ----------
    connected : Chem.Mol
        Which atoms are bonded; orders do not matter.
    charge : int
        Of the molecule [e].
    unpaired : int
        Number of unpaired electrons.

    Raises
    ------
    ValueError
        If there is no such formula.
    """
    heavy = [atom.GetIdx() for atom in connected.GetAtoms() if atom.GetAtomicNum() > 1]
    if comb(len(heavy) + unpaired - 1, unpaired) > PLACES:
        raise ValueError(f"RDKit cannot tell where {unpaired} unpaired electrons are")
    with rdBase.BlockLogs():
        formulas = list(_formulas(connected, charge, unpaired, heavy))
    if not formulas:
        raise ValueError(
            f"RDKit knows no bonds with charge {charge:+d} and {unpaired} unpaired electron(s)"
        )
    return min(formulas, key=_rank)


def _formulas(
    connected: Chem.Mol, charge: int, unpaired: int, heavy: Sequence[int]
) -> Iterator[Chem.Mol]:
    """Yield a molecule for each place of the unpaired electrons that makes one."""
    for places in combinations_with_replacement(heavy, unpaired):
        whole = Chem.RWMol(connected)
        for place in places:
            whole.AddBond(place, whole.AddAtom(Chem.Atom(1)), Chem.BondType.SINGLE)
        try:
            rdDetermineBonds.DetermineBondOrders(
                whole, charge=charge, embedChiral=False, maxIterations=PLACED_ORDERS
            )
            for added in range(whole.GetNumAtoms() - 1, connected.GetNumAtoms() - 1, -1):
                whole.RemoveAtom(added)
            for place in places:
                atom = whole.GetAtomWithIdx(place)
                atom.SetNumRadicalElectrons(atom.GetNumRadicalElectrons() + 1)
                atom.SetNoImplicit(True)
            Chem.SanitizeMol(whole)
        except (ValueError, RuntimeError):  # no bond orders, or too many
            continue
        if _fits(whole, charge, unpaired):
            yield whole.GetMol()


def _rank(molecule: Chem.Mol) -> tuple[int, int, int, str]:
    """Return what is small for a formula that describes a radical well."""
    atoms = list(molecule.GetAtoms())
    return (
        sum(atom.GetFormalCharge() != 0 for atom in atoms),
        -sum(atom.GetIsAromatic() for atom in atoms),
        sum(atom.GetNumRadicalElectrons() * atom.GetAtomicNum() for atom in atoms),
        Chem.MolToSmiles(molecule),
    )


def _ionised(neutral: Chem.Mol) -> Chem.Mol | None:
    """Return the radical cation of a molecule, which keeps its bonds; ``None`` if it is a radical.

    The electron comes from an atom with a negative charge, else from one with a lone pair: the
    first in RDKit's canonical order. One that comes from a bond is still written there.
    """
    atoms = list(neutral.GetAtoms())
    if any(atom.GetNumRadicalElectrons() for atom in atoms):
        return None
    negative = [atom for atom in atoms if atom.GetFormalCharge() < 0]
    lone = [atom for atom in atoms if atom.GetAtomicNum() in LONE_PAIRS]
    ranks = list(Chem.CanonicalRankAtoms(neutral))
    for atom in sorted(negative or lone, key=lambda atom: ranks[atom.GetIdx()])[:1]:
        atom.SetFormalCharge(atom.GetFormalCharge() + 1)
        atom.SetNumRadicalElectrons(1)
        atom.SetNoImplicit(True)
    return neutral


def _fits(molecule: Chem.Mol, charge: int, unpaired: int) -> bool:
    """Tell whether a molecule has this charge [e] and number of unpaired electrons."""
    radicals = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    return Chem.GetFormalCharge(molecule) == charge and radicals == unpaired


def _unbonded(atoms: Atoms) -> Chem.Mol:
    return Chem.MolFromXYZBlock(
        f"{len(atoms)}\n\n" + "\n".join(f"{a.symbol} {a.x:.8f} {a.y:.8f} {a.z:.8f}" for a in atoms)
    )


def embedded(molecule: Chem.Mol, name: str, open_stereo: bool = False) -> Embedding:
    """Embed the conformers of a molecule.

    By ETKDGv3 (Wang et al. 2020, doi:10.1021/acs.jcim.0c00025), and relaxed by MMFF94s,
    or UFF where that has no parameters.

    Parameters
    ----------
    molecule : Chem.Mol
        With its hydrogen atoms, unless its stereochemistry is open.
    name : str
        For the log.
    open_stereo : bool
        Stereochemistry is open: one isomer is chosen, the others are named.

    Raises
    ------
    ValueError
        If there is none, or none in time; ``of ...`` may follow the message.
    """
    answer = _answer(Request(molecule, open_stereo, PATIENCE), name)
    whole = Chem.AddHs(answer.isomer) if open_stereo else answer.isomer
    numbers, masses = [atom.GetAtomicNum() for atom in whole.GetAtoms()], isotopic_masses(whole)
    conformers = []
    for number in np.argsort(answer.energies, kind="stable"):
        positions = np.round(np.array(answer.positions[number]), DIGITS)
        atoms = Atoms(numbers, positions=positions, masses=masses)
        conformers.append((float(answer.energies[number]), atoms))
    conformers = differing(conformers, lambda pair: pair[1])
    return Embedding(answer.isomer, conformers, answer.taken, answer.others)


def isotopic_masses(molecule: Chem.Mol) -> list[float] | None:
    """Return the masses of the atoms [amu] if isotopes are specified, else ``None``."""
    atoms = list(molecule.GetAtoms())
    return [atom.GetMass() for atom in atoms] if any(atom.GetIsotope() for atom in atoms) else None


def differing(candidates: Sequence[T], structure: Callable[[T], Atoms]) -> list[T]:
    """Return the candidates without later duplicates, mirror images among them."""
    rows, kept = [], []
    for candidate in candidates:
        row = distances(structure(candidate))
        if all(np.abs(row - other).max() > SAME for other in rows):
            rows.append(row)
            kept.append(candidate)
    return kept


def _answer(request: Request, name: str) -> Answer:
    """Run the process; end it with this program or after the time limit."""
    program = "from palirs.geometry.embedding_process import main; main()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command, pipe = [sys.executable, "-c", program], subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment
    ) as process:
        try:
            out, errors = _waited(process, pickle.dumps(request), name)
        finally:  # also after an interrupt
            process.kill()
    if process.returncode:
        lines = errors.decode(errors="replace").strip().splitlines()
        reason = lines[-1][:200] if lines else f"exit status {process.returncode}"
        raise ValueError(f"RDKit fails ({reason}) at the geometry")
    answer = pickle.loads(out)
    if isinstance(answer, str):
        raise ValueError(answer)
    return answer


def _waited(process: subprocess.Popen, request: bytes, name: str) -> tuple[bytes, bytes]:
    waited, wait, input_data = 0.0, SILENT, request
    while True:
        try:
            return process.communicate(input_data, timeout=min(wait, LONGEST - waited))
        except subprocess.TimeoutExpired:
            waited, wait, input_data = waited + wait, REMINDED, None  # input is sent only once
        if waited >= LONGEST:
            raise ValueError(
                f"RDKit does not come to an end within {LONGEST:g} s with the geometries"
            )
        log.info(
            "%s: RDKit has been making geometries for %.0f s; it is given up after %.0f s of CPU "
            "time without any, or %.0f s in all",
            name,
            waited,
            PATIENCE,
            LONGEST,
        )
