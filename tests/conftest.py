from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule

from palirs import keys
from palirs.labels import attach
from palirs.mace.settings import Architecture

torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption(
        "--thorough", action="store_true", help="run the tests that take minutes each, too"
    )


def pytest_collection_modifyitems(config, items):
    """Leave out what takes minutes, and say so: they are neither passed nor skipped."""
    if config.getoption("--thorough"):
        return
    left_out = [item for item in items if item.get_closest_marker("thorough")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]


def pytest_terminal_summary(terminalreporter, config):
    if not config.getoption("--thorough"):
        terminalreporter.write_line(
            "tests marked thorough, which take longest, were left out: make thorough runs them"
        )


SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference data that may not be shipped with the project; it lies beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"no reference data in {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def small() -> Architecture:
    return Architecture(
        channels=4,
        max_L=1,
        max_ell=2,
        correlation=2,
        cutoff=2.2,
        radial_mlp=(16, 16),
        dtype="float64",
    )


@pytest.fixture(scope="session")
def frames():
    """Forty labelled, distorted methanols and formamides, labels from GFN2-xTB."""
    from palirs.engines import TBLite
    from palirs.molecules import table

    rng = np.random.default_rng(0)
    found = []
    for name in ("methanol", "formamide"):
        for _ in range(20):
            atoms = table()[name].copy()
            atoms.info = {keys.MOLECULE: name}
            atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
            found.append(atoms)
    return [
        attach(atoms, label) for atoms, label in zip(found, TBLite().calculate(found), strict=True)
    ]


@pytest.fixture(scope="session")
def committee(small, frames):
    """Three untrained members: every identity must hold for any weights."""
    from palirs.mace.models.committee import Committee
    from palirs.mace.models.potential import PotentialShape

    members = []
    for seed in range(3):
        torch.manual_seed(seed)
        shape = PotentialShape.of(frames, small)
        members.append((shape, shape.build()))
    return Committee.of(members)


@pytest.fixture
def water():
    atoms = molecule("H2O")
    atoms.info[keys.MOLECULE] = "water"
    return atoms
