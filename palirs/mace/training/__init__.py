"""Training of potentials and dipole models."""
