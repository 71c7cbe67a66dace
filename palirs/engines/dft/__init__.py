"""Functionals, basis sets and dispersion that PySCF has, and how its equations are solved."""
