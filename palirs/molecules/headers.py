"""Charge, spin and names in comment lines of xyz files and in files of programs."""

import re
from collections.abc import Iterator
from pathlib import Path

from ase import Atoms

from palirs import keys
from palirs.molecules.statements import is_statement

XYZ = (".xyz", ".extxyz")
PAIR = re.compile(r"""([^\s=]+)=("(?:\\.|[^"\\])*"|'[^']*'|\{[^}]*\}|\S*)""")
"""Key and value in the comment line of extended XYZ."""
IN_WORDS = re.compile(
    r"\b(?P<key>charge|multiplicity|mult|spin)\b\s*:?\s*(?P<value>[+-]?\d+(?:\.\d+)?)(?![\w.])",
    re.IGNORECASE,
)
"""Charge or spin in a sentence."""
BOTH = re.compile(r"\s*(?P<charge>[+-]?\d)[\s,]+(?P<multiplicity>[1-9])\s*")
"""A comment line of charge and multiplicity only, as programs of quantum chemistry write it."""
PROGRAMS = {
    "cjson": (r'"totalCharge"\s*:\s*([+-]?\d+)', r'"totalSpinMultiplicity"\s*:\s*(\d+)'),
    "gamess-us-out": (r"CHARGE OF MOLECULE\s*=\s*([+-]?\d+)", r"SPIN MULTIPLICITY\s*=\s*(\d+)"),
    "gaussian-out": (r"Charge =\s*([+-]?\d+)", r"Multiplicity =\s*(\d+)"),
    "nwchem-in": (r"^\s*charge\s+([+-]?\d+)", r"^\s*mult\s+(\d+)"),
    "nwchem-out": (r"^\s*Charge\s*:\s*([+-]?\d+)", r"^\s*Spin multiplicity\s*:\s*(\d+)"),
    "orca-output": (r"Total Charge\s+Charge\s+\.+\s*([+-]?\d+)", r"Mult\s+\.+\s*(\d+)"),
}
"""Patterns of charge and multiplicity in files of programs, by ASE's name of the format."""
PDB = "proteindatabank"
FORMAL = re.compile(r"^(?:ATOM  |HETATM).{72}(\d)([+-])", re.MULTILINE)
"""Formal charge of an atom in the format of the Protein Data Bank."""


def comments(path: Path) -> list[str]:
    """Return the comment line of each frame of an xyz file."""
    from ase.io.formats import open_with_compression

    with open_with_compression(str(path), "r") as stream:
        lines = stream.read().splitlines()
    texts, start = [], 0
    while start + 1 < len(lines) and lines[start].strip().isdigit():
        texts.append(lines[start + 1])
        start += int(lines[start]) + 2
    return texts


def restore(atoms: Atoms, comment: str) -> None:
    """Correct ``info`` of a frame by its comment line.

    ASE turns names into numbers, booleans and lists, drops brackets, and reads the words of a
    sentence as booleans. Charge and spin are read from sentences too.
    """
    pairs = dict(PAIR.findall(comment))
    for word in [key for key, value in atoms.info.items() if value is True and key not in pairs]:
        del atoms.info[word]
    if keys.MOLECULE in atoms.info or keys.MOLECULE in pairs:
        atoms.info[keys.MOLECULE] = _unquoted(pairs.get(keys.MOLECULE, ""))
    for key, value in _in_words(PAIR.sub(" ", comment), int(atoms.numbers.sum())):
        atoms.info.setdefault(key, value)
    for key in [key for key in pairs if key not in atoms.info and is_statement(key)]:
        atoms.info[key] = _unquoted(pairs[key])


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text[1:-1] if len(text) > 1 and text[0] + text[-1] in ("''", "{}") else text


def _in_words(text: str, protons: int) -> Iterator[tuple[str, float]]:
    """Yield charge and spin that a text states.

    Two numbers without words count only if they agree with the number of electrons.
    """
    if match := BOTH.fullmatch(text):
        charge, multiplicity = int(match["charge"]), int(match["multiplicity"])
        if (protons - charge - multiplicity) % 2:
            yield from (("charge", charge), ("multiplicity", multiplicity))
    for match in IN_WORDS.finditer(text):
        yield match["key"].lower(), float(match["value"])


def stated_by_program(text: str, kind: str) -> dict[str, int]:
    """Return the charge and multiplicity that a file of a program states last.

    Parameters
    ----------
    text : str
        Of the file.
    kind : str
        ASE's name of its format.
    """
    if kind == PDB:
        first, _, _ = text.partition("\nENDMDL")  # the models are one molecule
        charges = [int(sign + size) for size, sign in FORMAL.findall(first)]
        return {"charge": sum(charges)} if charges else {}
    stated = {}
    for key, pattern in zip(("charge", "multiplicity"), PROGRAMS.get(kind, ()), strict=False):
        if values := re.findall(pattern, text, flags=re.MULTILINE):
            stated[key] = int(values[-1])
    return stated
