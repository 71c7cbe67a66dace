"""Read structures from files of any format of ASE or RDKit."""

import io
import logging
import re
from collections import Counter
from pathlib import Path
from typing import cast

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.molecules import headers
from palirs.molecules.checks import check_name
from palirs.molecules.statements import is_statement
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)

MOLFILES = (".mol", ".sdf", ".sd", ".mdl")


def read_frames(path: str | Path) -> list[Atoms]:
    """Return all structures of a file, read by RDKit from molfiles and SD files, else by ASE.

    ``info['molecule']`` is that of the file, as text.

    Raises
    ------
    OSError
        If there is no such file.
    PalirsError
        If it cannot be read.
    """
    try:
        return _frames(path)
    except (OSError, PalirsError):
        raise
    except Exception as error:
        raise PalirsError(_unreadable(str(path), error)) from error


def _frames(path: str | Path) -> list[Atoms]:
    if _ending(path) in MOLFILES:
        return _read_molfile(str(path), 1)
    import ase.io  # takes long to import
    from ase.io.formats import filetype, open_with_compression

    if _ending(path) not in headers.XYZ and Path(path).is_file():
        kind = filetype(str(path))
        if kind in ("db", "json"):
            return _of_database(str(path))
        if kind == "gaussian-in" or kind in (*headers.PROGRAMS, headers.PDB):
            with open_with_compression(str(path), "rb") as stream:
                return _of_program(str(path), stream.read().decode(errors="replace"), kind)
    frames = cast("list[Atoms]", ase.io.read(path, index=":", do_not_split_by_at_sign=True))
    if _ending(path) in headers.XYZ:
        for atoms, comment in zip(frames, headers.comments(Path(path)), strict=False):
            headers.restore(atoms, comment)
    return frames


def read(path: str, conformers: int = 1) -> list[Atoms]:
    """Read molecules from a file.

    Parameters
    ----------
    path : str
        In any format of ASE or RDKit.
    conformers : int
        Most conformers of each sketch in two dimensions.

    Returns
    -------
    list of Atoms
        Each with ``info['molecule']``; charge and spin of the file are in ``info`` and calculator,
        for the checks.

    Raises
    ------
    PalirsError
        If it cannot be read, or a name in it is not a text.
    """
    if not Path(path).is_file():
        raise PalirsError(f"molecules.files: no file {path!r}")
    if not Path(path).stat().st_size:
        raise PalirsError(f"molecules.files: {path!r} is empty")
    try:
        is_molfile = _ending(path) in MOLFILES
        frames = _read_molfile(path, conformers) if is_molfile else _frames(path)
    except PalirsError:
        raise
    except Exception as error:
        raise PalirsError(f"molecules.files: {_unreadable(path, error)}") from error
    if not frames:
        raise PalirsError(f"molecules.files: {path!r} holds no structure")
    for atoms, name in zip(frames, _numbered(path, len(frames)), strict=True):
        atoms.info[keys.MOLECULE] = _name(atoms.info.get(keys.MOLECULE), name, path)
        if not is_molfile and 6 in atoms.numbers and 1 not in atoms.numbers:
            _look_for_hydrogen(atoms)
    return frames


def _ending(path: str | Path) -> str:
    """Return the ending of a file name, before that of compression."""
    name = re.sub(r"\.(gz|bz2|xz)$", "", Path(path).name.lower())
    return Path(name).suffix


def _numbered(path: str, count: int) -> list[str]:
    """Return names from that of a file, numbered if several, with blanks as underscores."""
    stem = re.sub(r"\s+", "_", Path(path).stem)
    return [stem] if count == 1 else [f"{stem}-{number}" for number in range(count)]


def _name(value: object, default: str, path: str) -> str:
    """Return the name that a file states, or the default."""
    if value is None or (isinstance(value, str) and not value) or not np.size(cast("str", value)):
        return default
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise PalirsError(
            f"molecules.files: {path!r} has {keys.MOLECULE} = {str(value)[:60]!r}, which is no "
            f"name but {type(value).__name__}; write it as text, or leave it out"
        )
    return value


def _read_molfile(path: str, conformers: int) -> list[Atoms]:
    from ase.io.formats import open_with_compression

    from palirs.geometry import molfiles  # imports RDKit

    with open_with_compression(path, "rb") as stream:
        records = molfiles.records(stream.read().decode(errors="replace"))
    names = _numbered(path, len(records))
    if len(records) > 1:  # a single molecule is named by its file
        titles = [re.sub(r"\s+", "_", molfiles.title(record)) for record in records]
        unique = {title for title, count in Counter(titles).items() if count == 1}
        names = [
            title if title in unique and _is_name(title) else name
            for title, name in zip(titles, names, strict=True)
        ]
    frames = []
    for number, (record, name) in enumerate(zip(records, names, strict=True), start=1):
        where = repr(path) if len(records) == 1 else f"molecule {number} of {path!r}"
        frames += molfiles.structures(record, where, name, conformers)
    return frames


def _is_name(text: str) -> bool:
    try:
        check_name(text)
    except PalirsError:
        return False
    return True


def _of_database(path: str) -> list[Atoms]:
    """Read an ASE database, with the charge and spin of its rows, which ASE drops."""
    from ase.db import connect

    return [row.toatoms(add_additional_information=True) for row in connect(path).select()]


def _of_program(path: str, text: str, kind: str) -> list[Atoms]:
    """Read an input or output of a program, with the charge and multiplicity that it states."""
    import ase.io

    frames = (
        _read_gaussian(text)
        if kind == "gaussian-in"
        else cast("list[Atoms]", ase.io.read(path, index=":", do_not_split_by_at_sign=True))
    )
    for atoms in frames:
        atoms.info = headers.stated_by_program(text, kind) | atoms.info
    return frames


def _read_gaussian(text: str) -> list[Atoms]:
    """Read the first job of a Gaussian input.

    Charge and multiplicity are parameters of the calculator; isotopes become masses [amu].
    """
    import ase.io

    from palirs.geometry.molfiles import isotope_mass

    first = re.split(r"^\s*--link1--", text, flags=re.IGNORECASE | re.MULTILINE)[0]
    first = re.sub(r"^(\s*[+-]?\d+)\s*,\s*(\d+\s*)$", r"\1 \2", first, flags=re.MULTILINE)
    stream = io.StringIO(first)
    structures = ase.io.read(stream, index=":", format="gaussian-in", attach_calculator=True)
    frames = cast("list[Atoms]", structures)
    for atoms in frames:
        isotopes = getattr(atoms.calc, "parameters", {}).get("isolist") or []
        masses = [
            default if mass is None else isotope_mass(int(number), float(mass))
            for number, default, mass in zip(
                atoms.numbers, atoms.get_masses(), isotopes, strict=False
            )
        ]
        if isotopes:
            atoms.set_masses(masses)
    return frames


def _look_for_hydrogen(atoms: Atoms) -> None:
    """Warn if the hydrogen atoms of a molecule seem to be missing."""
    from palirs.geometry.molfiles import is_whole

    if any(is_statement(key) for key in atoms.info):
        return  # an ion or a radical may well be bare
    if not is_whole(atoms):
        log.warning(
            "molecule %r has no hydrogen atoms, and bonds to spare; if its file leaves them out, "
            "give them, or a .mol or .sdf file, whose bonds tell where they are",
            atoms.info[keys.MOLECULE],
        )


def _unreadable(path: str, error: Exception) -> str:
    """Return the reason why a file cannot be read, as a sentence."""
    from ase.io.formats import UnknownFileTypeError

    if isinstance(error, UnknownFileTypeError):
        return f"ASE knows no format of the name of {path!r}; convert it to .xyz, .sdf or .mol"
    if isinstance(error, KeyError) and str(error.args[0]) in ("D", "T"):
        return (
            f"{path!r} has {error.args[0]} for an element; write H, and masses [amu] in a column: "
            "Properties=species:S:1:pos:R:3:masses:R:1"
        )
    if isinstance(error, KeyError):
        return f"ASE cannot read {path!r}: {error.args[0]!r} is no element"
    return f"ASE cannot read {path!r}: {error or type(error).__name__}"
