"""Functionals of libxc as PySCF reads them: parts of a name, and properties of each part."""

import contextlib
import ctypes
import io
import re
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

DILUTE = 1e-3
"""Density of a uniform electron gas [Bohr⁻³] with little short-range exchange."""
_HAVE_EXC, _IN_SPACE, _VV10, _NEEDS_LAPLACIAN = 1 << 0, 1 << 7, 1 << 10, 1 << 15  # of xc.h in libxc
_KINDS = ("exchange", "correlation", "both", "kinetic")  # in the order of xc.h
_UNFINISHED = (
    (r".*_D3?", "was fitted together with a dispersion correction that is not there"),
    (r".*_3C", "is one part of a composite method, whose corrections are not there"),
    (r".*VDW.*", "goes with the non-local correlation of vdW-DF, which PySCF does not have"),
    (r".*_RVV10", "was fitted with the kernel of rVV10, and PySCF has that of VV10 only"),
    (r".*_EPC\d.*", "is correlation of electrons and protons"),
)


@dataclass(frozen=True)
class Part:
    """A functional of libxc, alone or as part of a sum.

    Attributes
    ----------
    number, name
        In libxc.
    factor : float
        Its weight in the sum.
    kind : {"exchange", "correlation", "both", "kinetic"}
        Kind of energy.
    flags : int
        Flags of libxc.
    exact : bool
        Whether it includes exact exchange.
    omega : float
        Parameter of range separation [Bohr⁻¹]; zero without.
    by_erf : bool
        Whether ranges are separated by the error function.
    """

    number: int
    name: str
    factor: float
    kind: str
    flags: int
    exact: bool
    omega: float
    by_erf: bool

    @property
    def local(self) -> bool:
        """Whether it is exchange at short range only."""
        if self.kind != "exchange" or self.omega == 0 or self.exact:
            return False
        return _dilute_exchange(self.number) < 0.7

    @property
    def vv10(self) -> bool:
        """Whether it includes the non-local correlation VV10."""
        return bool(self.flags & _VV10)

    @property
    def problem(self) -> str:
        """Why PySCF gives no or wrong energies and forces; empty if they are right."""
        if self.kind == "kinetic":
            return "is a kinetic energy"
        if not self.flags & _IN_SPACE:
            return "is made for one or two dimensions"
        if not self.flags & _HAVE_EXC:
            return "has a potential and no energy"
        if self.flags & _NEEDS_LAPLACIAN:
            return "needs the Laplacian of the density, which PySCF does not give"
        if self.omega and not self.by_erf and self.exact:
            return "separates the ranges by another function than erf, which PySCF would take"
        if self.omega and self.kind == "correlation":
            return "is correlation of one range only"
        if self.name == "GGA_XC_B97_D":  # D3 and D4 have parameters for it
            return ""
        return next((why for pattern, why in _UNFINISHED if re.fullmatch(pattern, self.name)), "")


def read(functional: str) -> tuple[tuple, str]:
    """Return how PySCF reads a functional, and its messages.

    The former is exact exchange at short and long range and omega, then the parts.
    """
    from pyscf.dft import libxc

    with contextlib.redirect_stderr(io.StringIO()) as messages, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return libxc.parse_xc(functional), messages.getvalue()


def understood(functional: str) -> tuple | None:
    """Return how PySCF reads a functional; ``None`` if it cannot."""
    with contextlib.suppress(Exception):
        return read(functional)[0]
    return None


def parts_read(functional: str) -> tuple[tuple[Part, ...], str]:
    """Return the parts of a functional, and the messages of PySCF."""
    (_, terms), messages = read(functional)
    return tuple(_part(int(number), float(factor)) for number, factor in terms), messages


@cache
def _part(number: int, factor: float) -> Part:
    from pyscf.dft import libxc

    names = {int(number): name for name, number in libxc.available_libxc_functionals().items()}
    library: Any = libxc._itrf  # PySCF passes on neither kind nor flags
    functional = libxc._get_xc(number).xc_objs[0]
    info = ctypes.c_void_p(_call(library.xc_func_get_info, functional, ctypes.c_void_p))
    omega, alpha, beta = libxc.rsh_coeff(number)
    return Part(
        number=number,
        name=names[number],
        factor=factor,
        kind=_KINDS[_call(library.xc_func_info_get_kind, info, ctypes.c_int)],
        flags=_call(library.xc_func_info_get_flags, info, ctypes.c_int),
        exact=bool(alpha or beta or libxc.hybrid_coeff(number)),
        omega=float(omega),
        by_erf=bool(library.LIBXC_is_cam_rsh(functional)),
    )


def _call(function: Any, argument: Any, kind: Any) -> int:
    function.argtypes, function.restype = (ctypes.c_void_p,), kind
    return function(argument)


@cache
def _dilute_exchange(number: int) -> float:
    """Return the exchange of a dilute uniform electron gas as a share of the exact one."""
    from pyscf.dft import libxc

    kinetic = 0.3 * (3 * np.pi**2) ** (2 / 3) * DILUTE ** (5 / 3)
    density = np.array([[DILUTE], [0.0], [0.0], [0.0], [kinetic]])
    rows = {"LDA": density[0], "GGA": density[:4]}.get(libxc.xc_type(number), density)
    energy = libxc.eval_xc1(number, rows, deriv=0)[0]
    return float(energy[0] / libxc.eval_xc1("slater,", density[0], deriv=0)[0][0])
