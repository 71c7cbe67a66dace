"""The errors of the models of an iteration."""

import re
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from palirs.learning.quality.calibration import calibrate
from palirs.learning.quality.errors import potential_parity
from palirs.learning.quality.modes import intensity_errors, wavenumber_errors
from palirs.learning.state import LearningSetup
from palirs.mace.models.committee import Committee
from palirs.mace.models.dipole import DipoleModel


def errors_of_modes_held_out(
    committee: Committee, dipole_model: DipoleModel | None, setup: LearningSetup
) -> dict[str, float]:
    """Return the errors of the modes held out, by the models that learn derivatives."""
    errors: dict[str, float] = {}
    if setup.training.derivatives:
        errors |= wavenumber_errors(committee, setup.references)
    if dipole_model is not None and setup.dipoles and setup.dipoles.training.derivatives:
        errors |= intensity_errors(dipole_model, setup.references)
    return errors


def errors_on_tests(
    committee: Committee, test: Sequence[Atoms], setup: LearningSetup
) -> dict[str, float]:
    """Return the metrics of the test frames, of all and of each origin (``….thermal_300K``).

    Those of MD (``forces.md``) are of the exploration's kind: with ring polymers, of single beads.
    """
    energy, forces, spread = potential_parity(committee, test)
    beads = setup.sampler.ring_beads
    kind = re.compile(rf"md_[\d.e+]+K{'' if beads is None else f'_{beads}beads'}")
    md = np.array([kind.fullmatch(name) is not None for name in forces.origin])
    of_md = forces.part(md).metrics("forces.md", "meV_per_A") if md.any() else {}
    by_origin = forces.by(forces.origin, "forces", "meV_per_A")
    return {
        **energy.metrics("energy", "meV"),
        **forces.metrics("forces", "meV_per_A"),
        **of_md,
        **{
            f"{key}.{origin}": value
            for origin, metrics in by_origin.items()
            for key, value in metrics.items()
        },
        "committee.force_std_max_eV_per_A": spread,
        **calibrate(committee, test).metrics(),
    }
