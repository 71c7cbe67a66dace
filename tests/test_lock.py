"""One program per directory: of any number, killed at any moment, at most one holds the lock."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from palirs import presence
from palirs.lock import HeldError, holder, locked

WORKER = """
import os, sys, time
from pathlib import Path
from palirs.lock import HeldError, locked
place = Path(sys.argv[1])
while True:
    try:
        with locked(place, "test"):
            handle = os.open(place / "inside", os.O_CREAT | os.O_EXCL | os.O_WRONLY)  # fails if another one is inside and alive
            os.write(handle, str(os.getpid()).encode())
            time.sleep(0.01)
            os.unlink(place / "inside")
            with (place / "log").open("a") as file:
                file.write("turn\\n")
    except HeldError:
        time.sleep(0.002)
    except FileExistsError:
        owner = (place / "inside").read_text() if (place / "inside").exists() else ""
        if owner and Path(f"/proc/{owner}").exists() and " Z " not in Path(f"/proc/{owner}/stat").read_text():
            (place / "broken").write_text(owner)
        (place / "inside").unlink(missing_ok=True)
"""


def test_a_living_holder_is_named_and_a_dead_one_is_replaced(tmp_path, caplog):
    code = "import time; from pathlib import Path; from palirs.lock import locked\n"
    code += f"with locked(Path({str(tmp_path)!r}), 'task=study'):\n time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])})
    while holder(tmp_path) is None:
        time.sleep(0.02)
    with (
        pytest.raises(HeldError, match=rf"process {other.pid} on .* works here \(task=study\) since 20.*study=<dir>"),
        locked(tmp_path, "x"),
    ):
        pass
    other.send_signal(signal.SIGKILL)
    time.sleep(0.2)  # dead, and not yet waited for
    assert holder(tmp_path) is None
    with caplog.at_level("WARNING"), locked(tmp_path, "x"):
        assert "this program takes over" in caplog.text
        assert str(os.getpid()) in (holder(tmp_path) or "")
    other.wait()
    assert list(tmp_path.iterdir()) == []


def test_a_holder_on_another_machine_lives_as_long_as_it_says_so(tmp_path, monkeypatch):
    import json

    sign = tmp_path / "lock"
    sign.write_text(json.dumps({**presence.me(), "host": "elsewhere", "what": "task=study"}))
    with pytest.raises(HeldError, match="elsewhere"), locked(tmp_path, "x"):
        pass
    long_ago = time.time() - presence.LEASE - 1
    os.utime(sign, (long_ago, long_ago))
    with locked(tmp_path, "x"):
        assert "elsewhere" not in (holder(tmp_path) or "")


def test_a_program_that_was_taken_for_dead_ends_when_it_wakes(tmp_path):
    """As after a suspended laptop: another one holds the lock by then."""
    import json

    code = "import time; from pathlib import Path; from palirs import presence; presence.BEAT = 0.1; from palirs.lock import locked\n"
    code += f"with locked(Path({str(tmp_path)!r}), 'task=study'):\n time.sleep(60)"
    slow = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])})
    while holder(tmp_path) is None:
        time.sleep(0.02)
    part = tmp_path / "part"
    part.write_text(json.dumps({**presence.me(), "what": "task=spectra"}))
    part.replace(tmp_path / "lock")
    assert slow.wait(timeout=10) == 75


def test_a_claim_that_was_made_though_the_file_server_said_no_is_ones_own(tmp_path, monkeypatch):
    link = os.link

    def doubtful(*arguments):
        link(*arguments)
        raise FileExistsError

    monkeypatch.setattr(os, "link", doubtful)
    with locked(tmp_path, "x"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_where_there_are_no_links_files_are_made_instead(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    with locked(tmp_path, "x"), pytest.raises(HeldError), locked(tmp_path, "y"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_many_programs_killed_at_random_moments_never_hold_it_together(tmp_path):
    rng, environment = np.random.default_rng(), {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    start = lambda: subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)], env=environment, stderr=subprocess.PIPE)  # noqa: E731
    programs = [start() for _ in range(4)]
    end = time.time() + 15
    while time.time() < end:
        time.sleep(rng.uniform(0.05, 0.5))
        number = int(rng.integers(4))
        programs[number].send_signal(signal.SIGKILL)
        programs[number].wait()
        programs[number] = start()
    time.sleep(1.0)
    for program in programs:
        program.send_signal(signal.SIGKILL)
        assert program.stderr is not None
        assert b"Traceback" not in program.stderr.read()
    assert not (tmp_path / "broken").exists()
    assert (tmp_path / "log").read_text().count("turn") > 30
