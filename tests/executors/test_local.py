import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from palirs.executors import Processes, Serial, cores, shares
from palirs.recipes import PalirsError


def threads():
    import torch

    return os.getpid(), torch.get_num_threads()


def fail():
    raise KeyError("nothing here")


@pytest.mark.parametrize("recipe", [Serial(), Processes(workers=1)])
def test_executors_return_results_and_errors(recipe):
    with recipe.open() as executor:
        assert executor.submit(max, 3, 5).result() == 5
        with pytest.raises(KeyError, match="nothing here"):
            executor.submit(fail).result()


@pytest.mark.slow
def test_workers_keep_to_their_threads():
    with Processes(workers=1, threads=1).open() as executor:
        pid, count = executor.submit(threads).result()
    assert pid != os.getpid()
    assert count == 1


@pytest.mark.slow
def test_workers_end_when_the_study_is_killed(tmp_path):
    """SIGKILL of the driver alone; a worker in the middle of a long call must not outlive it."""
    code = (
        "import os, time, pathlib\n"
        "from palirs.executors import Processes\n"
        "from tests.executors.test_local import linger\n"
        "if __name__ == '__main__':\n"
        "    with Processes(workers=1).open() as executor:\n"
        f"        executor.submit(linger, '{tmp_path}/pid').result()\n"
    )
    (tmp_path / "driver.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    driver = subprocess.Popen([sys.executable, str(tmp_path / "driver.py")], env=environment)
    deadline = time.time() + 60
    while not (tmp_path / "pid").exists() and time.time() < deadline:
        time.sleep(0.05)
    worker = int((tmp_path / "pid").read_text())
    driver.kill()
    driver.wait()
    deadline = time.time() + 10
    while working(worker) and time.time() < deadline:
        time.sleep(0.1)
    assert not working(worker)


def working(pid):
    """Whether there is such a process, and it is not dead but for its parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def linger(path):
    part = Path(f"{path}.part")
    part.write_text(str(os.getpid()))
    part.rename(path)
    time.sleep(120)


def test_more_workers_than_cores_are_refused():
    with pytest.raises(PalirsError, match="more than the"):
        Processes(workers=cores(), threads=2)


class Three:
    workers = 3


def test_shares_are_even_and_complete():
    for count in range(1, 12):
        parts = shares(list(range(count)), Three())  # type: ignore[arg-type]
        assert sorted(item for part in parts for item in part) == list(range(count))
        assert all(part == sorted(part) for part in parts), "in the order of the list"
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 1


def test_shares_cost_about_the_same():
    """Seven large molecules and fourteen small ones, by whatever order they were named."""
    for costs in ([12.0] * 7 + [3.0] * 14, [3.0] * 14 + [12.0] * 7, [3.0, 12.0, 3.0] * 7):
        parts = shares(costs, Three(), lambda cost: cost)  # type: ignore[arg-type]
        assert sorted(cost for part in parts for cost in part) == sorted(costs)
        assert max(map(sum, parts)) - min(map(sum, parts)) <= 3.0
    assert shares([5.0, 0.0, 0.0], Three(), lambda cost: cost) == [[5.0], [0.0], [0.0]], (
        "nobody idle"
    )  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("wait", [0.0, 0.5, 3.0])
def test_closing_does_not_wait_for_what_has_begun(wait):
    """Also when the worker is only being started."""
    started = time.monotonic()
    with Processes(workers=1).open() as executor:
        future = executor.submit(time.sleep, 60)
        time.sleep(wait)
    assert time.monotonic() - started < 15
    assert future.cancelled() or future.exception() is not None


@pytest.mark.slow
def test_an_error_of_a_worker_says_where_it_arose():
    with Processes(workers=1).open() as executor, pytest.raises(KeyError) as error:
        executor.submit(fail).result()
    assert 'raise KeyError("nothing here")' in "".join(error.value.__notes__)
