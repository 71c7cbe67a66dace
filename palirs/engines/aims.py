"""FHI-aims through ASE (Blum et al. 2009, doi:10.1016/j.cpc.2009.06.022).

The program is licensed and was not available here: the input is checked line by line, the reader
with genuine outputs, but no calculation was run through this file.
"""

import re
from pathlib import Path
from typing import Any, Literal

from ase.data import chemical_symbols
from pydantic import Field

from palirs.engines.directories import DirectoryEngine, digest
from palirs.engines.papers import PAPERS
from palirs.recipes import Accuracy, PalirsError, recipe

SETTINGS = {
    "xc": "functional",
    "relativistic": "relativistic",
    "sc_accuracy_rho": "density_accuracy",
    "sc_accuracy_etot": "energy_accuracy",
    "sc_accuracy_forces": "force_accuracy",
    "species_dir": "species",
}
"""Settings of the recipe by their keyword in control.in."""
FIXED = ("spin", "charge", "compute_forces")
"""Keywords that are the same for all neutral molecules with closed shells."""
MOVING = re.compile(r"relax_.*|MD_.*|k_grid|k_offset")
"""Keywords that move atoms or belong to crystals."""
CORRECTION = re.compile(r"vdw_.*|many_body_dispersion.*")
"""Keywords that add dispersion."""
WITHOUT_FORCES = re.compile(r"(?i)(rpa|mp2|xyg|xdh|zrps|lc_dh|b2plyp|pbe0-?dh).*")
"""Post-SCF methods, which have no forces."""


@recipe
class Aims(DirectoryEngine):
    """All-electron density functional theory in numeric atom-centred orbitals.

    Parameters
    ----------
    command : str
        Command that starts the program, ``srun aims.x`` or ``mpirun -np 8 aims.x``.
    species_directory : str
        Directory of the species defaults, ``…/species_defaults/defaults_2020``, which holds one of
        each ``species``.
    functional : str
        Keyword ``xc`` of control.in.
    species : {"light", "intermediate", "tight", "really_tight"}
        Level of basis functions and grids. The shipped ``light`` files switch on tier 1.
    relativistic : str
        Keyword ``relativistic`` of control.in.
    van_der_waals : {"hirshfeld", "nonlocal_mbd"} or None
        Tkatchenko-Scheffler with Hirshfeld volumes (doi:10.1103/PhysRevLett.102.073005), or MBD-NL.
    density_accuracy, energy_accuracy, force_accuracy : float
        Convergence of the SCF: electrons, eV, eV/Å. Hessians by finite differences of 0.002 Å need
        forces to 1e-5 eV/Å.
    version : str
        Of the program; labels of different versions are kept apart.
    control : dict
        Further keywords of control.in: ``{charge_mix_param: 0.05}``.
    """

    command: str = ""
    species_directory: str = ""
    functional: str = "pbe"
    species: Literal["light", "intermediate", "tight", "really_tight"] = "light"
    relativistic: str = "atomic_zora scalar"
    van_der_waals: Literal["hirshfeld", "nonlocal_mbd"] | None = "hirshfeld"
    density_accuracy: Accuracy = 1e-6
    energy_accuracy: Accuracy = 1e-6
    force_accuracy: Accuracy = 1e-5
    version: str = ""
    control: dict[str, Any] = Field(default_factory=dict)

    def __post_init__(self):
        for key, meaning in (
            ("command", "how FHI-aims is started, e.g. 'srun aims.x'"),
            ("species_directory", "its species_defaults directory"),
        ):
            if not getattr(self, key):
                raise PalirsError(f"engine.{key}: needs a value: {meaning}")
        if not self._species.is_dir():
            raise PalirsError(
                f"engine.species_directory: there is no directory {self._species}; it should hold "
                "files such as 01_H_default"
            )
        if WITHOUT_FORCES.fullmatch(self.functional):
            problem = f"engine.functional = {self.functional!r}: FHI-aims gives no forces for it"
            raise PalirsError(f"{problem}; give another one, such as pbe0")
        if self.van_der_waals is not None and "vdw" in self.functional.lower():
            raise PalirsError(
                f"engine.van_der_waals = {self.van_der_waals}: functional={self.functional} has "
                "dispersion in it, which would count twice; give null, or a functional without"
            )
        self._check_control()

    def _check_control(self) -> None:
        """Check that further keywords do not contradict the settings."""
        for key in self.control:
            if key in SETTINGS:
                problem = f"engine.{SETTINGS[key]} says that; give it there"
            elif key in FIXED:
                problem = (
                    "neutral molecules of closed shells are calculated, with forces; leave it out"
                )
            elif MOVING.fullmatch(key):
                problem = "a label is of one molecule as it stands; leave it out"
            elif CORRECTION.fullmatch(key) and self.van_der_waals is not None:
                problem = f"engine.van_der_waals={self.van_der_waals} adds dispersion already"
                problem += "; give null there, or leave it out"
            elif key == "output" and "dipole" not in self.control[key]:
                problem = "dipole has to be among it"
            else:
                continue
            raise PalirsError(f"engine.control.{key}: {problem}")

    @property
    def _species(self) -> Path:
        return Path(self.species_directory) / self.species

    @property
    def name(self) -> str:
        """Functional, dispersion and species: ``PBE+vdW (aims, light)``."""
        dispersion = "+vdW" if self.van_der_waals else ""
        return f"{self.functional.upper()}{dispersion} (aims, {self.species})"

    @property
    def parameters(self) -> dict[str, Any]:
        """The keywords of control.in, without the species."""
        correction = {
            "hirshfeld": {"vdw_correction_hirshfeld": True},
            "nonlocal_mbd": {"many_body_dispersion_nl": ""},
        }
        return {
            "xc": self.functional,
            "spin": "none",
            "charge": 0.0,
            "relativistic": self.relativistic,
            **correction.get(self.van_der_waals or "", {}),
            "sc_accuracy_rho": self.density_accuracy,
            "sc_accuracy_etot": self.energy_accuracy,
            "sc_accuracy_forces": self.force_accuracy,
            "compute_forces": True,
            "output": ["dipole"],
            **self.control,
        }

    @property
    def settings(self) -> dict:
        """The keywords of control.in, digest of the species defaults, and version."""
        control = {key: str(value) for key, value in self.parameters.items()}
        species = digest(file for file in sorted(self._species.iterdir()) if file.is_file())
        return {"control": control, "species": species, "version": self.version}

    @property
    def sources(self) -> tuple[str, ...]:
        """Papers on the program and well-known functionals and dispersion corrections."""
        names = ("aims", self.functional.lower(), self.van_der_waals)
        return tuple(PAPERS[key] for key in names if key in PAPERS)

    @property
    def elements(self) -> frozenset[int]:
        """Elements with a file in the species directory."""
        return frozenset(
            int(file.name[:2])
            for file in self._species.glob("[0-9][0-9]_*_default")
            if int(file.name[:2]) < len(chemical_symbols)
        )

    def calculator_in(self, directory: Path) -> Any:
        """Make ASE's calculator that works in ``directory``."""
        from ase.calculators import aims  # takes half a second

        profile = aims.AimsProfile(
            command=self.command, default_species_directory=str(self._species)
        )
        return aims.Aims(profile=profile, directory=str(directory), **self.parameters)

    def final(self, directory: Path) -> bool:
        """Tell whether the SCF did not converge, which a retry would not change, unlike a crash."""
        output = directory / "aims.out"
        return output.is_file() and "not converged" in output.read_text(errors="replace").lower()
