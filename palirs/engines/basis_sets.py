"""Basis sets of PySCF: of the orbitals, and auxiliary ones of density fitting."""

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
"""Errors of the Coulomb and the exchange energy of water [Hartree] that density fitting may make.

Sets for both make up to 5e-5 and 1.5e-4, those for the Coulomb part up to 1.3e-3 and from 9e-4,
small ones for MP2 6e-3 in the Coulomb part, sets of orbitals from 3e-2."""
UNIVERSAL = "def2-universal-jkfit"
"""Fits Coulomb and exchange energy of all elements up to radon."""
HYDRIDES = {
    "O": "O 0 0 0; H 0.76 0.59 0; H -0.76 0.59 0",
    "C": "C 0 0 0; H 0.63 0.63 0.63; H -0.63 -0.63 0.63; H -0.63 0.63 -0.63; H 0.63 -0.63 -0.63",
}
"""Molecules [Å] that an auxiliary set is tried on: the first whose elements it has."""


def check_orbitals(basis: str) -> None:
    """Check that PySCF has a basis set, and that it is one of orbitals.

    Raises
    ------
    ValueError
        If not.
    """
    from pyscf.gto.basis import ALIAS, _format_basis_name

    if problem := _not_loaded(basis, "H"):
        raise ValueError(f"PySCF knows no such basis set for hydrogen ({problem})")
    if re.search(r"(?i)(fit|-ri)\.dat$", str(ALIAS.get(_format_basis_name(basis), ""))):
        raise ValueError(
            "it is an auxiliary set of density fitting, not of orbitals; give def2-svp"
        )


def check_auxiliary(basis: str, functional: str, exact: bool) -> None:
    """Check that density fitting with an auxiliary set is good, on a molecule.

    Parameters
    ----------
    basis : str
        Auxiliary set.
    functional : str
        Name, for the message.
    exact : bool
        Whether exact exchange belongs to the functional, which is fitted too.

    Raises
    ------
    ValueError
        If PySCF has no such set, or it is not made for this.
    """
    if problem := _not_loaded(basis, "H"):
        raise ValueError(f"PySCF knows no such basis set for hydrogen ({problem})")
    heavy = next((symbol for symbol in HYDRIDES if not _not_loaded(basis, symbol)), None)
    if heavy is None:
        return
    coulomb, exchange = _errors(basis, heavy)
    what = f"of {'water' if heavy == 'O' else 'methane'}"
    if coulomb > COULOMB:
        raise ValueError(
            f"with it the Coulomb energy {what} is wrong by {coulomb:.2g} Hartree: it is not made "
            f"for that; give null for the set of the basis, or {UNIVERSAL}"
        )
    if exact and exchange > EXCHANGE:
        raise ValueError(
            f"with it the exchange energy {what} is wrong by {exchange:.2g} Hartree: it is made "
            f"for the Coulomb part only, and functional={functional} has exact exchange; give null "
            f"for the set of the basis, or {UNIVERSAL}"
        )


def lacking(
    auxiliary: str | None, basis: str, functional: str, symbols: list[str]
) -> tuple[str, list[str]]:
    """Return the auxiliary set that PySCF takes, and the elements it does not have."""
    from pyscf import gto
    from pyscf.df.addons import predefined_auxbasis

    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        any_molecule = gto.M(atom="H 0 0 0; H 0 0 0.74", verbose=0)
        chosen: Any = auxiliary or predefined_auxbasis(any_molecule, basis, functional.upper())
    if not isinstance(chosen, str):  # made to measure for each element
        return "", []
    return chosen, [symbol for symbol in symbols if _not_loaded(chosen, symbol)]


@cache
def has_core_potential(basis: str, symbol: str) -> bool:
    """Return whether the basis set goes with an effective core potential for this element."""
    from pyscf.gto.basis import load_ecp

    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(load_ecp(basis, symbol))
    return False


@cache
def covered(basis: str) -> frozenset[int]:
    """Return the elements up to radon that a basis set has."""
    numbers = {symbol: number for symbol, number in atomic_numbers.items() if 0 < number <= 86}
    return frozenset(number for symbol, number in numbers.items() if not _not_loaded(basis, symbol))


@cache
def _not_loaded(basis: str, symbol: str) -> str:
    """Return why PySCF has no such basis set for an element; empty if it has."""
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
    exactly = method.get_jk(molecule, density)
    fitted = method.density_fit(auxbasis=auxiliary).get_jk(molecule, density)
    errors = [there - exact for exact, there in zip(exactly, fitted, strict=True)]
    coulomb, exchange = (float(np.einsum("ij,ji", density, error)) for error in errors)
    return abs(0.5 * coulomb), abs(0.25 * exchange)
