"""Self-consistent fields by PySCF, with other solvers where one does not converge."""

import logging
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.units import Bohr, Hartree

from palirs import threads
from palirs.engines.base import EngineFailure
from palirs.engines.dft.basis_sets import has_core_potential
from palirs.engines.dft.dispersion import in_name
from palirs.geometry.electrons import Electrons

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
SAME_ENERGY, OTHER_DENSITY = 1e-6, 1e-2
"""Largest difference of the energies [Hartree], and smallest of the density matrices, of solutions
that are one but for a turn of its unpaired electrons, which the grid does not let be quite free."""


class PySCFCalculator(Calculator):
    """An ASE calculator that falls back on other SCF solvers if one does not converge.

    ``engine`` is a :class:`palirs.engines.PySCF`, whose settings it takes. The solvers are DIIS
    from the initial guess of the recipe; DIIS from free atoms with a level shift of 0.3 Hartree and
    damping, followed by DIIS without them; the second-order solver.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "dipole"]

    def __init__(self, engine: Any):
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

        A start from free atoms has high symmetry and may lead to a saddle point. The hole of a
        linear Π state (OH, NO) may turn about the axis: by a functional that is downhill or uphill
        by the noise of the grid, and restarts lead from one minimum to another as good.
        """
        assert self.atoms is not None
        method, electrons = self._converged(), Electrons.of(self.atoms)
        if not electrons.unpaired:
            return method
        solutions = [method]
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
            solutions.append(method)
        if len(solutions) > DESCENTS and _turned(solutions[1:]):
            method = min(solutions[1:], key=lambda solution: solution.e_tot)
            _check_spin(method, electrons)
            return method
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
        letter = "R"
        if electrons.unpaired:
            letter = "RO" if engine.open_shell == "restricted" else "U"
        if engine.functional.lower() == "hf":
            method = getattr(scf, f"{letter}HF")(molecule)
        else:
            method = getattr(dft, f"{letter}KS")(molecule, xc=engine.functional)
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


def _turned(solutions: Sequence) -> bool:
    """Tell whether solutions have one energy, and each another density than the one before."""
    energies = [solution.e_tot for solution in solutions]
    densities = [_host(solution.make_rdm1()) for solution in solutions]
    moved = [abs(after - before).max() for before, after in pairwise(densities)]
    return max(energies) - min(energies) < SAME_ENERGY and min(moved) > OTHER_DENSITY


def _check_spin(method, electrons: Electrons) -> None:
    """Raise :class:`EngineFailure` if higher multiplicities are mixed in."""
    spin = electrons.unpaired / 2
    square = float(method.spin_square()[0])
    if square - spin * (spin + 1) > CONTAMINATION:
        raise EngineFailure(
            f"⟨S²⟩ is {square:.2f} instead of {spin * (spin + 1):.2f}: the unrestricted "
            f"solution is no pure {electrons}; functionals "
            "with less exact exchange mix less, and engine.open_shell=restricted does not mix",
            final=True,
        )


def _host(array) -> np.ndarray:
    return array.get() if hasattr(array, "get") else np.asarray(array)
