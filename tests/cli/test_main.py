"""What is only printed waits for no numerics; a task tells a sweeper its headline error."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from palirs.cli import main

ROOT = Path(__file__).parents[2]
NUMERICS = ("torch", "mace", "e3nn", "mlflow", "matplotlib", "plotly", "pandas", "sklearn")
NUMERICS += ("dscribe", "rdkit", "pyscf", "distributed", "scipy.stats", "scipy.optimize")
PROGRAM = """
import sys
sys.argv = ["run.py", *{arguments!r}]
from palirs.cli.main import main
try:
    main()
except SystemExit:
    pass
print("imported:", *(name for name in {names!r} if name in sys.modules))
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--help", "task=test_set"], ["--cfg", "job"], ["sampler.timestp=1"], ["--hlp"]],
    ids=" ".join,
)
def test_text_is_printed_without_numerics(arguments):
    """How long that takes depends on the machine; what is imported does not."""
    program = PROGRAM.format(arguments=arguments, names=NUMERICS)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "imported:", done.stderr


def test_the_headline_error_is_that_of_the_last_iteration(tmp_path, monkeypatch):
    assert main.headline_error(tmp_path) is None
    for number, error in enumerate((9.0, 4.0), 1):
        place = tmp_path / "iterations" / f"{number:03d}"
        place.mkdir(parents=True)
        record = {"metrics": {"harmonic.mae_cm1": error}}
        (place / "metrics.json").write_text(json.dumps(record))
    assert main.headline_error(tmp_path) == 4.0
    monkeypatch.setattr(main, "_run", lambda config: main.headline_error(tmp_path))
    assert main.run.__wrapped__({}) == 4.0, "what Hydra hands to its sweeper"
