"""Every command in the README and the documentation: it composes, and those of a newcomer run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from palirs.cli.arguments import read_arguments
from tests.cli.composed import check_all, composed

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(page):
    """Return the arguments of each ``python run.py`` in the code blocks of a page."""
    found = []
    for block in re.findall(r"```\n(.*?)```", page.read_text(), flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("python run.py"):
                found.append(shlex.split(line, comments=True)[2:])
    return found


ALL = [(page.name, arguments) for page in PAGES for arguments in commands(page)]


@pytest.mark.parametrize(
    ("page", "arguments"),
    ALL,
    ids=[f"{page}: {' '.join(arguments)[:70]}" for page, arguments in ALL],
)
def test_a_command_composes(page, arguments, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = [
        word.replace("<dir>", "studies/x").replace("<name>", "x")
        for word in arguments
        if word != "…"
    ]
    if not read_arguments(words).swept:
        composed(*words)
    elif "study" not in {word.partition("=")[0] for word in words}:
        check_all(*words)


def test_there_are_commands():
    assert len(ALL) > 40
    assert {page for page, _ in ALL} >= {"README.md", "commands.md", "tutorial.md", "cluster.md"}


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.thorough
def test_a_newcomer_gets_through(tmp_path):
    """A molecule by SMILES with one command of the tutorial, its spectrum with a second."""
    learn, predict = (
        arguments
        for arguments in commands(ROOT / "docs" / "tutorial.md")
        if any("CC(=O)C" in word for word in arguments)
    )
    quick = [
        "experiment=tiny",
        "committee.size=2",
        "spectrum.reference=null",
        "training.potential.updates=600",
        "initial.thermal.least=40",
    ]
    for arguments, more in (
        (learn, [*quick, f"tracker.uri=sqlite:///{tmp_path}/mlflow.db"]),
        (predict, ["length=0.5", "replicas=2"]),
    ):
        words = [word.replace("studies/", f"{tmp_path}/") for word in arguments]
        output = [f"output={tmp_path}/predictions"] if "task=predict" in words else []
        done = subprocess.run(
            [sys.executable, "run.py", *words, *more, *output],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "acetone" / "report.html").is_file()
    assert (tmp_path / "predictions" / "acetone" / "acetone-400K.html").is_file()
