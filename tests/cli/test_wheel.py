"""The wheel, installed outside of the checkout, brings a command that does what run.py does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = ("palirs", "conf", "sweeps", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Build and install the wheel; return what runs its command in an empty directory."""
    source, target, work = (tmp_path_factory.mktemp(name) for name in ("source", "site", "work"))
    for name in SHIPPED:
        place = ROOT / name
        copy = shutil.copytree if place.is_dir() else shutil.copy
        options = {"symlinks": True} if place.is_dir() else {}
        copy(place, source / name, **options)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "wheel", *offline, "-w", source, source], check=True)
    (wheel,) = source.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", target, wheel], check=True)

    def command(*arguments, program=(target / "bin" / "palirs",)):
        environment = os.environ | {"PYTHONPATH": str(target)}
        return subprocess.run(
            [*program, *arguments],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=800,
        )

    done = command("-c", "import palirs; print(palirs.__file__)", program=(sys.executable,))
    assert Path(done.stdout.strip()).is_relative_to(target), "not that of the checkout"
    return command, work


@pytest.mark.thorough
def test_the_command_explains_itself_and_its_sweeps(installed):
    command, _ = installed
    done = command("--help")
    assert done.returncode == 0, done.stderr
    assert "organics24" in done.stdout and "spectrum.max_lag" in done.stdout
    done = command("-cd", "sweeps", "-cn", "committee_size", "--cfg", "hydra")
    assert done.returncode == 0, done.stderr
    assert "2,3,5" in done.stdout
    assert "palirs -m seed=1,2" in command("seed=1,2").stderr


@pytest.mark.thorough
def test_the_command_runs_a_study(installed):
    command, work = installed
    done = command("molecules=methanol", "experiment=tiny")
    assert done.returncode == 0, done.stderr
    study = work / "studies" / "methanol-gfn2"
    assert (study / "report.html").is_file() and list((study / "spectra").glob("*.csv"))
