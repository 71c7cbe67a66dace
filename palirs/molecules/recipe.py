"""The molecules of a study as a setting."""

import logging
import os
import unicodedata
from typing import Annotated

from ase import Atoms
from pydantic import Field

from palirs import keys
from palirs.geometry.electrons import Electrons
from palirs.geometry.isotopes import special
from palirs.molecules.checks import check, check_ground_state, check_whole, may_be_triplet, pieces
from palirs.molecules.names import named, table, written
from palirs.molecules.reading import read
from palirs.molecules.statements import remarks, stated_electrons, states_multiplicity
from palirs.recipes import Before, InStudy, PalirsError, recipe

log = logging.getLogger(__name__)


@recipe
class Molecules:
    """The molecules of a study.

    Parameters
    ----------
    names : tuple of str
        Names of the shipped table (``methanol``), its groups (``organics24``, ``transfer8``), or
        ASE G2 names (``H2O``); any other name is a file or a SMILES.
    smiles : tuple of str
        SMILES, optionally with a name after a space: ``CC(C)=O`` or ``CC(C)=O acetone``. Here
        ``CO`` is methanol.
    conformers : int
        Most conformers of each SMILES or sketch, the lowest in a force field, each a molecule of
        its own: ``name``, ``name-2``, …
    files : tuple of str
        Files that ASE or RDKit can read; each frame is one molecule, named by its
        ``info['molecule']``, its title in an SD file of several, or by the file. A column
        ``masses`` [amu] gives isotopes; so do molfiles and inputs of Gaussian. A molfile without
        hydrogen atoms gets them; one in two dimensions is embedded like a SMILES. Ions and open
        shells say ``charge=1 multiplicity=2`` in the comment line of an xyz file.
    complexes : bool
        Allow frames of several molecules that are not bonded to each other.
    charges, multiplicities : dict
        Charge [e] and 2S + 1 of molecules, by name: ``{OH: -1}`` makes ASE's OH hydroxide. A file
        that states another one is refused, and so is a SMILES, which always states its charge; a
        SMILES without unpaired electrons may get a multiplicity (``O=O``: 3). Without a
        multiplicity an even number of electrons is a singlet.
    """

    names: tuple[str, ...] = Field(default=())
    smiles: tuple[str, ...] = Field(default=())
    conformers: Annotated[int, Field(ge=1, le=100)] = 1
    files: tuple[str, ...] = Field(default=())
    complexes: Annotated[bool, InStudy.IDENTITY, Before(False)] = False
    charges: dict[str, int] = Field(default_factory=dict)
    multiplicities: dict[str, Annotated[int, Field(ge=1, le=20)]] = Field(default_factory=dict)

    def load(self) -> list[Atoms]:
        """Return the checked molecules, each with ``info['molecule']``.

        Raises
        ------
        PalirsError
            For an unknown name, an unreadable file, two molecules of one name, or a molecule that
            cannot be treated.
        """
        files = [name for name in self.names if os.path.isfile(name) and name not in table()]
        names = [name for name in self.names if name not in files]
        by_name = [atoms for name in names for atoms in named(name, self.conformers)]
        by_name += [atoms for text in self.smiles for atoms in written(text, self.conformers)]
        from_files = [
            atoms for path in (*self.files, *files) for atoms in read(path, self.conformers)
        ]
        if not by_name and not from_files:
            raise PalirsError(
                "molecules: the list is empty; give molecules.names=[methanol], "
                "molecules.smiles=[CCO] or molecules.files=[my.xyz]"
            )
        _check_names([atoms.info[keys.MOLECULE] for atoms in (*by_name, *from_files)])
        _check_known(self.charges, self.multiplicities, [*by_name, *from_files])
        for number, atoms in enumerate((*by_name, *from_files)):
            name, shipped = atoms.info[keys.MOLECULE], number < len(by_name)
            set_state(atoms, self.charges.get(name), self.multiplicities.get(name), shipped)
        for atoms in from_files:
            _tell(atoms)
        for atoms in (*by_name, *from_files):
            stated = states_multiplicity(atoms, atoms.info[keys.MOLECULE])
            check(atoms)
            if not stated:
                _tell_singlet(atoms)
            if not self.complexes:
                check_whole(atoms)
            elif not stated:
                _check_pieces(atoms)
        return by_name + [_cleaned(atoms) for atoms in from_files]


def _check_known(charges: dict, multiplicities: dict, molecules: list[Atoms]) -> None:
    """Raise :class:`PalirsError` for a state of a molecule that is not there."""
    names = [str(atoms.info[keys.MOLECULE]) for atoms in molecules]
    for setting, stated in (("charges", charges), ("multiplicities", multiplicities)):
        if unknown := sorted(set(stated) - set(names)):
            raise PalirsError(
                f"molecules.{setting}: no molecule is called {', '.join(unknown)}; there are "
                f"{', '.join(names)}"
            )


def set_state(atoms: Atoms, charge: int | None, multiplicity: int | None, shipped: bool) -> None:
    """Write the charge [e] and multiplicity that the user gives into ``info``.

    Parameters
    ----------
    atoms : Atoms
        The molecule.
    charge, multiplicity : int or None
        ``None``: not given.
    shipped : bool
        By name: the magnetic moments of ASE's neutral molecule are then none of its ion, nor of
        another multiplicity.

    Raises
    ------
    PalirsError
        If the structure states another charge or multiplicity.
    """
    name = str(atoms.info[keys.MOLECULE])
    if shipped and (charge or multiplicity):
        atoms.set_initial_magnetic_moments(None)
    own = stated_electrons(atoms, name)
    for key, value, there in zip(
        (keys.CHARGE, keys.MULTIPLICITY), (charge, multiplicity), own, strict=True
    ):
        if value is not None and there not in (None, value):
            setting = "charges" if key == keys.CHARGE else "multiplicities"
            advice = "leave one of them out"
            if shipped and key == keys.CHARGE:
                advice = "write the SMILES of that ion, or give its geometry by molecules.files"
            raise PalirsError(
                f"molecules: {name} states {key} {there} itself, and molecules.{setting} says "
                f"{value}; {advice}"
            )
        if value is not None:
            atoms.info[key] = value


def _check_names(names: list[str]) -> None:
    """Raise :class:`PalirsError` for two molecules that would share files."""
    seen: dict[str, str] = {}
    for name in names:
        plain = unicodedata.normalize("NFC", str(name)).casefold()
        if plain not in seen:
            seen[plain] = name
            continue
        if name == seen[plain]:
            raise PalirsError(
                f"molecules: two molecules are called {name!r}; names must differ, rename one of "
                "them"
            )
        raise PalirsError(
            f"molecules: {seen[plain]!r} and {name!r} differ in capitals only, which files of "
            "macOS and Windows do not tell apart; rename one of them"
        )


def _check_pieces(atoms: Atoms) -> None:
    numbers = pieces(atoms)
    for number in range(numbers.max() + 1):
        check_ground_state(atoms[numbers == number], atoms.info[keys.MOLECULE])


def _tell(atoms: Atoms) -> None:
    """Log what is assumed of a molecule of a file."""
    name = str(atoms.info[keys.MOLECULE])
    for remark in remarks(atoms, name):
        log.info("%s", remark)
    if isotopes := _isotopes(atoms):
        log.info("molecule %r has isotopes: %s amu", name, isotopes)
    if may_be_triplet(atoms) and not states_multiplicity(atoms, name):
        log.warning(
            "molecule %r is treated as a singlet; ASE's G2 set has a triplet of %s too",
            name,
            atoms.symbols,
        )


def _tell_singlet(atoms: Atoms) -> None:
    """Log that an ion without a multiplicity is a singlet: its ground state may be another one."""
    name, electrons = atoms.info[keys.MOLECULE], Electrons.of(atoms)
    if electrons.charge and electrons.multiplicity == 1:
        log.info(
            "molecule %r (charge %+d) is taken for a singlet, as nothing states its multiplicity; "
            "molecules.multiplicities={%s: 3} makes it a triplet",
            name,
            electrons.charge,
            name,
        )


def _cleaned(atoms: Atoms) -> Atoms:
    """Return a molecule of a file with nothing but its name, charge and multiplicity."""
    atoms.calc = None
    name = atoms.info[keys.MOLECULE]
    atoms.info = {keys.MOLECULE: name, **Electrons.of(atoms).info}
    return atoms


def _isotopes(atoms: Atoms) -> str:
    """Return atoms (from 0) with other masses than their elements, and these masses, as text."""
    masses = atoms.get_masses()
    return ", ".join(f"{atoms.symbols[i]}{i} {masses[i]:.3f}" for i in special(atoms, masses))
