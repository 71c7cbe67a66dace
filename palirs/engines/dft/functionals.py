"""Checks of density functionals: those that fail or differ from their name are refused."""

import contextlib
import difflib
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from palirs.engines.dft.libxc import Part, parts_read, read, understood

COMPLETE = 0.05
"""Largest deviation of the weights of exchange and correlation from 1."""
NEON = (-0.012, 0.02)
"""Allowed relative difference of the energy of neon from Hartree-Fock.

Functionals of libxc for energies lie between −1.1 % and +1.5 %; others, and wrong entries, from
−4.5 % to +7 %."""

_DOUBLE_HYBRID = re.compile(
    r".*(2\w*plyp|xyg|dsd|dod|pwpb95|qidh"  # by their names
    r"|[-_ 0]dh$|[-_ ]0-2|wb97[xm][-(]2).*"  # by their endings
)


def check(functional: str) -> None:
    """Check that PySCF gives energies and forces of a functional, and that it is complete.

    Raises
    ------
    ValueError
        With a functional to use instead.
    """
    parts = parts_of(functional)
    for part in parts:
        if part.problem:
            problem = f"{part.name.lower()} of libxc {part.problem}"
            raise ValueError(f"{problem}; give another functional{_close_to(part.name)}")
    if sum(part.vv10 for part in parts) > 1:
        raise ValueError("several of its parts have VV10, and PySCF can add one; give another sum")
    if wrong := wrong_weights(functional, parts):
        weights = ", ".join(f"{kind} {weight:g}" for kind, weight in wrong.items())
        weights += f", and each should be 1{_double(functional, wrong)}"
        raise ValueError(f"its weights are {weights}; {_completed(functional, parts)}")
    try:
        energy, reference = _neon(functional)
    except Exception as error:  # PySCF raises errors of any kind
        cause = f"{type(error).__name__}: {error}"
        raise ValueError(f"PySCF fails on it ({cause}); give another functional") from error
    if not NEON[0] < energy / reference - 1 < NEON[1]:
        raise ValueError(
            f"with it neon has {energy:.1f} Hartree instead of about {reference:.1f}: it is not "
            "made for energies, or wrong in libxc; give another functional"
        )


def parts_of(functional: str) -> tuple[Part, ...]:
    """Return the parts that libxc adds up to a functional.

    Raises
    ------
    ValueError
        If PySCF does not know the functional, or the name is a number or ambiguous.
    """
    numbers = [token for token in re.split(r"[,+\-\s]+", functional) if token.isdigit()]
    if numbers:
        hint = _double(functional, {})
        problem = f"PySCF would take {numbers[0]} in it for functional number {numbers[0]} of libxc"
        raise ValueError(f"{problem}{hint}; give names only")
    try:
        parts, messages = parts_read(functional)
    except Exception as error:  # of several kinds, for unknown names and wrong sums
        hint = _double(functional, {}) + _suggestions(functional)
        raise ValueError(f"PySCF knows no such functional{hint}") from error
    if "matches" in messages:
        names = ", ".join(sorted(name.lower() for name in re.findall(r"'(\w+)'", messages)))
        raise ValueError(f"several functionals of libxc have that name; give one of {names}")
    return parts


def unknown(functional: str) -> bool:
    """Tell whether PySCF cannot read the name of a functional."""
    return functional.lower() != "hf" and understood(functional) is None


def exact_exchange(functional: str) -> bool:
    """Tell whether a functional, or ``hf``, has exact exchange."""
    if functional.lower() == "hf":
        return True
    (short, long, _), _ = read(functional)[0]
    return bool(short or long) or any(part.exact for part in parts_read(functional)[0])


def wrong_weights(functional: str, parts: Sequence[Part]) -> dict[str, float]:
    """Return the weights of exchange and correlation that are not 1."""
    (short, long, _), _ = read(functional)[0]
    exchange = [part for part in parts if part.kind in ("exchange", "both")]
    weights = {
        "exchange": short + sum(part.factor for part in exchange),
        "exchange at long range": long + sum(part.factor for part in exchange if not part.local),
        "correlation": sum(part.factor for part in parts if part.kind in ("correlation", "both")),
    }
    if abs(weights["exchange"] - weights["exchange at long range"]) < 1e-9:
        del weights["exchange at long range"]
    return {kind: float(weight) for kind, weight in weights.items() if abs(weight - 1) > COMPLETE}


def same(functional: str) -> list[str]:
    """Return the names that PySCF reads as the same functional, the shortest first."""
    definition = read(functional)[0]
    return sorted((name for name in _names() if understood(name) == definition), key=len)


@cache
def _neon(functional: str) -> tuple[float, float]:
    """Return the energies of neon by a functional, at the density of Hartree-Fock, and by that."""
    from pyscf import dft

    molecule, density, reference = _neon_density()
    method = dft.RKS(molecule, xc=functional)
    method.disp, method.grids.level, method.nlcgrids.level = False, 0, 0
    return float(method.energy_tot(density)), reference


@cache
def _neon_density() -> tuple[Any, np.ndarray, float]:
    from pyscf import gto, scf

    molecule = gto.M(atom="Ne", basis="6-31g", verbose=0)
    method = scf.RHF(molecule)
    reference = float(method.kernel())
    return molecule, method.make_rdm1(), reference


@cache
def _names() -> tuple[str, ...]:
    """Return the names of functionals of libxc, without prefixes, and of PySCF."""
    from pyscf.dft import libxc

    stems = (re.sub(r"^(HYB_)?(LDA|GGA|MGGA)_XC_", "", name) for name in libxc.XC_CODES)
    return tuple(sorted({name.lower() for name in (*libxc.XC_ALIAS, *stems)}))


def _passes(functional: str) -> bool:
    """Tell whether a name can be suggested."""
    with contextlib.suppress(Exception):
        parts, messages = parts_read(functional)
        sound = not any(part.problem for part in parts)
        return sound and not messages and not wrong_weights(functional, parts)
    return False


def _suggestions(functional: str) -> str:
    lower = functional.lower().strip(", ")
    spellings = (lower, lower.replace("-", "_"), lower.replace("-", ""), lower.replace("_", "-"))
    twice = [name for text in spellings for name in (text, f"{text},{text}")]  # m11 is m11,m11
    close = difflib.get_close_matches(lower, _names(), n=5, cutoff=0.7)
    passing = [name for name in dict.fromkeys([*twice, *close]) if _passes(name)]
    return f"; did you mean {' or '.join(passing[:3])}?" if passing else ""


def _close_to(name: str) -> str:
    stem = re.sub(r"^(HYB_)?(LDA|GGA|MGGA)_(XC|X|C)_", "", name).lower()
    close = difflib.get_close_matches(stem, _names(), n=10, cutoff=0.75)
    passing = [other for other in close if other != stem and _passes(other)]
    return f", {' or '.join(passing[:2])} for example" if passing else ""


def _completed(functional: str, parts: Sequence[Part]) -> str:
    """Return advice on completing a functional that lacks exchange or correlation."""
    if not parts and exact_exchange(functional):
        return "give hf for Hartree-Fock"
    numbers = {part.number for part in parts}
    lower = functional.lower().strip(", ")
    complete = []
    for name in _names() if numbers else ():
        definition = understood(name)
        if definition and numbers <= {number for number, _ in definition[1]} and _passes(name):
            complete.append(name)
    complete.sort(key=lambda name: (name != lower, len(name)))
    return f"give both, as in {', '.join(complete[:3]) or '0.5*hf+0.5*b88,lyp'}"


def _double(functional: str, wrong: dict[str, float]) -> str:
    """Return a note that double hybrids are not supported, if one may be meant."""
    halves = set(wrong) == {"correlation"} and wrong["correlation"] > 0
    if (halves and exact_exchange(functional)) or _DOUBLE_HYBRID.fullmatch(functional.lower()):
        return "; double hybrids need perturbation theory besides, which is not there"
    return ""
