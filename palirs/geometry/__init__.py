"""Structures without an engine: bonds, torsions, duplicates, symmetry, geometries of SMILES."""
