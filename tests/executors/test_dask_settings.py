import os

import dask
import pytest

from palirs.executors import Dask, Slurm
from palirs.executors.dask import MEMORY, SETTINGS, settings, worker_variables


def in_worker() -> tuple[dict[str, object], dict[str, str | None]]:
    import dask

    return {key: dask.config.get(key) for key in SETTINGS}, {
        key: os.environ.get(key) for key in MEMORY
    }


def test_local_workers_have_our_settings_and_keep_their_memory():
    with Dask(workers=1).open() as executor:
        found, memory = executor.submit(in_worker).result()
    assert found == SETTINGS
    assert memory == MEMORY


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
