"""Studies that several tests look at are run once, whichever worker comes first.

Each test or file works on a copy.
"""

import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Return ``once(name, build)``, which returns a directory and the result of ``build``.

    ``build(directory)`` fills the directory once for all workers of this run.
    """
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


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = subprocess.run([Path(__file__).parent / "browser.sh"], capture_output=True, text=True)
    if found.returncode == 77:
        pytest.skip(found.stdout.strip())
    assert found.returncode == 0, found.stderr
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=found.stdout.strip(), args=["--no-sandbox"]
        )


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def server(store, port=None):
    """A real MLflow server with its pages; its address."""
    port = port or free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--backend-store-uri",
        store,
        "-p",
        str(port),
        "--workers",
        "1",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    try:
        while True:
            assert process.poll() is None and time.monotonic() < deadline
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except OSError:
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
