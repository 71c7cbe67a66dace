import numpy as np
import pytest

from palirs.molecules import Molecules


@pytest.fixture(scope="session")
def molecules():
    """All of organics24, distorted, so that nothing is zero by symmetry."""
    rng = np.random.default_rng(0)
    found = Molecules(names=("organics24",)).load()
    for atoms in found:
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
    return found
