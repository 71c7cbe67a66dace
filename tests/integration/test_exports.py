"""A study leaves in the forms of other programs through ``run.py``."""

import ase.io
import h5py
import numpy as np
import pytest

from palirs.production.trajectories import geometries
from tests.integration.conftest import copied
from tests.integration.test_study import run
from tests.physics.test_molden import sections

pytestmark = [pytest.mark.integration, pytest.mark.thorough]


@pytest.fixture(scope="module")
def study(once, tmp_path_factory):
    place, _ = once("undisturbed", lambda place: run(place / "study"))
    return copied(place, tmp_path_factory.mktemp("copy") / "exports") / "study"


def done(study, *words):
    outcome = run(study, *words)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_modes_and_trajectories_leave(study):
    assert "methanol-engine.molden: 12 modes" in done(study, "task=export_modes")
    assert len(sections(study / "exported" / "methanol-engine.molden")["[INT]"]) == 12
    done(study, "task=export_trajectories")
    (folder,) = (study / "trajectories").glob("methanol-300K-00*")
    frames = ase.io.read(study / "exported" / folder.name / "1.xyz", ":")
    recorded = geometries([folder / "1.xyz"])
    assert len(frames) == len(recorded) > 1
    dipoles = np.fromfile(folder / "1.dipoles").reshape(-1, 3)
    np.testing.assert_allclose(frames[0].get_dipole_moment(), dipoles[0], atol=1e-9)
    done(study, "task=export_trajectories", "layout=schnetpack", "kind=reference")
    with h5py.File(study / "exported" / "methanol-300K-reference.hdf5", swmr=True) as stream:
        own = stream["properties"][:, 0, 3:6]
    folder = study / "trajectories" / "methanol-300K-reference"
    np.testing.assert_allclose(10 * own, np.fromfile(folder / "1.dipoles").reshape(-1, 3))


def test_all_geometries_are_kept_by_running_the_same_trajectories_again(study):
    outcome = run(study, "task=export_trajectories", "layout=travis")
    assert outcome.returncode == 1
    (setting,) = {word for word in outcome.stderr.split() if word.startswith("spectrum.geometry")}
    (folder,) = (study / "trajectories").glob("methanol-300K-00*")
    before = (folder / "0.dipoles").read_bytes()
    done(study, "task=spectra", setting)
    assert (folder / "0.dipoles").read_bytes() == before
    done(study, "task=export_trajectories", "layout=travis", setting)
    assert (study / "exported" / f"{folder.name}-travis" / "0.xyz").exists()
