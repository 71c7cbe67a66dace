"""Molecules: a name, a SMILES or a file becomes a checked :class:`ase.Atoms`."""

from palirs.molecules.checks import APART, CLOSEST_CONTACT, check, check_whole, intact, pieces
from palirs.molecules.grid import DECIMALS, keep_masses, on_grid
from palirs.molecules.names import groups, named, table, written
from palirs.molecules.reading import read, read_frames
from palirs.molecules.recipe import Molecules
from palirs.molecules.statements import contradicts, electrons

__all__ = [
    "APART",
    "CLOSEST_CONTACT",
    "DECIMALS",
    "Molecules",
    "check",
    "check_whole",
    "contradicts",
    "electrons",
    "groups",
    "intact",
    "keep_masses",
    "named",
    "on_grid",
    "pieces",
    "read",
    "read_frames",
    "table",
    "written",
]
