"""SIGKILL of the driver or of a worker at random moments while labelling.

What was finished stays, and is not calculated again.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from ase.db import connect

from palirs.executors import SerialExecutor
from palirs.labels import Labeller, LabelStore
from palirs.labels.record import label_key
from palirs.molecules import on_grid
from tests.toy import Toy, frames, lines

ROOT = Path(__file__).parents[2]
KILLS = 20
DRIVER = """
import sys
from palirs.executors import Processes
from palirs.labels import Labeller, LabelStore
from tests.toy import Toy, frames
if __name__ == "__main__":
    with Processes(workers=2).open() as executor:
        labeller = Labeller(
            Toy(log=sys.argv[2], delay=0.04), LabelStore(sys.argv[1]), executor, attempts=9
        )
        labeller.label(frames(200), title="")
"""


def finished(path: Path) -> set[str]:
    """Return the keys whose result is on disk, in the database or in the spool."""
    found = (
        {row.label_key for row in connect(path, use_lock_file=False).select("energy>-1e9")}
        if path.exists()
        else set()
    )
    for file in path.with_name("labels.db.spool").glob("*.jsonl"):
        with suppress(
            FileNotFoundError
        ):  # taken in meanwhile, and then found in the database at the next look
            found |= {json.loads(line)["key"] for line in file.read_text().split("\n")[:-1] if line}
    return found


def workers(log: Path) -> list[int]:
    """Return the processes that calculated something lately and live."""
    recent = {int(line.split()[2]) for line in log.read_text().splitlines()[-8:]}
    return [
        pid
        for pid in recent
        if Path(f"/proc/{pid}/stat").exists()
        and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    ]


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.thorough
def test_twenty_kills(tmp_path):
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    print(f"seed {seed}")
    store, log = tmp_path / "labels.db", tmp_path / "log"
    (tmp_path / "driver.py").write_text(DRIVER)
    keys = {
        f"{on_grid(atoms).positions[0, 0]:.8f}": label_key(Toy(), on_grid(atoms))
        for atoms in frames(200)
    }
    kills, driver = 0, None
    while driver is None or driver.poll() != 0:
        if driver is None or driver.poll() is not None:
            begun = len(lines(log, "begin"))
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            driver = subprocess.Popen(
                [sys.executable, str(tmp_path / "driver.py"), str(store), str(log)], env=environment
            )
            while driver.poll() is None and len(lines(log, "begin")) == begun:
                time.sleep(0.01)
        if kills == KILLS:
            driver.wait(timeout=60)
            continue
        time.sleep(rng.uniform(0.0, 0.25))
        alive = workers(log)
        victim = driver.pid if rng.random() < 0.5 or not alive else rng.choice(alive)
        if driver.poll() is not None:
            continue
        os.kill(victim, signal.SIGKILL)
        kills += 1
        if victim == driver.pid:
            driver.wait()
            time.sleep(0.3)  # its workers end by themselves
            before, done = lines(log, "begin"), finished(store)
        else:
            done, before = finished(store), lines(log, "begin")
            time.sleep(0.3)
        for structure in lines(log, "begin")[len(before) :]:
            assert keys[structure] not in done, f"{structure} was finished and is calculated again"
    again = [
        structure
        for structure in set(lines(log, "begin"))
        if lines(log, "end").count(structure) > 1
    ]
    assert kills == KILLS, f"labelling ended after {kills} kills"
    # What is on disk is never paid for again (above). A kill between the last digit of a result and
    # its write loses that one; the write waits while the file system synchronises the database, so
    # this is some milliseconds of the forty, for both workers.
    assert len(again) <= KILLS // 2
    assert connect(store).count() == 200
    Labeller(Toy(), LabelStore(tmp_path / "undisturbed.db"), SerialExecutor()).label(
        frames(200), title=""
    )
    mine, theirs = LabelStore(store), LabelStore(tmp_path / "undisturbed.db")
    for atoms in frames(200):
        a, b = mine.get(Toy(), on_grid(atoms)), theirs.get(Toy(), on_grid(atoms))
        assert a.energy == b.energy
        np.testing.assert_array_equal(a.forces, b.forces)
        np.testing.assert_array_equal(a.dipole, b.dipole)
