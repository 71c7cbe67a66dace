"""GFN2-xTB, GFN1-xTB and IPEA1-xTB by tblite."""

from typing import Annotated, ClassVar, Literal

from ase.calculators.calculator import Calculator
from pydantic import Field

from palirs.engines.base import Engine, version_of
from palirs.engines.papers import PAPERS
from palirs.geometry.electrons import Electrons
from palirs.recipes import Kelvin, recipe


@recipe
class TBLite(Engine):
    """Extended tight binding (Bannwarth, Ehlert and Grimme 2019, doi:10.1021/acs.jctc.8b01176).

    Parameters
    ----------
    method : {"GFN2-xTB", "GFN1-xTB", "IPEA1-xTB"}
        Parametrisation.
    accuracy : float
        Factor of tblite's convergence thresholds. 0.01 converges forces to about 2e-6 eV/Å, which
        finite differences need; the default of tblite, 1, leaves an error of 3e-4 eV/Å and saves a
        fifth of the time.
    electronic_temperature : float
        Of Fermi smearing [K].
    """

    method: Literal["GFN2-xTB", "GFN1-xTB", "IPEA1-xTB"] = "GFN2-xTB"
    accuracy: Annotated[float, Field(ge=1e-6, le=1000)] = 0.01
    electronic_temperature: Kelvin = 300.0

    takes_electrons: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Name of the parametrisation."""
        return self.method

    @property
    def settings(self) -> dict:
        """Method, thresholds and library version."""
        return {
            "method": self.method,
            "accuracy": self.accuracy,
            "electronic_temperature": self.electronic_temperature,
            "tblite": version_of("tblite"),
        }

    @property
    def sources(self) -> tuple[str, ...]:
        """Paper on the parametrisation."""
        return (PAPERS[self.method],)

    @property
    def elements(self) -> frozenset[int]:
        """Elements from hydrogen to radon."""
        return frozenset(range(1, 87))

    def calculator(self) -> Calculator:
        """Make the calculator; results do not depend on earlier ones (``cache_api=False``)."""
        from tblite.ase import TBLite as TBLiteCalculator

        return TBLiteCalculator(
            method=self.method,
            accuracy=self.accuracy,
            electronic_temperature=self.electronic_temperature,
            cache_api=False,
            verbosity=0,
        )

    def set_electrons(self, calculator: Calculator, electrons: Electrons) -> None:
        """Set the charge, and the number of unpaired electrons; orbitals are those of both spins.

        That is the parametrisation's own treatment, without spin polarisation.
        """
        wanted = {"charge": electrons.charge, "multiplicity": electrons.multiplicity}
        there = {key: dict(calculator.parameters or {})[key] for key in wanted}
        if wanted != there and not (electrons.ordinary and set(there.values()) == {None}):
            calculator.set(**wanted)
