"""Density functional theory and Hartree-Fock by PySCF (Sun et al. 2020, doi:10.1063/5.0006074)."""

import logging
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from typing import Annotated, ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import Field

from palirs import keys
from palirs.engines.base import Engine, version_of
from palirs.engines.dft import basis_sets, functionals
from palirs.engines.dft.dispersion import check_name, check_pair, in_name
from palirs.engines.dft.scf import PySCFCalculator
from palirs.engines.papers import PAPERS
from palirs.geometry.electrons import Electrons
from palirs.recipes import Before, Count, PalirsError, recipe

log = logging.getLogger(__name__)


@recipe
class PySCF(Engine):
    """Kohn-Sham or Hartree-Fock with analytic gradients.

    Parameters
    ----------
    functional : str
        Any name or combination PySCF and libxc know (``pbe``, ``b3lyp``, ``0.5*hf+0.5*b88,lyp``);
        ``hf`` for Hartree-Fock. Names do not include dispersion, except where it replaces VV10:
        ``wb97m-d3bj``, with ``dispersion=d3bj``.
    basis : str
        Any basis set of PySCF.
    density_fitting : bool
        Approximate the Coulomb (and exchange) integrals; four-centre integrals otherwise.
    auxiliary_basis : str or None
        For density fitting; ``None`` for PySCF's choice for ``basis``.
    grid : int
        Level of the integration grid, 0 (coarse) to 9. Forces are equivariant within 1e-3
        eV/Å at level 3, and 1e-4 at level 4, which takes twice as long.
    dispersion : {"d3bj", "d3zero", "d4"} or None
        Grimme's correction with the parameters of the functional, by simple-dftd3 and dftd4.
    open_shell : {"unrestricted", "restricted"}
        Orbitals of radicals and other open shells: each spin its own (UKS, UHF), which is usual for
        their frequencies, and ⟨S²⟩ is checked; or shared (ROKS, ROHF), a pure spin without spin
        polarisation, for where the unrestricted solution is contaminated. Closed shells are the
        same, and their labels are.
    convergence : float
        Energy change at convergence [Hartree]; 1e-10 leaves an error of 1e-6 eV/Å in the forces.
    max_cycles : int
        Most cycles of each SCF solver.
    guess : {"previous", "minao", "atom", "huckel"}
        Initial guess of the SCF. ``previous`` uses the orbitals of the last frame if it is the same
        molecule, no atom has moved by more than 0.3 Å and the gap is not small; results then agree
        within the convergence, not to the last digit. The others are PySCF's.
    device : {"cpu", "gpu"}
        ``gpu`` needs GPU4PySCF.
    memory : float
        Memory that PySCF may use [GB].
    """

    takes_electrons: ClassVar[bool] = True

    functional: str = "pbe"
    basis: str = "def2-svpd"
    density_fitting: bool = True
    auxiliary_basis: str | None = None
    grid: Annotated[int, Field(ge=0, le=9)] = 3
    dispersion: Literal["d3bj", "d3zero", "d4"] | None = None
    open_shell: Annotated[Literal["unrestricted", "restricted"], Before("unrestricted")] = (
        "unrestricted"
    )
    convergence: Annotated[float, Field(gt=0, le=1e-5)] = 1e-10
    max_cycles: Count = 60
    guess: Literal["previous", "minao", "atom", "huckel"] = "previous"
    device: Literal["cpu", "gpu"] = "cpu"
    memory: Annotated[float, Field(ge=0.1, le=4096)] = 4.0

    def __post_init__(self):
        for package, needed, name in (
            ("pyscf", True, "'palirs[dft]'"),
            ("pyscf.dispersion", bool(self.dispersion), "'palirs[dft]'"),
            ("gpu4pyscf", self.device == "gpu", "gpu4pyscf-cuda12x (the one for your CUDA)"),
        ):
            if needed and not _installed(package):
                raise PalirsError(f"engine: {package} is not installed here; pip install {name}")
        self._check_method()
        self._check_basis_sets()

    def _check_method(self) -> None:
        """Check functional and dispersion."""
        try:
            if self.functional.lower() != "hf":
                check_name(self.functional, self.dispersion)
                functionals.check(self.functional)
            check_pair(self.functional, self.dispersion)
        except ValueError as error:
            raise PalirsError(f"engine.functional = {self.functional!r}: {error}") from error

    def _check_basis_sets(self) -> None:
        """Check orbital and auxiliary basis set."""
        try:
            basis_sets.check_orbitals(self.basis)
        except ValueError as error:
            raise PalirsError(f"engine.basis = {self.basis!r}: {error}") from error
        if self.auxiliary_basis is None:
            return
        if not self.density_fitting:
            raise PalirsError(
                f"engine.auxiliary_basis = {self.auxiliary_basis!r}: it is for density fitting "
                "only, and that is off; give null, or engine.density_fitting=true"
            )
        try:
            exact = functionals.exact_exchange(self.functional)
            basis_sets.check_auxiliary(self.auxiliary_basis, self.functional, exact)
        except ValueError as error:
            key = f"engine.auxiliary_basis = {self.auxiliary_basis!r}"
            raise PalirsError(f"{key}: {error}") from error

    @property
    def name(self) -> str:
        """Functional, dispersion and basis: ``PBE-D3BJ/def2-SVPD``."""
        separate = self.dispersion and not in_name(self.functional)
        suffix = f"-{self.dispersion}" if separate else ""
        return f"{(self.functional + suffix).upper()}/{self.basis}"

    @property
    def settings(self) -> dict:
        """Everything that changes a converged result: not device, memory, guess or cycles."""
        settings: dict = {
            "functional": self.functional.lower(),
            "basis": self.basis.lower(),
            "density_fitting": self.density_fitting and (self.auxiliary_basis or "default"),
            "grid": None if self.functional.lower() == "hf" else self.grid,
            "convergence": self.convergence,
            "pyscf": version_of("pyscf"),
        }
        if self.dispersion:
            settings |= {
                "dispersion": self.dispersion,
                "pyscf-dispersion": version_of("pyscf-dispersion"),
            }
        if self.open_shell != "unrestricted":
            settings["open_shell"] = self.open_shell
        return settings

    def identity_for(self, atoms: Atoms) -> dict:
        """Return the identity; of a closed shell without what is for open ones."""
        identity = dict(self.identity)
        if not Electrons.of(atoms).unpaired:
            identity.pop("open_shell", None)
        return identity

    @property
    def sources(self) -> tuple[str, ...]:
        """Papers on PySCF and well-known functionals, basis sets and dispersion corrections."""
        basis = self.basis.lower()
        family = ("def2",) if basis.startswith("def2") else ()
        names = (
            "pyscf",
            *dict.fromkeys((self.functional.lower(), *family, basis)),
            self.dispersion,
        )
        return tuple(PAPERS[name] for name in names if name in PAPERS)

    @property
    def elements(self) -> frozenset[int]:
        """Elements of the basis set."""
        return basis_sets.covered(self.basis)

    def check(self, atoms: Atoms) -> None:
        """Raise :class:`PalirsError` if the orbital or auxiliary basis set lacks an element."""
        super().check(atoms)
        if not self.density_fitting:
            return
        settings = (self.auxiliary_basis, self.basis, self.functional)
        name, symbols = basis_sets.lacking(*settings, sorted(set(atoms.symbols)))
        if symbols:
            raise PalirsError(
                f"molecule {atoms.info.get(keys.MOLECULE)!r}: the auxiliary basis {name} of "
                f"density fitting has no {', '.join(symbols)}; give "
                f"engine.auxiliary_basis={basis_sets.UNIVERSAL}, or engine.density_fitting=false"
            )

    def calculator(self) -> Calculator:
        """Make the calculator; ``guess='previous'`` carries orbitals from frame to frame."""
        return PySCFCalculator(self)

    def carried(self, calculator: Calculator | None) -> dict[str, np.ndarray]:
        """Return the last frame and its occupied orbitals."""
        assert isinstance(calculator, PySCFCalculator)
        last = calculator.last
        return (
            {}
            if last is None
            else dict(zip(("numbers", "positions", "occupied"), last, strict=True))
        )

    def carry(self, calculator: Calculator | None, values: dict[str, np.ndarray]) -> None:
        """Have the next frame start from these."""
        assert isinstance(calculator, PySCFCalculator)
        calculator.last = (values["numbers"], values["positions"], values["occupied"])


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ModuleNotFoundError, PackageNotFoundError):
        return False
