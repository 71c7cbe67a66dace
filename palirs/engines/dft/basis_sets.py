"""Checks of PySCF's orbital basis sets and of auxiliary sets for density fitting."""

import contextlib
import io
import re
import warnings
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
from ase.data import atomic_numbers

COULOMB, EXCHANGE = 3e-3, 5e-4
"""Largest errors of the Coulomb and exchange energy of water [Hartree] by density fitting.

Sets for both have errors up to 5e-5 and 1.5e-4, sets for the Coulomb part up to 1.3e-3 and from
9e-4, small sets for MP2 6e-3 in the Coulomb part, orbital sets from 3e-2."""
UNIVERSAL = "def2-universal-jkfit"
"""Auxiliary set for Coulomb and exchange energy of all elements up to radon."""
HYDRIDES = {
    "O": "O 0 0 0; H 0.76 0.59 0; H -0.76 0.59 0",
    "C": "C 0 0 0; H 0.63 0.63 0.63; H -0.63 -0.63 0.63; H -0.63 0.63 -0.63; H 0.63 -0.63 -0.63",
}
"""Molecules [Å] to test an auxiliary set with: the first whose elements it covers."""


def check_orbitals(basis: str) -> None:
    """Raise :class:`ValueError` unless PySCF has a basis set and it is an orbital one."""
    from pyscf.gto.basis import ALIAS, _format_basis_name

    if problem := _not_loaded(basis, "H"):
        raise ValueError(f"PySCF knows no such basis set for hydrogen ({problem})")
    if re.search(r"(?i)(fit|-ri)\.dat$", str(ALIAS.get(_format_basis_name(basis), ""))):
        raise ValueError(
            "it is an auxiliary set of density fitting, not of orbitals; give def2-svp"
        )


def check_auxiliary(basis: str, functional: str, exact: bool) -> None:
    """Check the accuracy of density fitting with an auxiliary set on a small molecule.

    Parameters
    ----------
    basis : str
        Auxiliary set.
    functional : str
        Name, for the message.
    exact : bool
        Whether the functional has exact exchange, which is fitted too.

    Raises
    ------
    ValueError
        If PySCF has no such set, or its error is too large.
    """
    if problem := _not_loaded(basis, "H"):
        raise ValueError(f"PySCF knows no such basis set for hydrogen ({problem})")
    heavy = next((symbol for symbol in HYDRIDES if not _not_loaded(basis, symbol)), None)
    if heavy is None:
        return
    coulomb, exchange = _errors(basis, heavy)
    name = "water" if heavy == "O" else "methane"
    if coulomb > COULOMB:
        raise ValueError(
            f"with it the Coulomb energy of {name} is wrong by {coulomb:.2g} Hartree: it is not "
            f"made for that; give null for the set of the basis, or {UNIVERSAL}"
        )
    if exact and exchange > EXCHANGE:
        raise ValueError(
            f"with it the exchange energy of {name} is wrong by {exchange:.2g} Hartree: it is made "
            f"for the Coulomb part only, and functional={functional} has exact exchange; give null "
            f"for the set of the basis, or {UNIVERSAL}"
        )


def lacking(
    auxiliary: str | None, basis: str, functional: str, symbols: list[str]
) -> tuple[str, list[str]]:
    """Return the auxiliary set that PySCF uses, and the elements it lacks."""
    from pyscf import gto
    from pyscf.df.addons import predefined_auxbasis

    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        any_molecule = gto.M(atom="H 0 0 0; H 0 0 0.74", verbose=0)
        chosen: Any = auxiliary or predefined_auxbasis(any_molecule, basis, functional.upper())
    if not isinstance(chosen, str):  # generated for each element
        return "", []
    return chosen, [symbol for symbol in symbols if _not_loaded(chosen, symbol)]


@cache
def has_core_potential(basis: str, symbol: str) -> bool:
    """Tell whether the basis set has an effective core potential for an element."""
    from pyscf.gto.basis import load_ecp

    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(load_ecp(basis, symbol))
    return False


@cache
def covered(basis: str) -> frozenset[int]:
    """Return the elements up to radon that a basis set covers."""
    numbers = {symbol: number for symbol, number in atomic_numbers.items() if 0 < number <= 86}
    return frozenset(number for symbol, number in numbers.items() if not _not_loaded(basis, symbol))


@cache
def _not_loaded(basis: str, symbol: str) -> str:
    """Return why PySCF cannot load a basis set for an element; empty if it can."""
    from pyscf.gto.basis import load

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "" if load(basis, symbol) else "it is empty"
    except Exception as error:  # PySCF raises several kinds
        return " ".join(str(error).split()) or type(error).__name__


@cache
def _errors(auxiliary: str, heavy: str) -> tuple[float, float]:
    """Return the errors of Coulomb and exchange energy [Hartree] by density fitting; 0.05 s."""
    from pyscf import gto, scf

    molecule = gto.M(atom=HYDRIDES[heavy], basis="6-31g*", verbose=0)
    method: Any = scf.RHF(molecule)
    density = method.get_init_guess(key="minao")
    exact = method.get_jk(molecule, density)
    fitted = method.density_fit(auxbasis=auxiliary).get_jk(molecule, density)
    errors = [approximate - true for true, approximate in zip(exact, fitted, strict=True)]
    coulomb, exchange = (float(np.einsum("ij,ji", density, error)) for error in errors)
    return abs(0.5 * coulomb), abs(0.25 * exchange)
