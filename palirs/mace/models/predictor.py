"""Committee and dipole model together, as a source for optimisation and harmonic analysis."""

from collections.abc import Sequence
from dataclasses import replace

from ase import Atoms

from palirs.engines import Properties
from palirs.mace.models.committee import Committee
from palirs.mace.models.dipole import DipoleModel


class Predictor:
    """Energy and forces of the committee mean, and dipole, for :func:`palirs.vibrations.harmonic`.

    All displaced geometries of a Hessian are evaluated in one batch, and their dipoles in another.

    Parameters
    ----------
    committee : Committee
        :meth:`Committee.double` of it, for finite differences.
    dipole : DipoleModel
        Trained on the same data.
    """

    def __init__(self, committee: Committee, dipole: DipoleModel):
        self.committee, self.dipole = committee, dipole

    def calculate(self, frames: Sequence[Atoms]) -> list[Properties]:
        """Return energy [eV], forces [eV/Å] and dipole [e·Å] of each frame."""
        dipoles = self.dipole.evaluate(frames).mean(axis=0)
        return [
            replace(properties, dipole=mu)
            for properties, mu in zip(self.committee.calculate(frames), dipoles, strict=True)
        ]
