"""Charge and multiplicity of a molecule, as they travel with its structures.

A neutral closed shell says nothing about them; every other structure says both in ``info``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.recipes import PalirsError


@dataclass(frozen=True)
class Electrons:
    """Charge and multiplicity.

    Attributes
    ----------
    charge : int
        Of the molecule [e].
    multiplicity : int
        2S + 1.
    """

    charge: int = 0
    multiplicity: int = 1

    @classmethod
    def of(cls, atoms: Atoms) -> "Electrons":
        """Return those that ``info`` states; a neutral closed shell if it states none.

        Raises
        ------
        PalirsError
            If one of them is no whole number, or the multiplicity is not positive.
        """
        charge, multiplicity = _whole(atoms, keys.CHARGE, 0), _whole(atoms, keys.MULTIPLICITY, 1)
        if multiplicity < 1:
            raise _meaningless(atoms, keys.MULTIPLICITY)
        return cls(charge, multiplicity)

    @property
    def unpaired(self) -> int:
        """Number of unpaired electrons."""
        return self.multiplicity - 1

    @property
    def ordinary(self) -> bool:
        """Whether it is a neutral closed shell."""
        return self == Electrons()

    @property
    def info(self) -> dict[str, Any]:
        """What ``info`` says of them: nothing for a neutral closed shell."""
        if self.ordinary:
            return {}
        return {keys.CHARGE: self.charge, keys.MULTIPLICITY: self.multiplicity}

    def fit(self, atoms: Atoms) -> bool:
        """Tell whether so many electrons of the structure can be unpaired."""
        paired = int(atoms.numbers.sum()) - self.charge - self.unpaired
        return (
            self.multiplicity >= 1
            and paired >= 0
            and paired % 2 == 0
            and paired + self.unpaired > 0
        )

    def __str__(self) -> str:
        """Return them in words: ``charge +1, doublet``."""
        names = {1: "singlet", 2: "doublet", 3: "triplet", 4: "quartet"}
        spin = names.get(self.multiplicity, f"multiplicity {self.multiplicity}")
        return f"charge {self.charge:+d}, {spin}" if self.charge else f"neutral, {spin}"


def _whole(atoms: Atoms, key: str, default: int) -> int:
    """Return the whole number under a key of ``info``."""
    value = atoms.info.get(key, default)
    try:
        if int(value) == float(value):
            return int(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise _meaningless(atoms, key)


def _meaningless(atoms: Atoms, key: str) -> PalirsError:
    """Return the error for a value that is no charge or multiplicity."""
    wrong, right = "is no whole number", "the charge in e, such as -1"
    if key == keys.MULTIPLICITY:
        wrong, right = "is no whole number from 1", "2S + 1: 1 for a singlet, 2 for a doublet"
    return PalirsError(
        f"molecule {str(atoms.info.get(keys.MOLECULE, atoms.symbols))!r}: info[{key!r}] = "
        f"{str(atoms.info[key])[:60]!r} {wrong}; give {right}, or leave it out for a neutral "
        "closed shell"
    )


def about_centre_of_mass(atoms: Atoms, positions: np.ndarray, dipoles: np.ndarray) -> np.ndarray:
    """Return dipoles of a molecule about its centre of mass, ``[frames, 3]`` [e·Å].

    That of an ion depends on the origin. Labels and dipole models take the mean of the positions of
    its atoms, which needs no masses; vibrations of free molecules are about the centre of mass.

    Parameters
    ----------
    atoms : Atoms
        The molecule, with its masses.
    positions : numpy.ndarray
        Shape ``[frames, N, 3]`` [Å].
    dipoles : numpy.ndarray
        About the mean of the positions, ``[frames, 3]`` [e·Å].
    """
    if not (charge := Electrons.of(atoms).charge):
        return dipoles
    masses = atoms.get_masses()
    centres = np.einsum("n,fnx->fx", masses / masses.sum(), positions)
    return dipoles + charge * (positions.mean(axis=1) - centres)
