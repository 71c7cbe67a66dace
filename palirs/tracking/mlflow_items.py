"""What there is to be sent of a study, each with its key and what changes when it does."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from palirs.tracking import contents, mlflow_send
from palirs.tracking.mlflow_runs import LONGEST, NOTE, parent_run
from palirs.tracking.names import Names

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """Something to send.

    Attributes
    ----------
    key, what : str
        Its name, and what it is in words.
    version : str, int or bool
        Another one is sent again.
    send : callable
        Sends it; may return the parts that MLflow refused.
    """

    key: str
    what: str
    version: str | int | bool
    send: Callable[[], list[str] | None]


@dataclass(frozen=True)
class Target:
    """Where to: MLflow's client, the id of the run and its names."""

    client: Any
    run: str
    names: Names


def metrics(target: Target, logged: contents.Metrics) -> Iterator[Item]:
    """Yield the metrics, line by line."""
    for number, line in enumerate(tuple(logged.lines)):
        names = list(line["values"])
        what = (
            f"{len(names)} metrics ({names[0]}, …)" if len(names) > 1 else f"the metric {names[0]}"
        )
        yield Item(
            f"metrics {number}",
            what,
            True,
            partial(
                mlflow_send.send_metrics,
                *(target.client, target.run, [(line["step"], line["values"])]),
                *(target.names, line["time"]),
            ),
        )


def curves(
    target: Target, study: Path, pushed: Mapping[str, Any], sizes: dict[Path, int]
) -> Iterator[Item]:
    """Yield the new epochs of each training.

    Parameters
    ----------
    target, study
        The run, the study directory.
    pushed : mapping
        Last epoch that the run has, by key.
    sizes : dict
        Of the logs that were read [bytes]; changed here.
    """
    for name, file in contents.curves(study):
        with suppress(OSError):  # renamed or cut at this moment
            size = file.stat().st_size
            if sizes.get(file) == size:
                continue
            steps = []
            try:
                steps = contents.epochs(name, file, pushed.get(name, -1))
            except (ValueError, KeyError) as error:
                log.warning("tracking: %s cannot be read (%s)", file, error)
            if steps:
                arguments = (target.client, target.run, steps, target.names, time.time())
                send = partial(mlflow_send.send_metrics, *arguments)
                yield Item(name, f"the curves of {name}", steps[-1][0], send)
            sizes[file] = size


def files(target: Target, study: Path) -> Iterator[Item]:
    """Yield files."""
    for file, folder in contents.artifacts(study):
        send = partial(target.client.log_artifact, target.run, str(file), folder or None)
        key = str(file.relative_to(study))
        with suppress(FileNotFoundError):  # replaced since it was listed: it comes next time
            yield Item(key, f"the artifact {file.name}", _version(file), send)


def datasets(target: Target, study: Path) -> Iterator[Item]:
    """Yield the data sets of the last iteration: a page of MLflow shows the first ones it got."""
    for file, name, context in contents.datasets(study):
        arguments = (target.client, target.run, file.resolve(), name, context)
        send = partial(mlflow_send.send_dataset, *arguments)
        yield Item(f"data set {name}", f"the data set {name}", _version(file), send)


def description(target: Target, study: Path) -> Iterator[Item]:
    """Yield the description; where names of metrics had to be changed, it says how."""
    tags, changed = {}, target.names.changed
    file = study / contents.DESCRIPTION
    if file.exists():
        tags[NOTE] = file.read_text(encoding="utf-8").replace("{run}", target.run)
    if changed:
        table = json.dumps(changed)
        tags["palirs.names"] = table if len(table) <= LONGEST else "too many for a tag"
        pairs = ", ".join(f"`{accepted}` for `{part}`" for accepted, part in changed.items())
        note = f"Names of metrics and parameters have {pairs}."
        tags[NOTE] = f"{tags.get(NOTE, '')}\n\n{note}".strip()
    if tags:
        send = partial(_set_tags, target.client, target.run, tags)
        yield Item("description", "the description", _digest(json.dumps(tags).encode()), send)


def sweep(target: Target, study: Path) -> Iterator[Item]:
    """Yield files and description of the sweep that a study belongs to."""
    written = sorted(study.parent.glob("sweep.*"))
    parent = parent_run(target.client, target.run) if written else ""
    for file in written:
        send = partial(target.client.log_artifact, parent, str(file))
        if file.suffix == ".md":
            text = file.read_text(encoding="utf-8").replace("{run}", parent)
            send = partial(_set_tags, target.client, parent, {NOTE: text})
        yield Item(f"../{file.name}", f"the artifact {file.name}", _version(file), send)


def models(target: Target, study: Path, store: str) -> Iterator[Item]:
    """Yield the predictor; of the studies of a sweep, which share names, with the sweep's name."""
    predictor, place = study / "predictor", study.resolve()
    if predictor.is_dir():
        of_sweep = [place.parent.name] if "=" in place.name else []
        name = "-".join(["palirs", *of_sweep, place.name])
        content = b"".join(file.read_bytes() for file in sorted(predictor.iterdir()))
        arguments = (target.client, target.run, predictor.resolve(), name, store)
        send = partial(mlflow_send.send_model, *arguments)
        yield Item("predictor", f"the model {name}", _digest(content), send)


def _set_tags(client: Any, run: str, tags: Mapping[str, str]) -> None:
    for key, value in tags.items():
        client.set_tag(run, key, value)


def _version(file: Path) -> str:
    status = file.stat()
    return f"{status.st_mtime_ns} {status.st_size}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
