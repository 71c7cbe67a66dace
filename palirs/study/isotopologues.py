"""Isotopologues of a study's molecules that someone asks for: which atoms get which masses."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.geometry.isotopes import label
from palirs.geometry.isotopologues import EXAMPLES, Isotopes
from palirs.molecules.checks import check_name
from palirs.recipes import PalirsError
from palirs.vibrations import Harmonic

log = logging.getLogger(__name__)

Masses = Mapping[str, np.ndarray]
"""Masses of the atoms [amu] by name of the isotopologue."""
SETTING = "task.isotopologues"


def requested(texts: Sequence[str] | None) -> list[Isotopes] | None:
    """Return the isotopologues of a setting, ``None`` for those that were asked for before.

    Raises
    ------
    PalirsError
        If a text cannot be read.
    """
    if texts is None:
        return None
    if isinstance(texts, str):
        raise PalirsError(f"{SETTING} = {texts!r}: it is a list; write ['{texts}']")
    try:
        wanted = [Isotopes(str(text)) for text in texts]
        for each in wanted:
            if each.name:
                check_name(each.name)
    except PalirsError as error:
        raise PalirsError(f"{SETTING}: {error}") from error
    return wanted


def assigned(
    wanted: Sequence[Isotopes], references: Sequence[Harmonic]
) -> dict[str, dict[str, np.ndarray]]:
    """Return the masses of isotopologues by molecule and name.

    Raises
    ------
    PalirsError
        If one is no isotopologue of a molecule, or two have one name.
    """
    found: dict[str, dict[str, np.ndarray]] = {
        str(reference.atoms.info[keys.MOLECULE]): {} for reference in references
    }
    for isotopes in wanted:
        matched = False
        for reference in references:
            molecule = str(reference.atoms.info[keys.MOLECULE])
            for name, masses in _named(isotopes, reference.atoms).items():
                if name in found[molecule]:
                    raise PalirsError(
                        f"{SETTING}: {isotopes.text!r}: there are two isotopologues {name} of "
                        f"{molecule}; leave one out, or write another name after a space"
                    )
                matched = True
                found[molecule][name] = masses
        if not matched:
            known = ", ".join(
                f"{each.atoms.info[keys.MOLECULE]} ({each.atoms.symbols.get_chemical_formula()})"
                for each in references
            )
            raise PalirsError(
                f"{SETTING}: {isotopes.text!r} is no isotopologue of a molecule of the study; it "
                f"has {known}. The atoms and bonds must be the same, all hydrogen atoms counted; "
                f"write {EXAMPLES}"
            )
    return found


def _named(isotopes: Isotopes, atoms: Atoms) -> dict[str, np.ndarray]:
    """Return the masses of the isotopologues of one molecule by name."""
    try:
        several = isotopes.masses(atoms)
    except PalirsError as error:
        raise PalirsError(f"{SETTING}: {error}") from error
    named: dict[str, np.ndarray] = {}
    for number, masses in enumerate(several, start=1):
        if np.array_equal(masses, atoms.get_masses()):
            raise PalirsError(
                f"{SETTING}: {isotopes.text!r} has the masses of {atoms.info[keys.MOLECULE]} "
                f"itself; write {EXAMPLES}"
            )
        name = isotopes.name or label(atoms, masses)
        named[name if number == 1 or not isotopes.name else f"{name}-{number}"] = masses
    if len(named) > 1:
        log.info(
            "%s may be one of several in %s, whose levels differ: %s; all are made",
            isotopes.text,
            atoms.info[keys.MOLECULE],
            ", ".join(named),
        )
    return named
