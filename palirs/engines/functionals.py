"""Functionals as PySCF and libxc take them.

What would fail at the first label, or be something else than its name says, is refused.
"""

import contextlib
import difflib
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from palirs.engines.libxc import Part, parts_read, read, understood

COMPLETE = 0.05
"""Weights of exchange and of correlation may be off by so much from 1."""
NEON = (-0.012, 0.02)
"""How far below and above that of Hartree-Fock the energy of neon may lie, as a share of it.

The functionals of libxc that are made for energies lie between −1.1 % and +1.5 %; entries that
are not, or are wrong, from −4.5 % to +7 %."""

_DOUBLE_HYBRID = re.compile(
    r".*(2\w*plyp|xyg|dsd|dod|pwpb95|qidh"  # by their names
    r"|[-_ 0]dh$|[-_ ]0-2|wb97[xm][-(]2).*"  # by their endings
)


def check(functional: str) -> None:
    """Check that PySCF calculates energies and forces with a functional, and the whole of it.

    Raises
    ------
    ValueError
        With what to write instead.
    """
    parts = parts_of(functional)
    for part in parts:
        if part.problem:
            what, instead = f"{part.name.lower()} of libxc {part.problem}", _close_to(part.name)
            raise ValueError(f"{what}; give another functional{instead}")
    if sum(part.vv10 for part in parts) > 1:
        raise ValueError("several of its parts have VV10, and PySCF can add one; give another sum")
    if wrong := wrong_weights(functional, parts):
        weights = ", ".join(f"{what} {weight:g}" for what, weight in wrong.items())
        weights += f", and each should be 1{_double(functional, wrong)}"
        raise ValueError(f"its weights are {weights}; {_completed(functional, parts)}")
    try:
        energy, reference = _neon(functional)
    except Exception as error:  # each part of PySCF has its own
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"PySCF fails on it ({what}); give another functional") from error
    if not NEON[0] < energy / reference - 1 < NEON[1]:
        raise ValueError(
            f"with it neon has {energy:.1f} Hartree instead of about {reference:.1f}: it is not "
            "made for energies, or wrong in libxc; give another functional"
        )


def parts_of(functional: str) -> tuple[Part, ...]:
    """Return what libxc is to add up.

    Raises
    ------
    ValueError
        If PySCF does not know the functional, takes numbers for names, or one of several of a name.
    """
    numbers = [token for token in re.split(r"[,+\-\s]+", functional) if token.isdigit()]
    if numbers:
        hint = _double(functional, {})
        what = f"PySCF would take {numbers[0]} in it for functional number {numbers[0]} of libxc"
        raise ValueError(f"{what}{hint}; give names only")
    try:
        parts, messages = parts_read(functional)
    except Exception as error:  # several kinds: names that are not there, sums that cannot be read
        hint = _double(functional, {}) + _suggestions(functional)
        raise ValueError(f"PySCF knows no such functional{hint}") from error
    if "matches" in messages:
        names = ", ".join(sorted(name.lower() for name in re.findall(r"'(\w+)'", messages)))
        raise ValueError(f"several functionals of libxc have that name; give one of {names}")
    return parts


def unknown(functional: str) -> bool:
    """Return whether PySCF cannot read the name of a functional."""
    return functional.lower() != "hf" and understood(functional) is None


def exact_exchange(functional: str) -> bool:
    """Return whether exact exchange belongs to a functional, ``hf`` among them."""
    if functional.lower() == "hf":
        return True
    (short, long, _), _ = read(functional)[0]
    return bool(short or long) or any(part.exact for part in parts_read(functional)[0])


def wrong_weights(functional: str, parts: Sequence[Part]) -> dict[str, float]:
    """Return the weights of exchange and correlation that are not 1, as of half a double hybrid."""
    (short, long, _), _ = read(functional)[0]
    exchange = [part for part in parts if part.kind in ("exchange", "both")]
    weights = {
        "exchange": short + sum(part.factor for part in exchange),
        "exchange at long range": long + sum(part.factor for part in exchange if not part.local),
        "correlation": sum(part.factor for part in parts if part.kind in ("correlation", "both")),
    }
    if abs(weights["exchange"] - weights["exchange at long range"]) < 1e-9:
        del weights["exchange at long range"]
    return {what: float(weight) for what, weight in weights.items() if abs(weight - 1) > COMPLETE}


def same(functional: str) -> list[str]:
    """Return the other names of what PySCF makes of a functional, the shortest first."""
    meant = read(functional)[0]
    return sorted((name for name in _names() if understood(name) == meant), key=len)


@cache
def _neon(functional: str) -> tuple[float, float]:
    """Return the energies of neon by a functional at the density of Hartree-Fock, and by that."""
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
    """Return names that people may mean: of libxc without their prefixes, and of PySCF."""
    from pyscf.dft import libxc

    stems = (re.sub(r"^(HYB_)?(LDA|GGA|MGGA)_XC_", "", name) for name in libxc.XC_CODES)
    return tuple(sorted({name.lower() for name in (*libxc.XC_ALIAS, *stems)}))


def _passes(functional: str) -> bool:
    """Return whether a name may be suggested."""
    with contextlib.suppress(Exception):
        parts, messages = parts_read(functional)
        sound = not any(part.problem for part in parts)
        return sound and not messages and not wrong_weights(functional, parts)
    return False


def _suggestions(functional: str) -> str:
    lower = functional.lower().strip(", ")
    spelt = (lower, lower.replace("-", "_"), lower.replace("-", ""), lower.replace("_", "-"))
    twice = [name for one in spelt for name in (one, f"{one},{one}")]  # m11 is m11,m11
    close = difflib.get_close_matches(lower, _names(), n=5, cutoff=0.7)
    passing = [name for name in dict.fromkeys([*twice, *close]) if _passes(name)]
    return f"; did you mean {' or '.join(passing[:3])}?" if passing else ""


def _close_to(name: str) -> str:
    stem = re.sub(r"^(HYB_)?(LDA|GGA|MGGA)_(XC|X|C)_", "", name).lower()
    close = difflib.get_close_matches(stem, _names(), n=10, cutoff=0.75)
    passing = [one for one in close if one != stem and _passes(one)]
    return f", {' or '.join(passing[:2])} for example" if passing else ""


def _completed(functional: str, parts: Sequence[Part]) -> str:
    """Return how a functional of which something is missing is made whole."""
    if not parts and exact_exchange(functional):
        return "give hf for Hartree-Fock"
    there, letters = {part.number for part in parts}, functional.lower().strip(", ")
    whole = []
    for name in _names() if there else ():
        meant = understood(name)
        if meant and there <= {number for number, _ in meant[1]} and _passes(name):
            whole.append(name)
    whole.sort(key=lambda name: (name != letters, len(name)))
    return f"give both, as in {', '.join(whole[:3]) or '0.5*hf+0.5*b88,lyp'}"


def _double(functional: str, wrong: dict[str, float]) -> str:
    """Return that double hybrids are not there, where that may be meant."""
    halves = set(wrong) == {"correlation"} and wrong["correlation"] > 0
    if (halves and exact_exchange(functional)) or _DOUBLE_HYBRID.fullmatch(functional.lower()):
        return "; double hybrids need perturbation theory besides, which is not there"
    return ""
