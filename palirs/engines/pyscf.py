"""Density functional theory and Hartree-Fock by PySCF (Sun et al. 2020, doi:10.1063/5.0006074)."""

import logging
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.units import Bohr, Hartree
from pydantic import Field

from palirs import keys, threads
from palirs.engines import basis_sets, functionals
from palirs.engines.base import Engine, EngineFailure, version_of
from palirs.engines.basis_sets import has_core_potential
from palirs.engines.dispersion import check_name, check_pair, in_name
from palirs.engines.papers import PAPERS
from palirs.geometry.electrons import Electrons
from palirs.recipes import Count, PalirsError, recipe

log = logging.getLogger(__name__)

NEARBY = 0.3
"""Largest displacement of an atom [Å] up to which the orbitals of the last frame are a better start
than those of free atoms."""
SAFE_GAP = 0.05
"""Gap between occupied and empty orbitals [Hartree] below which a carried-over start might have led
to another state."""
CONTAMINATION = 0.3
"""Largest excess of ⟨S²⟩ of an open shell: that of a doublet with a tenth of a quartet in it."""
DESCENTS = 3
"""Most restarts of an open shell from a solution that is no minimum."""


@recipe
class PySCF(Engine):
    """Kohn-Sham or Hartree-Fock with analytic gradients; unrestricted for open shells.

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
        return settings

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


class PySCFCalculator(Calculator):
    """An ASE calculator that falls back on other SCF solvers if one does not converge.

    They are DIIS from the initial guess of the recipe; DIIS from free atoms with a level shift of
    0.3 Hartree and damping, followed by DIIS without them; the second-order solver.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "dipole"]

    def __init__(self, engine: PySCF):
        super().__init__()
        self.engine = engine
        # numbers, positions and occupied orbitals of the last frame
        self.last: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Calculate energy [eV], forces [eV/Å] and dipole [e·Å]."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        from pyscf import lib

        if threads.allowed():
            lib.num_threads(threads.allowed())
        method = self._solve()
        gradient = method.nuc_grad_method()
        gradient.verbose = 0
        if hasattr(gradient, "grid_response"):
            gradient.grid_response = True
        self.results = {
            "energy": float(method.e_tot) * Hartree,
            "forces": -np.asarray(gradient.kernel()) * Hartree / Bohr,
            "dipole": np.asarray(method.dip_moment(unit="au", verbose=0)) * Bohr,
        }
        electrons = Electrons.of(self.atoms)
        if electrons.unpaired:
            self.last = None  # an open shell starts from free atoms
            return
        occupied = _host(method.mo_coeff)[:, _host(method.mo_occ) > 0]
        self.last = (self.atoms.numbers.copy(), self.atoms.positions.copy(), occupied)

    def _solve(self):
        """Return a converged mean field; of an open shell, one that is a minimum and a pure spin.

        A start from free atoms has high symmetry and may lead to a saddle point.
        """
        assert self.atoms is not None
        method, electrons = self._converged(), Electrons.of(self.atoms)
        if not electrons.unpaired:
            return method
        for _ in range(DESCENTS):
            analysis: Any = method.stability
            orbitals, _, stable, _ = analysis(return_status=True)
            if stable:
                _check_spin(method, electrons)
                return method
            log.info("%s: the open shell is no minimum, solved again", self.atoms.symbols)
            start = method.make_rdm1(orbitals, method.mo_occ)
            method = self._method()
            method.kernel(dm0=start)
            if not method.converged:
                method = self._second_order(method)
            if not method.converged:
                break
        raise EngineFailure(
            f"no stable solution of {self.atoms.symbols} ({electrons}) after {DESCENTS} restarts",
            final=True,
        )

    def _converged(self):
        """Return a converged mean field."""
        assert self.atoms is not None
        carried, method = self._carried(), self._method()
        if carried is not None and method.mol.nelec != (carried.shape[1],) * 2:
            carried = None  # another charge or spin
        method.kernel(dm0=self._density(method, carried) if carried is not None else None)
        if method.converged and carried is not None and gap(method) < SAFE_GAP:
            fresh = self._method()
            fresh.kernel()
            method = min((m for m in (method, fresh) if m.converged), key=lambda m: m.e_tot)
        for solver in (self._shifted, self._second_order):
            if method.converged:
                return method
            log.info(
                "%s: SCF not converged, %s",
                self.atoms.symbols,
                solver.__name__.strip("_").replace("_", " "),
            )
            method = solver(method)
        if not method.converged:
            raise EngineFailure(
                "SCF not converged with DIIS, level shift and second-order solver "
                f"({self.engine.max_cycles} cycles each), "
                f"last energy {method.e_tot:.6f} Hartree, gap {gap(method):.3f} Hartree",
                final=True,
            )
        return method

    def _method(self):
        """Return an unsolved mean field of the current frame."""
        from pyscf import dft, gto, scf

        assert self.atoms is not None
        engine, electrons = self.engine, Electrons.of(self.atoms)
        geometry = [
            (int(number), tuple(position))
            for number, position in zip(
                self.atoms.numbers, self.atoms.positions / Bohr, strict=True
            )
        ]
        ecp = {
            symbol: engine.basis
            for symbol in set(self.atoms.symbols)
            if has_core_potential(engine.basis, symbol)
        }
        molecule = gto.M(
            atom=geometry,
            basis=engine.basis,
            ecp=ecp,
            unit="Bohr",
            charge=electrons.charge,
            spin=electrons.unpaired,
            verbose=0,
            max_memory=engine.memory * 1000,
        )
        if engine.functional.lower() == "hf":
            method = scf.UHF(molecule) if electrons.unpaired else scf.RHF(molecule)
        else:
            kind = dft.UKS if electrons.unpaired else dft.RKS
            method = kind(molecule, xc=engine.functional)
            method.grids.level = engine.grid
        if engine.density_fitting:
            method = method.density_fit(auxbasis=engine.auxiliary_basis)
        if engine.dispersion and not in_name(engine.functional):
            method.disp = engine.dispersion
        method.conv_tol = engine.convergence
        # PySCF's default leaves thirty times the noise in the forces
        method.conv_tol_grad = engine.convergence**0.5 / 30
        method.max_cycle = engine.max_cycles
        method.init_guess = "minao" if engine.guess == "previous" else engine.guess
        method.chkfile = None
        return method.to_gpu() if engine.device == "gpu" else method

    def _carried(self) -> np.ndarray | None:
        """Return the occupied orbitals of the last frame if they are a good start for this one."""
        if self.engine.guess != "previous" or self.last is None or self.atoms is None:
            return None
        numbers, positions, occupied = self.last
        same = np.array_equal(numbers, self.atoms.numbers)
        near = same and abs(positions - self.atoms.positions).max() <= NEARBY
        return occupied if near else None

    @staticmethod
    def _density(method, occupied: np.ndarray) -> np.ndarray:
        """Return the density of orbitals, orthonormalised at the current positions (Löwdin)."""
        overlap = occupied.T @ _host(method.get_ovlp()) @ occupied
        values, vectors = np.linalg.eigh(overlap)
        orthonormal = occupied @ (vectors / np.sqrt(values)) @ vectors.T
        density = 2.0 * orthonormal @ orthonormal.T
        if method.__class__.__module__.startswith("gpu4pyscf"):
            import cupy  # pyright: ignore[reportMissingImports]

            return cupy.asarray(density)
        return density

    def _shifted(self, failed):
        method = self._method()
        method.level_shift, method.damp = 0.3, 0.3
        method.max_cycle *= 2
        method.kernel()
        start = method.make_rdm1()
        method = self._method()
        method.kernel(dm0=start)
        return method

    def _second_order(self, failed):
        method = self._method().newton()
        method.kernel(failed.mo_coeff, failed.mo_occ)
        return method


def gap(method) -> float:
    """Return the gap between occupied and empty orbitals [Hartree]; infinite without empty ones."""
    energies, occupations = (
        np.atleast_2d(_host(values)) for values in (method.mo_energy, method.mo_occ)
    )
    gaps = [
        energy[occupation == 0].min() - energy[occupation > 0].max()
        for energy, occupation in zip(energies, occupations, strict=True)
        if (occupation == 0).any() and (occupation > 0).any()
    ]
    return float(min(gaps, default=np.inf))


def _check_spin(method, electrons: Electrons) -> None:
    """Raise :class:`EngineFailure` if higher multiplicities are mixed in."""
    spin = electrons.unpaired / 2
    square = float(method.spin_square()[0])
    if square - spin * (spin + 1) > CONTAMINATION:
        raise EngineFailure(
            f"⟨S²⟩ is {square:.2f} instead of {spin * (spin + 1):.2f}: the unrestricted "
            f"solution is no pure {electrons}; functionals "
            "with less exact exchange mix less",
            final=True,
        )


def _host(array) -> np.ndarray:
    return array.get() if hasattr(array, "get") else np.asarray(array)


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ModuleNotFoundError, PackageNotFoundError):
        return False
