"""One program per directory: of any number, killed at any time, at most one holds the lock."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from palirs import heartbeat
from palirs.lock import HeldError, holder, locked

WORKERS = """
import os, random, signal, sys, time
from pathlib import Path
from palirs.lock import HeldError, locked

place, wait = Path(sys.argv[1]), random.Random()
inside, broken = place / "inside", place / "broken"

def living(owner):
    try:
        return Path(f"/proc/{owner}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False

def work():
    me = str(os.getpid())
    while True:
        try:
            with locked(place, "test"):  # outside, another one may rightly be in by then
                owner = inside.read_text() if inside.exists() else ""  # that of a killed one stays
                if owner and living(owner):
                    broken.write_text(f"{me} came in while {owner} was")
                inside.write_text(me)
                time.sleep(0.005)
                if inside.read_text() != me:
                    broken.write_text(f"{inside.read_text()} came in while {me} was")
                inside.write_text("")
                with (place / "log").open("a") as file:
                    file.write("turn\\n")
        except HeldError:
            time.sleep(0.001)

def start():
    pid = os.fork()
    if pid == 0:
        work()
    return pid

programs = [start() for _ in range(6)]
log, kills = place / "log", 0
log.touch()
while kills < 150 or log.stat().st_size < 600:  # 5 bytes a turn
    time.sleep(wait.uniform(0, 0.02))
    owner = inside.read_text() if inside.exists() else ""
    number = (
        programs.index(int(owner))
        if owner and int(owner) in programs and wait.random() < 0.7
        else wait.randrange(6)
    )
    os.kill(programs[number], signal.SIGKILL)
    time.sleep(wait.uniform(0, 0.005))  # dead, and not yet waited for
    os.waitpid(programs[number], 0)
    programs[number] = start()
    kills += 1
time.sleep(1.0)
for program in programs:
    os.kill(program, signal.SIGKILL)
print(kills, "kills")
"""


def test_a_living_holder_is_named_and_a_dead_one_is_replaced(tmp_path, caplog):
    code = "import time; from pathlib import Path; from palirs.lock import locked\n"
    code += f"with locked(Path({str(tmp_path)!r}), 'task=study'):\n time.sleep(60)"
    other = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    while holder(tmp_path) is None:
        time.sleep(0.02)
    with (
        pytest.raises(
            HeldError,
            match=rf"process {other.pid} on .* works here \(task=study\) since 20.*study=<dir>",
        ),
        locked(tmp_path, "x"),
    ):
        pass
    other.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet waited for
    assert holder(tmp_path) is None
    with caplog.at_level("WARNING"), locked(tmp_path, "x"):
        assert "this program takes over" in caplog.text
        assert str(os.getpid()) in (holder(tmp_path) or "")
    other.wait()
    assert list(tmp_path.iterdir()) == []


def test_a_holder_on_another_machine_lives_as_long_as_it_says_so(tmp_path, monkeypatch):
    import json

    sign = tmp_path / "lock"
    sign.write_text(json.dumps({**heartbeat.identity(), "host": "elsewhere", "what": "task=study"}))
    with pytest.raises(HeldError, match="elsewhere"), locked(tmp_path, "x"):
        pass
    long_ago = time.time() - heartbeat.TIMEOUT - 1
    os.utime(sign, (long_ago, long_ago))
    with locked(tmp_path, "x"):
        assert "elsewhere" not in (holder(tmp_path) or "")


def test_a_program_that_was_taken_for_dead_ends_when_it_wakes(tmp_path):
    """As after a suspended laptop: another one holds the lock by then."""
    import json

    code = "import time; from pathlib import Path; from palirs import heartbeat\n"
    code += "heartbeat.INTERVAL = 0.1; from palirs.lock import locked\n"
    code += f"with locked(Path({str(tmp_path)!r}), 'task=study'):\n time.sleep(60)"
    slow = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    while holder(tmp_path) is None:
        time.sleep(0.02)
    part = tmp_path / "part"
    part.write_text(json.dumps({**heartbeat.identity(), "what": "task=spectra"}))
    part.replace(tmp_path / "lock")
    assert slow.wait() == 75


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
    command = [sys.executable, "-c", WORKERS, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    broken = tmp_path / "broken"
    assert not broken.exists(), broken.read_text()
