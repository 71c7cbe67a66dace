"""Checks that functional and dispersion correction belong together, by PySCF's libraries."""

import re
import warnings

from palirs.engines.dft import functionals

MODELS = ("d3bj", "d3zero", "d4")
"""Dispersion corrections."""
MEANT = {"b97": "b97-d"}
"""Functional of common names: ``b97-d3bj`` does not correct the hybrid B97."""

_SUFFIX = re.compile(r"(?P<functional>.+?)[-_ ]g?(?P<model>d[234]\S*|d)")


def check_name(functional: str, dispersion: str | None) -> None:
    """Refuse a functional with dispersion in its name, unless PySCF has it and it is set likewise.

    Raises
    ------
    ValueError
        With settings to use instead.
    """
    lower = functional.lower()
    if lower.endswith("3c"):
        raise ValueError(
            "a composite method is functional, basis set and corrections together, which PySCF "
            "does not have; give for example functional=r2scan dispersion=d4 and a basis"
        )
    plain, replaces, named = _read(functional)
    if named is None:
        suffix = _SUFFIX.fullmatch(lower)
        if suffix and functionals.unknown(functional):
            base = suffix["functional"]
            if not functionals.unknown(base):
                raise ValueError(_two_settings(base, suffix["model"]))
        return
    model = named.partition(":")[0]
    if replaces and not vv10(plain):
        advice = _other_range_separated()
        raise ValueError(f"releases of PySCF do different things for it; {advice}")
    if not replaces and plain != lower:
        raise ValueError(_two_settings(plain, model))
    if dispersion != model:
        where = " in place of the VV10 of its functional" if replaces else ""
        raise ValueError(f"{model} belongs to it{where}; give dispersion={model}")


def check_pair(functional: str, dispersion: str | None) -> None:
    """Refuse missing dispersion, dispersion counted twice, and a model without parameters.

    Parameters
    ----------
    functional : str
        Accepted by :func:`check_name` and :func:`palirs.engines.dft.functionals.check`, or ``hf``.
    dispersion : str or None
        One of :data:`MODELS`.

    Raises
    ------
    ValueError
        With settings to use instead.
    """
    parts = () if functional.lower() == "hf" else functionals.parts_of(functional)
    if dispersion is None:
        if any(part.name == "GGA_XC_B97_D" for part in parts):
            raise ValueError("it was fitted with dispersion; give dispersion=d3bj or d3zero")
        return
    if in_name(functional):
        return
    if parts and vv10(functional):
        raise ValueError(
            f"its correlation holds VV10, and dispersion={dispersion} would count dispersion "
            f"twice; give dispersion=null{_in_place_of_vv10(functional, dispersion)}"
        )
    if functional.lower() == "wb97x":  # dftd4 has the original as in libxc
        original = ", or functional=hyb_gga_xc_wb97x dispersion=d4" if dispersion == "d4" else ""
        advice = _other_range_separated() + original
        raise ValueError(f"what {dispersion} calls wb97x are refitted functionals; {advice}")
    if not has_parameters(functional, dispersion):
        choices = _choices(functional, dispersion)
        raise ValueError(f"{dispersion} has no parameters for it; give {choices}")


def in_name(functional: str) -> bool:
    """Tell whether PySCF takes dispersion from the name of the functional."""
    return functional.lower() != "hf" and _read(functional)[2] is not None


def vv10(functional: str) -> bool:
    """Tell whether a functional of libxc includes the non-local correlation VV10."""
    from pyscf.dft import libxc

    return bool(libxc.is_nlc(functional))


def has_parameters(functional: str, dispersion: str) -> bool:
    """Tell whether simple-dftd3 or dftd4 have parameters of a functional.

    True where they are not installed.
    """
    from pyscf import gto
    from pyscf.scf.dispersion import parse_disp

    try:
        from pyscf.dispersion import dftd3, dftd4
    except ImportError:
        return True

    molecule = gto.M(atom="H 0 0 0; H 0 0 0.74", verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            method, version, three_body = parse_disp(functional, dispersion)
            if version == "d4":
                dftd4.DFTD4Dispersion(molecule, xc=method, atm=three_body)
            else:
                dftd3.DFTD3Dispersion(molecule, xc=method, version=version, atm=three_body)
        except RuntimeError:  # of both packages; NotImplementedError is one
            return False
    return True


def _read(functional: str) -> tuple[str, bool, str | None]:
    """Return how PySCF reads a name: functional, whether its VV10 is left out, dispersion.

    Raises
    ------
    ValueError
        For dispersion that PySCF does not have.
    """
    from pyscf.scf.dispersion import parse_dft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            plain, non_local, named = parse_dft(functional)
        except NotImplementedError as error:
            problem = "PySCF does not have the dispersion that belongs to it"
            raise ValueError(f"{problem}; {_other_range_separated()}") from error
    return plain, non_local is False, named


def _two_settings(functional: str, model: str) -> str:
    """Return how to write a functional with dispersion in its name as two settings."""
    functional = MEANT.get(functional, functional)
    if functional != "hf":
        functionals.check(functional)  # its errors come first
    fitting = [model for model in MODELS if has_parameters(functional, model)]
    similar = [name for name in fitting if name.startswith(model[:2])]
    choices = [model] if model in fitting else similar or fitting or ["null"]
    settings = f"functional={functional} dispersion={' or '.join(choices)}"
    return f"dispersion is a setting of its own; give {settings}"


def _choices(functional: str, dispersion: str) -> str:
    names = [] if functional.lower() == "hf" else functionals.same(functional)
    parametrised = [name for name in names if has_parameters(name, dispersion)]
    synonyms = [f"functional={name} dispersion={dispersion}" for name in parametrised[:1]]
    fitting = [model for model in MODELS if has_parameters(functional, model)]
    return ", or ".join(
        [*synonyms, *(f"dispersion={model}" for model in fitting), "dispersion=null"]
    )


def _in_place_of_vv10(functional: str, dispersion: str) -> str:
    stem = re.sub(r"[-_]?v$", "", functional.lower())
    name = f"{stem}-{dispersion}"
    try:
        plain, replaces, _ = _read(name)
    except ValueError:
        return ""
    if not replaces or not vv10(plain):
        return ""
    return f", or functional={name}, which has {dispersion} in its place"


def _other_range_separated() -> str:
    return "give functional=wb97x-v dispersion=null, or functional=wb97x-d3bj dispersion=d3bj"
