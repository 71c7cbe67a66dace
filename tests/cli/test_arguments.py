"""Slips on the command line are answered in a sentence; flags may stand anywhere."""

import subprocess
import sys
import typing
from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

from palirs.cli import configuration, sweeps
from palirs.cli.arguments import read_arguments
from palirs.cli.homes import with_home, with_homes
from palirs.cli.kinds import ANYTHING, TEXT, Takes, kinds, takes
from palirs.recipes import PalirsError
from palirs.settings import StudySettings
from palirs.settings.flat import flat

ROOT = Path(__file__).parents[2]
MAYBE = TEXT | Takes(null=True)
TEXTS, PAIRS = Takes(members=TEXT), Takes(values=TEXT)
FILES = MAYBE | PAIRS


@pytest.mark.parametrize(
    ("given", "means"),
    [
        ("seed=1,2 -m temperature=300", "-m seed=1,2 temperature=300"),
        ("seed=1 -cd sweeps -cn committee_size", "-cd sweeps -cn committee_size seed=1"),
        ("--config-dir=sweeps seed=1", "--config-dir sweeps seed=1"),
        ("seed=1 --help", "--help seed=1"),
        ("temperature=-5 ~engine.calculator.xc", "temperature=-5 ~engine.calculator.xc"),
    ],
)
def test_flags_may_stand_anywhere(given, means):
    read = read_arguments(given.split())
    assert [*read.flags, *read.settings] == means.split()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("-cd", "-cd: needs a value"),
        ("-cn seed=1", "-cn: needs a value"),
        ("-cn -m", "-cn: needs a value"),
        ("--seed=3", "without dashes, seed=…"),
        ("--seed 3", "--seed: there is no such flag"),
        ("seed = 3", "without blanks around the ="),
        ("=3", "'=3': settings are given as key=value"),
        ("ethanol", "'ethanol': settings are given as key=value"),
        ("-m --cfg job", "-m and --cfg cannot be given together"),
        ("study=M\udcf6lln", "not UTF-8"),
    ],
)
def test_slips_are_told(given, says):
    with pytest.raises(PalirsError) as error:
        read_arguments(given.split())
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (str, TEXT),
        (str | None, MAYBE),
        (int, Takes(number=True)),
        (float | None, Takes(number=True, decimal=True, null=True)),
        (typing.Annotated[tuple[float, ...], "K"], Takes(members=Takes(number=True, decimal=True))),
        (str | dict[str, str] | None, FILES),
        (dict[str, str] | list[str], TEXTS | PAIRS),
        (typing.Literal["a", "b"], Takes(text=True, choices=True)),
        (typing.Any, ANYTHING),
        (StudySettings | None, ANYTHING | Takes(null=True)),
    ],
)
def test_what_an_annotation_allows(annotation, kind):
    assert takes(annotation) == kind


@pytest.fixture(scope="module")
def compose():
    def composed(*overrides):
        with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return OmegaConf.to_container(hydra.compose("config", overrides=list(overrides)))

    return composed


def test_every_value_of_a_study_is_of_a_kind(compose):
    composed = compose("engine=pyscf_pbe", "pretraining=gfn2")
    found = kinds(composed, StudySettings)
    values = flat(composed)
    unknown = [key for key in found if found[key].anything and not key.endswith("_partial_")]
    assert not [key for key in unknown if values.get(key) is not None]
    assert found["engine.basis"] == found["training.potential.start"] == TEXT
    assert found["study"] == MAYBE
    assert found["spectrum.experiment"] == FILES
    assert found["sampler.temperatures"].members == Takes(number=True, decimal=True)
    assert found["spectrum.method"].choices and not found["spectrum.method"].free_text


@pytest.mark.parametrize("task", sorted(file.stem for file in (ROOT / "conf/task").glob("*.yaml")))
def test_what_tasks_take_is_what_their_functions_take(task, compose):
    """Read from the source, without importing them."""
    from palirs import tasks

    part = compose(f"task={task}")["task"]
    hints = typing.get_type_hints(getattr(tasks, part["_target_"].rpartition(".")[2]))
    found = kinds(part)
    for key in set(part) - {"_target_", "_partial_"}:
        assert found[key] == takes(hints[key])
        assert not found[key].anything


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("~/x", "/home/u/x"),
        ("~", "/home/u"),
        ("sqlite:///~/m.db", "sqlite:////home/u/m.db"),
        ("~/${molecules.names[0]}/a", "/home/u/${molecules.names[0]}/a"),
        ("a~b", "a~b"),
        ("x/~/y", "x/~/y"),
        ("~lock", "~lock"),
        ("${a}/~", "${a}/~"),
    ],
)
def test_home(text, expected, monkeypatch):
    monkeypatch.setenv("HOME", "/home/u")
    assert with_home(text) == expected
    assert with_homes({"a": [text], "b": {"c": text, "d": 1, "e": None}}) == {
        "a": [expected],
        "b": {"c": expected, "d": 1, "e": None},
    }
    assert with_homes({"command": f"srun {text} -x"}) == {"command": f"srun {expected} -x"}


def test_nobody_has_a_home():
    with pytest.raises(PalirsError, match="no user 'nobody-of-this-name'"):
        with_home("~nobody-of-this-name/x")


@pytest.mark.parametrize("name", ["a", "a/", "a //", " a ", "C#N", "größe (1)", 7])
def test_a_study_is_a_directory(name):
    assert configuration.named_directory(name) == Path(str(name).strip(" /"))


@pytest.mark.parametrize("name", ["", " ", "a\nb", ["a"], {"a": "b"}, "$HOME/x"])
def test_what_is_no_directory_is_refused(name):
    with pytest.raises(PalirsError, match="study = "):
        configuration.named_directory(name)


def test_studies_of_a_sweep_are_named_without_quotes(tmp_path):
    jobs = [
        "engine.basis='6-31G(d,p)'",
        "seed=1",
        'labels.store="a/b c"',
        "molecules.names=['C#N','CO']",
    ]
    name = "engine.basis=6-31G(d,p),seed=1,labels.store=a_b c,molecules.names=[C#N,CO]"
    assert sweeps.job_name(tmp_path, jobs) == name
    old = tmp_path / "molecules.names=['CCO']"
    old.mkdir()
    assert sweeps.job_name(tmp_path, ["molecules.names=['CCO']"]) == old.name, "made before"
    settings = [[f"molecules.names=[{'ö' * 200},{end}]"] for end in "ab"]
    long = [sweeps.job_name(tmp_path, job) for job in settings]
    assert all(len(name.encode()) <= 200 for name in long) and long[0] != long[1]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("-cd nowhere -cn acquisition", "-cd nowhere: there is no such directory"),
        ("seed = 3", "without blanks around the ="),
        ("~tracker task=check", "cannot do without tracker"),
        ("seed=1 -m --cfg job", "cannot be given together"),
        ("seed=1,x -m task=check", "seed = 'x'"),
        ("seed=1,2 task=check", "python run.py -m seed=1,2"),
        (
            "study=${nowhere} task=check",
            "${nowhere}: there is no such key; a variable of the shell is written ${oc.env:",
        ),
        ("sampler.temperatures=300,500 task=check", "sampler.temperatures=[300,500]"),
    ],
)
def test_the_command_says_so_and_nothing_else(given, says):
    done = subprocess.run(
        [sys.executable, "run.py", *given.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("palirs: ")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sweep_with_its_flag_at_the_end_is_a_sweep(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "run.py", "seed=1,2", "task=check", "tracker=none", "-m"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "seed=1" in done.stdout and "seed=2" in done.stdout


def test_names_that_hydra_cannot_read_go_through_a_whole_command(tmp_path):
    """Read at home, written beside; with quotes of the shell only."""
    (tmp_path / "67-56-1 (1).jdx").write_text(JCAMP)
    study = "größe/αβ (1) #%&'=,1e3"
    settings = [
        f"study={study}/ ",
        "spectrum.experiment={methanol: ~/67-56-1 (1).jdx}",
        "labels.store=~/l (1).db",
        "tracker=none",
    ]
    done = subprocess.run(
        [sys.executable, ROOT / "run.py", "task=check", *settings],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / study).is_dir()
    assert not (tmp_path / "~").exists()


JCAMP = """##TITLE=METHANOL
##JCAMP-DX=4.24
##DATA TYPE=INFRARED SPECTRUM
##STATE=gas
##XUNITS=1/CM
##YUNITS=ABSORBANCE
##XFACTOR=1.0
##YFACTOR=1.0
##FIRSTX=500.0
##LASTX=4000.0
##NPOINTS=8
##DELTAX=500.0
##XYDATA=(X++(Y..Y))
500 0 0 1 0
2500 0 1 0 0
##END=
"""
