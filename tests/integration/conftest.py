"""Studies that several tests look at are run once, whichever worker comes first; each test or file works on a copy."""

import os
import pickle
import shutil

import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Return ``once(name, build)``: a directory that ``build(directory)`` filled, for all workers of this run, and its result."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def made(name, build):
        place, result = root / name, root / f"{name}.pickle"
        with FileLock(root / f"{name}.lock"):
            if not result.exists():
                shutil.rmtree(place, ignore_errors=True)  # of a build that failed
                place.mkdir()
                value = build(place)
                result.write_bytes(pickle.dumps(value))
            return place, pickle.loads(result.read_bytes())

    return made


def copied(place, to):
    """Return a copy of a directory."""
    shutil.copytree(place, to)
    return to
