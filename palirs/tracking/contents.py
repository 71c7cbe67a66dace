"""What of a study directory a tracker shows: metrics, curves of trainings, files, data sets."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

METRICS, DESCRIPTION = "metrics.jsonl", "description.md"
ARTIFACTS = {
    "": ("config.yaml", "report.html", "errors.csv"),
    "figures": ("figures/*",),
    "spectra": ("spectra/*",),
    "transfer": ("transfer/transfer.*", "transfer/spectra.*"),
    "test_set": ("test_set/*.csv", "test_set/*.xyz"),
}
"""Files by the folder that they are shown in; those of the last iteration are added."""
CURVES = ("iterations/*/potential-*.jsonl", "iterations/*/dipole-*.jsonl", "dipole-*.jsonl")
"""Logs of trainings, one line an epoch."""
NO_CURVE = ("epoch", "updates", "seconds")
"""Keys in these lines that are no metrics."""


class Metrics:
    """The metrics of a study, ``metrics.jsonl``: every number that was logged, with time and step.

    Parameters
    ----------
    study : Path
        Its directory.
    """

    def __init__(self, study: Path):
        self.file = study / METRICS
        text = self.file.read_text() if self.file.exists() else ""
        self.lines: list[dict[str, Any]] = []
        for line in text.splitlines():
            with suppress(ValueError):  # cut off by a kill
                self.lines.append(json.loads(line))
        self._end = "" if not text or text.endswith("\n") else "\n"
        self._logged = {_content(line) for line in self.lines}

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Append numbers; the same numbers of the same step are kept once."""
        earliest = (
            self.lines[-1]["time"] + 1e-3 if self.lines else 0.0
        )  # MLflow counts milliseconds
        line = {"time": max(time.time(), earliest), "step": step, "values": dict(values)}
        if _content(line) in self._logged:
            return
        with self.file.open("a") as file:
            file.write(f"{self._end}{json.dumps(line)}\n")
        self._end = ""
        self._logged.add(_content(line))
        self.lines.append(line)


def _content(line: Mapping[str, Any]) -> str:
    return json.dumps([line["step"], line["values"]], sort_keys=True)


def artifacts(study: Path) -> Iterator[tuple[Path, str]]:
    """Yield each file that is shown, and the folder it is shown in."""
    for folder, patterns in ARTIFACTS.items():
        for pattern in patterns:
            files = (file for file in sorted(study.glob(pattern)) if file.is_file())
            yield from ((file, folder) for file in files if file.suffix != ".part")  # not yet whole
    for iteration in _last_iteration(study):
        yield from ((file, "dataset") for file in sorted(iteration.glob("*.xyz")))
        dipoles = sorted(iteration.glob("dipole-*.safetensors"))
        dipoles = dipoles or sorted(study.glob(f"dipole-{iteration.name}*.safetensors"))
        potentials = sorted(iteration.glob("potential-*.safetensors"))
        yield from ((file, "models") for file in (*potentials, *dipoles))


def datasets(study: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield what was learnt from and tested on last: file, name and context."""
    for iteration in _last_iteration(study):
        for context, part in (("training", "train"), ("testing", "test")):
            if (file := iteration / f"{part}.xyz").exists():
                yield file, f"{study.name} {iteration.name} {part}", context


def _last_iteration(study: Path) -> list[Path]:
    complete = (file.parent for file in study.glob("iterations/[0-9][0-9][0-9]/metrics.json"))
    return sorted(complete)[-1:]


def curves(study: Path) -> Iterator[tuple[str, Path]]:
    """Yield each log of a training, and the name of its metrics.

    ``training.<iteration>.<member>.<quantity>``, ``training.dipole-<iteration>.<quantity>`` or, of
    dipole models in an iteration, ``training.<iteration>.dipole-<member>.<quantity>``.
    """
    for file in sorted(file for pattern in CURVES for file in study.glob(pattern)):
        name = file.stem.removeprefix("potential-")
        if file.parent.parent.name == "iterations":
            iteration = re.sub(r"\.partial$", "", file.parent.name)
            name = f"{iteration}.{name}"
        yield f"training.{name}", file


def epochs(name: str, log: Path, after: int) -> list[tuple[int, dict[str, float]]]:
    """Return the epochs of a log that come after one, and their metrics; half a line is left."""
    complete = [line for line in log.read_text().split("\n")[:-1] if line]
    steps = []
    for entry in map(json.loads, complete):
        values = {f"{name}.{key}": value for key, value in entry.items() if key not in NO_CURVE}
        if entry["epoch"] > after:
            steps.append((int(entry["epoch"]), values))
    return steps
