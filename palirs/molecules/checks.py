"""Checks that a structure is an isolated molecule whose charge and spin are known."""

import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.geometry.bonds import relative_distances
from palirs.geometry.electrons import Electrons
from palirs.molecules.statements import electrons, is_statement, states_multiplicity
from palirs.recipes import PalirsError

CLOSEST_CONTACT = 0.6
"""Closest allowed distance of two atoms, as a fraction of the sum of their covalent radii."""
APART = 1.75
"""Longest bond in units of the sum of the covalent radii: 1.9 Å for C-H, 2.7 Å for C-C."""
LONGEST_NAME = 150
"""Most bytes of a name: file names have at most 255, and longer suffixes follow."""
NOBLE_GASES = (2, 10, 18, 36, 54, 86)


def check(atoms: Atoms, ground_state: bool = True) -> None:
    """Raise :class:`PalirsError` unless a structure is an isolated molecule.

    Its charge and multiplicity, where they are not those of a neutral closed shell, are written to
    ``info`` in the words of the project.

    Parameters
    ----------
    atoms : Atoms
        With ``info['molecule']``.
    ground_state : bool
        Refuse a singlet that nobody has stated where the ground state is known to be a triplet; not
        for structures that have been checked before, which have lost the statement.
    """
    name = atoms.info.get(keys.MOLECULE, str(atoms.symbols))
    if len(atoms) < 2:
        raise PalirsError(
            f"molecule {name!r}: {len(atoms)} atom(s) have no vibrations; at least two are needed"
        )
    check_name(name)
    if atoms.pbc.any():
        raise PalirsError(
            f"molecule {name!r}: periodic boundary conditions are set; only isolated molecules are "
            "treated"
        )
    if not np.isfinite(atoms.positions).all():
        raise PalirsError(f"molecule {name!r}: positions are not finite numbers")
    if not np.isfinite(atoms.get_masses()).all() or (atoms.get_masses() <= 0).any():
        raise PalirsError(
            f"molecule {name!r}: its masses are not positive numbers; the column masses is in amu"
        )
    stated = electrons(atoms, name)
    if ground_state and stated.multiplicity == 1 and not states_multiplicity(atoms, name):
        check_ground_state(atoms, name, stated.charge)
    for key in [key for key in atoms.info if is_statement(key)]:
        del atoms.info[key]
    atoms.info |= stated.info
    _check_contacts(atoms, name)


def check_states(molecules: Sequence[Atoms]) -> None:
    """Raise :class:`PalirsError` for two electronic states of one composition.

    Models see the positions of the nuclei only.
    """
    seen: dict[str, Atoms] = {}
    for atoms in molecules:
        other = seen.setdefault(atoms.symbols.formula.format("hill"), atoms)
        if Electrons.of(atoms) != Electrons.of(other):
            raise PalirsError(
                f"molecules: {other.info[keys.MOLECULE]} ({Electrons.of(other)}) and "
                f"{atoms.info[keys.MOLECULE]} ({Electrons.of(atoms)}) have the same atoms; a "
                "committee sees the positions of nuclei only and cannot tell them apart: give each "
                "a study of its own"
            )


def check_learnt(atoms: Atoms, learnt: Sequence[Atoms]) -> None:
    """Raise :class:`PalirsError` for charge and multiplicity of which models know no molecule.

    Parameters
    ----------
    atoms : Atoms
        To be predicted.
    learnt : sequence of Atoms
        The molecules of the study.
    """
    known = sorted({str(Electrons.of(each)) for each in learnt})
    if str(Electrons.of(atoms)) not in known:
        raise PalirsError(
            f"molecule {atoms.info[keys.MOLECULE]!r} ({Electrons.of(atoms)}): the models know "
            f"molecules that are {' or '.join(known)}; they cannot tell charge and multiplicity "
            "from a structure, so that one needs a study of its own"
        )
    check_states([*learnt, atoms])


def check_name(name: object) -> None:
    """Raise :class:`PalirsError` for a name that cannot be part of file names."""
    if not isinstance(name, str):
        raise PalirsError(
            f"molecule name {str(name)[:60]!r}: it is no text but {type(name).__name__}; write "
            f"{keys.MOLECULE}=<name>"
        )
    if not name or name.startswith(".") or any(_is_strange(character) for character in name):
        raise PalirsError(
            f"molecule name {name!r}: it becomes part of file names, use letters, digits, '-', "
            "'_', ',' and '.'"
        )
    if (size := len(name.encode())) > LONGEST_NAME:
        raise PalirsError(
            f"molecule name {name[:40]!r}…: it becomes part of file names and has {size} bytes; "
            f"give one of at most {LONGEST_NAME}"
        )


def _is_strange(character: str) -> bool:
    """Tell whether a character is a blank, a control character or a path separator."""
    return character in "/\\" or character.isspace() or unicodedata.category(character)[0] == "C"


def check_ground_state(atoms: Atoms, name: str, charge: int = 0) -> None:
    """Raise :class:`PalirsError` for a molecule whose ground state is a triplet, by ASE's G2 set.

    Triplets of the set are compared by composition (O2, SO); diatomic molecules and ions also by
    their number of valence electrons and hydrogen atoms (SeO, NF, PH, OH⁺).
    """
    moments = _g2_moments()
    kinds = (() if charge else _composition(atoms), _diatomic_kind(atoms, charge))
    if any(kind in moments and all(moments[kind]) for kind in kinds):
        raise PalirsError(
            f"molecule {name!r}: the ground state of {atoms.symbols}"
            f"{f' of charge {charge:+d}' if charge else ''} is a triplet; write its "
            "multiplicity, multiplicity=3, or 1 if the singlet is meant"
        )


def may_be_triplet(atoms: Atoms) -> bool:
    """Tell whether the G2 set has a triplet of this composition (CH2)."""
    return any(_g2_moments().get(_composition(atoms), []))


@cache
def _g2_moments() -> dict[tuple, list[bool]]:
    """Return whether molecules of the G2 set have magnetic moments, by composition and kind.

    Those with an odd number of electrons are left out: all of them have.
    """
    moments: dict[tuple, list[bool]] = {}
    from ase.build import molecule as g2_molecule  # takes long to import
    from ase.collections import g2

    for atoms in map(g2_molecule, g2.names):
        if atoms.numbers.sum() % 2:
            continue
        has_moments = bool(atoms.get_initial_magnetic_moments().any())
        for kind in {_composition(atoms), _diatomic_kind(atoms)} - {()}:
            moments.setdefault(kind, []).append(has_moments)
    return moments


def _composition(atoms: Atoms) -> tuple:
    return tuple(sorted(atoms.numbers.tolist()))


def _diatomic_kind(atoms: Atoms, charge: int = 0) -> tuple:
    """Return valence electrons and hydrogen atoms of a diatomic molecule; empty for others.

    Transition metals, whose valence does not follow from their group, are left out too.
    """
    valences = [_valence(number) for number in atoms.numbers.tolist()]
    if len(atoms) != 2 or not all(valences):
        return ()
    return ("diatomic", sum(valences) - charge, int((atoms.numbers == 1).sum()))


def _valence(number: int) -> int:
    """Return the valence electrons of a main group element; 0 for others."""
    outer = number - max((gas for gas in NOBLE_GASES if gas < number), default=0)
    if number <= 20 or outer <= 2:
        return outer
    filled = 10 if number <= 54 else 24  # electrons of d and f shells
    return max(outer - filled, 0) if outer > filled + 2 else 0


def pieces(atoms: Atoms) -> np.ndarray:
    """Return the index of the fragment of each atom, ``[atoms]``, by bonds up to :data:`APART`."""
    from scipy.sparse.csgraph import connected_components  # takes long to import

    return connected_components(relative_distances(atoms) < APART, directed=False)[1]


def check_whole(atoms: Atoms) -> None:
    """Raise :class:`PalirsError` for a structure of several fragments."""
    fragments = pieces(atoms)
    if fragments.max() > 0:
        parts = " and ".join(
            str(Atoms(atoms.numbers[fragments == number]).symbols)
            for number in range(fragments.max() + 1)
        )
        raise PalirsError(
            f"molecule {atoms.info[keys.MOLECULE]!r}: {parts} are not bonded to each other; give "
            "them one by one, or molecules.complexes=true if a complex is meant"
        )


def intact(atoms: Atoms, optimum: Atoms) -> bool:
    """Tell whether a displaced molecule has as many fragments as its optimum, and no overlaps."""
    apart = relative_distances(atoms).min() >= CLOSEST_CONTACT
    return bool(apart and pieces(atoms).max() == pieces(optimum).max())


def _check_contacts(atoms: Atoms, name: str) -> None:
    ratio = relative_distances(atoms)
    i, j = np.unravel_index(ratio.argmin(), ratio.shape)
    if ratio[i, j] < CLOSEST_CONTACT:
        raise PalirsError(
            f"molecule {name!r}: atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]}) are "
            f"{atoms.get_distance(i, j):.2f} Å apart, on top of each other; are the positions in Å?"
        )
