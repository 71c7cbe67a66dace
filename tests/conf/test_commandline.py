"""Slips on the command line are answered in a sentence; flags may stand anywhere."""

import subprocess
import sys
from pathlib import Path

import pytest

from palirs.recipes import PalirsError
from palirs.settings.commandline import flags_first, quoted

ROOT = Path(__file__).parents[2]
FLAGS = {"-m": False, "--multirun": False, "--help": False, "-cd": True, "--config-dir": True, "-cn": True, "--cfg": True, "--info": False}


@pytest.mark.parametrize(
    ("given", "means"),
    [
        ("seed=1,2 -m temperature=300", "-m seed=1,2 temperature=300"),
        ("seed=1 -cd sweeps -cn committee_size", "-cd sweeps -cn committee_size seed=1"),
        ("--config-dir=sweeps seed=1", "--config-dir=sweeps seed=1"),
        ("seed=1 --help", "--help seed=1"),
        ("temperature=-5 ~engine.calculator.xc", "temperature=-5 ~engine.calculator.xc"),
    ],
)
def test_flags_may_stand_anywhere(given, means):
    assert flags_first(given.split(), FLAGS, ("engine",)) == means.split()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("-cd", "-cd: needs a value"),
        ("-cn seed=1", "-cn: needs a value"),
        ("-cn -m", "-cn: needs a value"),
        ("--seed=3", "without dashes, seed=…"),
        ("--seed 3", "--seed: there is no such flag"),
        ("seed = 3", "without blanks around the ="),
        ("ethanol", "'ethanol': settings are given as key=value"),
        ("~engine", "cannot do without engine"),
        ("-m --cfg job", "-m and --cfg cannot be given together"),
    ],
)
def test_slips_are_told(given, says):
    with pytest.raises(PalirsError) as error:
        flags_first(given.split(), FLAGS, ("engine",))
    assert says in str(error.value)


def test_directories_of_a_sweep_need_no_quotes():
    assert quoted("[studies/x/seed=1, studies/*]") == "['studies/x/seed=1','studies/*']"
    for value in ("['a=1']", "{a: b}", "studies"):
        assert quoted(value) == value


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("-cd nowhere -cn acquisition", "-cd nowhere: there is no such directory"),
        ("seed = 3", "without blanks around the ="),
        ("~tracker task=check", "cannot do without tracker"),
        ("seed=1 -m --cfg job", "cannot be given together"),
        ("seed=1,x -m task=check", "seed = 'x'"),
        ("seed=1,2 task=check", "python run.py -m seed=1,2"),
        ("seed=range(1,4) task=check", "needs -m"),
        ("sampler.temperatures=300,500 task=check", "sampler.temperatures=[300,500]"),
    ],
)
def test_the_command_says_so_and_nothing_else(given, says):
    done = subprocess.run([sys.executable, "run.py", *given.split()], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("palirs: ")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sweep_with_its_flag_at_the_end_is_a_sweep():
    done = subprocess.run(
        [sys.executable, "run.py", "seed=1,2", "task=check", "tracker=none", "-m"], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert "seed=1" in done.stdout and "seed=2" in done.stdout
