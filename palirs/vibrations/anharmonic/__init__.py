"""Anharmonic vibrations: quartic force fields, and their levels by perturbation theory."""
