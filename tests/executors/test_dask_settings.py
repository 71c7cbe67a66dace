"""Workers of Dask, as Slurm jobs have them."""

import logging
import os

import dask
import pytest
from distributed import Client, LocalCluster

from palirs.executors import Dask, Slurm
from palirs.executors.dask import MEMORY, SETTINGS, DaskExecutor, settings, worker_variables
from palirs.labels import Labeller, LabelStore
from palirs.recipes import PalirsError
from palirs.settings.targets import check_targets
from tests.toy import DIE, HANG, Toy, frames


def in_worker() -> tuple[dict[str, object], dict[str, str | None]]:
    return {key: dask.config.get(key) for key in SETTINGS}, {
        key: os.environ.get(key) for key in MEMORY
    }


@pytest.fixture
def executor():
    """Return what calls go through that are meant for Slurm jobs, with a worker on this machine."""
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        settings(),
        LocalCluster(**options, env=worker_variables(1), silence_logs=logging.ERROR) as cluster,
        Client(cluster) as client,
    ):
        yield DaskExecutor(client, workers=1, time_limit=5.0)


@pytest.mark.slow
def test_workers_have_our_settings_and_keep_their_memory(executor):
    found, memory = executor.submit(in_worker).result()
    assert found == SETTINGS
    assert memory == MEMORY


@pytest.mark.slow
def test_what_hangs_or_kills_its_worker_fails_alone(executor, tmp_path, capfd):
    structures = frames(6)
    structures[1].positions[0, 0], structures[3].positions[0, 0] = HANG, DIE
    store = LabelStore(tmp_path / "labels.db")
    labeller = Labeller(Toy(), store, executor, attempts=1)
    assert len(labeller.label(structures, title="")) == 4
    assert labeller.failed == 2
    assert "longer than" in str(store.get(Toy(), structures[1]))
    assert "died" in str(store.get(Toy(), structures[3]))
    assert "Traceback" not in capfd.readouterr().err


def test_the_local_dask_option_of_earlier_versions_is_refused_with_what_to_use_instead():
    with pytest.raises(PalirsError, match=r"no Dask workers on this machine.*=processes"):
        Dask(workers=2, memory="4GB")
    check_targets({"_target_": "palirs.executors.Dask"})


def test_workers_elsewhere_read_the_same_settings_from_their_environment():
    found = dask.config.collect(paths=[], env=worker_variables(1))
    for key, value in SETTINGS.items():
        assert dask.config.get(key, config=found) == value
    with settings():
        assert {key: dask.config.get(key) for key in SETTINGS} == SETTINGS


@pytest.mark.parametrize(
    "key", [*MEMORY, "OMP_NUM_THREADS", "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL"]
)
def test_job_scripts_set_them(key):
    assert f"export {key}={worker_variables(2)[key]}\n" in Slurm(cores=2).script
