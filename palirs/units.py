"""Conversions between the units of the project (eV, Å, fs, amu, e) and of spectroscopy.

Values come from :mod:`ase.units` (CODATA 2014), so that energies and times agree with ASE to the
last digit.
"""

from ase import units as _u

BOLTZMANN = _u.kB
"""Boltzmann constant [eV/K]."""

HBAR = _u._hbar / _u._e * 1e15
"""Reduced Planck constant [eV fs]."""

EV_PER_AMU_A2_FS2 = 1.0 / _u.fs**2
"""Kinetic energy: amu Å²/fs² in eV (103.64)."""

SPEED_OF_LIGHT = _u._c * 1e2 * 1e-15
"""Speed of light [cm/fs]."""

CM1_PER_EV = 1.0 / _u.invcm
"""Wavenumber of one electron volt [cm⁻¹]."""

ROTATIONAL = _u._hbar**2 / (2 * _u._amu * 1e-20) / (_u._hplanck * _u._c * 1e2)
"""Rotational constant of a moment of inertia of 1 amu Å², ħ²/2I [cm⁻¹] (16.8576); also half the
square of the displacement along a normal mode of 1 cm⁻¹, ħ/ω [amu Å²]."""

DEBYE = 1.0 / _u.Debye
"""Dipole moment: e·Å in Debye (4.80320)."""

MILLIDEBYE = 1e3 * DEBYE
"""Dipole moment: e·Å in milli-Debye."""

KM_PER_MOL = (_u._e**2 * _u._Nav / (12 * _u._eps0 * _u._c**2) / _u._amu) * 1e-3
"""Infrared intensity of (∂μ/∂Q)² = 1 e²/amu [km/mol] (974.9): N_A / (12 ε₀ c²), Wilson, Decius and
Cross (1955)."""

ENERGY = {
    "eV": 1.0,
    "Hartree": _u.Hartree,
    "Ry": _u.Rydberg,
    "kcal/mol": _u.kcal / _u.mol,
    "kJ/mol": _u.kJ / _u.mol,
}
"""Units of energy of calculators and files: factor to eV."""

LENGTH = {"Å": 1.0, "Angstrom": 1.0, "Bohr": _u.Bohr, "nm": _u.nm}
"""Units of length: factor to Å."""

FORCE = {
    f"{energy}/{length}": ENERGY[energy] / LENGTH[length] for energy in ENERGY for length in LENGTH
}
"""Units of force, ``eV/Å``, ``Hartree/Bohr``, ``kcal/mol/Å``: factor to eV/Å."""

DIPOLE = {"e·Å": 1.0, "eAngstrom": 1.0, "Debye": _u.Debye, "e·Bohr": _u.Bohr, "au": _u.Bohr}
"""Units of the dipole moment: factor to e·Å."""


def duration(seconds: float) -> str:
    """Return a time as text: ``40 s``, ``3 min``, ``5.2 h``, ``2.1 days``."""
    for limit, unit, text in ((90, 1, "s"), (5400, 60, "min")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {text}"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
