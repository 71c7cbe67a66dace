"""Experiment tracking with MLflow: what lies in the study directory is pushed, each thing once.

The study directory is the source, ``tracking.json`` in it says what its run has already. A thread
compares and sends, so that a server that is slow or away delays logging and never computing; what
it did not get is sent later, at the latest by the next program that works on the study. What the
server refuses holds up nothing: it is named in the log and in the run.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from palirs.recipes import recipe
from palirs.tracking import contents, mlflow_send
from palirs.tracking.base import Tracker
from palirs.tracking.mlflow_runs import (
    LONGEST,
    NOTE,
    add_missing,
    end_the_dead,
    monitor,
    new_run,
    one_at_a_time,
    parent_run,
)
from palirs.tracking.names import Names

log = logging.getLogger(__name__)

INTERVAL = 5.0
"""Seconds between two looks at metrics and curves."""
PAUSE = 60.0
"""Seconds for which nothing is sent to a server that did not answer."""


@recipe
class MLflow:
    """MLflow tracking.

    Parameters
    ----------
    uri : str
        Tracking store, e.g. ``sqlite:///mlflow.db`` or ``http://localhost:5000``.
    experiment : str
        Experiment that the runs belong to.
    system_metrics : bool
        Log the use of processor, memory and disk (and GPU, with pynvml) beside the metrics.
    """

    uri: str = "sqlite:///mlflow.db"
    experiment: str = "palirs"
    system_metrics: bool = True

    @contextmanager
    def open(
        self, study: Path, name: str, parameters: Mapping[str, Any], sweep: str | None
    ) -> Iterator[Tracker]:
        """Keep the run of a study up to date; a study that goes on goes on in its own run.

        Parameters
        ----------
        study : Path
            Study directory.
        name : str
            Of the run.
        parameters : mapping
            Resolved settings, flat.
        sweep : str or None
            Name of the sweep this run is a child of.
        """
        import mlflow  # noqa: F401 (here, not in the thread: other modules are imported meanwhile)

        tracker = _Run(self, study, name, mlflow_send.parameters(parameters), sweep)
        status = "FAILED"
        try:
            yield tracker
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            tracker.close(status)


@dataclass(frozen=True)
class _Item:
    """Something to send: its key, what it is in words, and what changes when it does."""

    key: str
    what: str
    version: Any
    send: Callable[[], list[str] | None]


class _Run:
    """The run of a study.

    ``tracking.json`` holds its id, the version of each item that it has (of metrics their number,
    of curves the last epoch), and what MLflow did not take.
    """

    def __init__(
        self, recipe: MLflow, study: Path, name: str, parameters: dict[str, str], sweep: str | None
    ):
        self._recipe, self._study, self._name, self._sweep = recipe, study, name, sweep
        self._parameters = parameters
        self._file = study / "tracking.json"
        _convert(study, self._file)
        self._metrics = contents.Metrics(study)
        self._names = Names(parameters)
        for line in self._metrics.lines:
            for key in line["values"]:
                self._names.accepted(key)
        self._state = json.loads(self._file.read_text()) if self._file.exists() else {}
        destination = {"uri": recipe.uri, "experiment": recipe.experiment}
        if any(self._state.get(key) != value for key, value in destination.items()):
            self._state = {**destination, "run": None, "pushed": {}, "missing": {}}
        self._sizes: dict[Path, int] = {}
        self._client: Any = None
        self._monitor: Any = None
        self._silent_until, self._again = 0.0, False
        self._new_files, self._stop = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Keep numbers in ``metrics.jsonl``; the same numbers of the same step are kept once."""
        self._metrics.add({key: float(value) for key, value in values.items()}, step)

    def describe(self, text: str) -> None:
        """Keep the description of the run in ``description.md``."""
        (self._study / contents.DESCRIPTION).write_text(text, encoding="utf-8")

    def stage_ended(self, stage: str, done: Mapping[str, float]) -> None:
        """Look for new files at the next opportunity."""
        self._new_files.set()

    def _follow(self) -> None:
        while True:
            files = self._new_files.is_set()
            self._new_files.clear()
            self.push(files)
            if self._stop.wait(INTERVAL):
                return

    def push(self, files: bool = True, models: bool = False) -> None:
        """Send what the run does not have; where the server is away, leave it for the next time."""
        if time.monotonic() < self._silent_until:
            return
        try:
            with self._lock:
                self._connect()
                for item in self._items(files, models):
                    self._push(item)
        except Exception as error:  # whatever the server or its client raises, the study goes on
            log.warning(
                "tracking: %s not reachable (%s); what it lacks is in %s and is sent later",
                *(self._recipe.uri, mlflow_send.first_line(error), self._study),
            )
            self._silent_until = time.monotonic() + PAUSE

    def _items(self, files: bool, models: bool) -> Iterator[_Item]:
        """Yield what there is to be sent, in the order in which it should appear."""
        run, client, names = self._state["run"], self._client, self._names
        for number, line in enumerate(tuple(self._metrics.lines)):
            keys = list(line["values"])
            what = f"the metric {keys[0]}" if len(keys) == 1 else f"{len(keys)} metrics"
            what += f" ({keys[0]}, …)" if len(keys) > 1 else ""
            steps = [(line["step"], line["values"])]
            send = partial(mlflow_send.send_metrics, client, run, steps, names, line["time"])
            yield _Item(f"metrics {number}", what, True, send)
        yield from self._curves()
        if not files:
            return
        for file, folder in contents.artifacts(self._study):
            send = partial(client.log_artifact, run, str(file), folder or None)
            yield _Item(self._key(file), f"the artifact {file.name}", _version(file), send)
        for file, name, context in contents.datasets(self._study):
            send = partial(mlflow_send.send_dataset, client, run, file.resolve(), name, context)
            yield _Item(f"data set {self._key(file)}", f"the data set {name}", _version(file), send)
        yield from self._description()
        yield from self._sweep_items()
        predictor = self._study / "predictor"
        if models and predictor.is_dir():
            study = self._study.resolve()
            of_sweep = [study.parent.name] if "=" in study.name else []
            name = "-".join(["palirs", *of_sweep, study.name])
            content = b"".join(file.read_bytes() for file in sorted(predictor.iterdir()))
            arguments = (client, run, predictor.resolve(), name, self._recipe.uri)
            send, version = partial(mlflow_send.send_model, *arguments), _digest(content)
            yield _Item("predictor", f"the model {name}", version, send)

    def _curves(self) -> Iterator[_Item]:
        for name, file in contents.curves(self._study):
            with suppress(OSError):  # renamed or cut at this moment
                size = file.stat().st_size
                if self._sizes.get(file) == size:
                    continue
                last = self._state["pushed"].get(name, -1)
                try:
                    steps = contents.epochs(name, file, last)
                except (ValueError, KeyError) as error:  # no log of ours: nothing to wait for
                    log.warning("tracking: %s cannot be read (%s)", file, error)
                    steps = []
                if steps:
                    run = (self._client, self._state["run"])
                    send = partial(mlflow_send.send_metrics, *run, steps, self._names, time.time())
                    yield _Item(name, f"the curves of {name}", steps[-1][0], send)
                self._sizes[file] = size

    def _description(self) -> Iterator[_Item]:
        """Yield the description; where names of metrics had to be changed, it says how."""
        tags, changed = {}, self._names.changed
        if (file := self._study / contents.DESCRIPTION).exists():
            tags[NOTE] = file.read_text(encoding="utf-8").replace("{run}", self._state["run"])
        if changed:
            table = json.dumps(changed)
            tags["palirs.names"] = table if len(table) <= LONGEST else "too many for a tag"
            pairs = ", ".join(f"`{accepted}` for `{part}`" for accepted, part in changed.items())
            note = f"Names of metrics and parameters have {pairs}."
            tags[NOTE] = f"{tags.get(NOTE, '')}\n\n{note}".strip()
        if tags:
            send = partial(self._set_tags, self._state["run"], tags)
            version = _digest(json.dumps(tags).encode())
            yield _Item("description", "the description", version, send)

    def _sweep_items(self) -> Iterator[_Item]:
        """Yield files and description of the parent run."""
        files = sorted(self._study.parent.glob("sweep.*")) if self._sweep else []
        parent = parent_run(self._client, self._state["run"]) if files else ""
        for file in files:
            send = partial(self._client.log_artifact, parent, str(file))
            if file.suffix == ".md":
                text = file.read_text(encoding="utf-8").replace("{run}", parent)
                send = partial(self._set_tags, parent, {NOTE: text})
            yield _Item(f"../{file.name}", f"the artifact {file.name}", _version(file), send)

    def _set_tags(self, run: str, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_tag(run, key, value)

    def _key(self, file: Path) -> str:
        return str(file.relative_to(self._study))

    def _push(self, item: _Item) -> None:
        """Send an item that the run does not have; step over one that MLflow does not take.

        Raises
        ------
        Exception
            Whatever the client raises, if it is the server that is away.
        """
        pushed, missing = self._state["pushed"], self._state["missing"]
        is_retry = self._again and missing.get(item.key, {}).get("again", False)
        if pushed.get(item.key) == item.version and not is_retry:
            return
        refused, again = None, False
        try:
            refused = item.send()
        except Exception as error:
            if not mlflow_send.is_refusal(error):
                self._client.get_run(self._state["run"])  # raises if it is the server that is away
                again = True
            refused = [mlflow_send.first_line(error)]
        pushed[item.key] = item.version
        if refused:
            reason = ", ".join(refused)
            log.warning("tracking: MLflow did not take %s: %s; the rest goes on", item.what, reason)
            missing[item.key] = {"what": item.what, "why": reason, "again": again}
        elif missing.pop(item.key, None):
            log.info("tracking: %s arrived after all", item.what)
        self._save()

    def close(self, status: str) -> None:
        """Send the rest, once more also what failed before, and end the run; it says what it lacks."""
        self._stop.set()
        self._thread.join()
        self._silent_until, self._again = 0.0, True
        self.push(models=status == "FINISHED")
        if self._monitor is not None:
            self._monitor.finish()
        if self._client is None:
            return
        try:
            missing = [f"{one['what']}: {one['why']}" for one in self._state["missing"].values()]
            if self._silent_until:
                missing.append("what was not sent yet: the next program on this study sends it")
            if missing:
                log.warning(
                    "tracking: run %s lacks %d entries, which are in %s; its page says so",
                    *(self._state["run"], len(missing), self._study),
                )
            add_missing(self._client, self._state["run"], missing, self._study)
            self._client.set_terminated(self._state["run"], status)
        except Exception as error:
            reason = mlflow_send.first_line(error)
            log.warning("tracking: could not end run %s (%s)", self._state["run"], reason)

    def _save(self) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(self._state))
        part.replace(self._file)

    def _connect(self) -> None:
        """Open the store, one program at a time: the jobs of a sweep would all make what is missing."""
        if self._client is None:
            with one_at_a_time(self._recipe.uri, self._study, self._sweep):
                self._open()
            if self._recipe.system_metrics:
                self._monitor = monitor(self._state["run"], self._recipe.uri)

    def _open(self) -> None:
        import mlflow

        client = mlflow.MlflowClient(tracking_uri=self._recipe.uri)
        if self._state["run"]:
            try:
                client.update_run(self._state["run"], status="RUNNING")
            except Exception as error:
                if not (mlflow_send.is_refusal(error) or mlflow_send.is_gone(error)):
                    raise
                log.warning(
                    "tracking: run %s is gone from %s; starting a new one",
                    *(self._state["run"], self._recipe.uri),
                )
                self._state |= {"run": None, "pushed": {}, "missing": {}}
        if not self._state["run"]:
            run = new_run(client, self._recipe.experiment, self._study, self._name, self._sweep)
            self._state["run"] = run
            self._save()
            lines = self._metrics.lines
            moment = lines[0]["time"] if lines else time.time()
            mlflow_send.reserve_headline(client, run, moment)
            refused = mlflow_send.send_parameters(client, run, self._parameters, self._names)
            if refused:
                log.warning("tracking: MLflow did not take the parameters %s", ", ".join(refused))
                why = {"what": "parameters", "why": ", ".join(refused), "again": False}
                self._state["missing"]["parameters"] = why
        self._client = client
        end_the_dead(client, self._recipe.experiment, self._state["run"])


def _version(file: Path) -> str:
    status = file.stat()
    return f"{status.st_mtime_ns} {status.st_size}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _convert(study: Path, file: Path) -> None:
    """Take over what an earlier version kept in ``tracking.jsonl``: metrics, and what was sent."""
    queue = study / "tracking.jsonl"
    if not queue.exists() or (study / contents.METRICS).exists():
        return
    entries = []
    for line in queue.read_text().splitlines():
        with suppress(ValueError):  # cut off by a kill
            entries.append(json.loads(line))
    state = json.loads(file.read_text()) if file.exists() else {}
    metrics, pushed = contents.Metrics(study), {}
    for number, entry in enumerate(entries):
        is_sent = number < state.get("sent", 0)
        if entry["kind"] == "metrics":
            metrics.add(entry["values"], entry["step"])
            if is_sent:
                pushed[f"metrics {len(metrics.lines) - 1}"] = True
        for step, values in entry.get("steps", []) if is_sent else ():
            for key in values:
                name = key.rpartition(".")[0]
                pushed[name] = max(step, pushed.get(name, -1))
        if entry["kind"] == "model" and is_sent:
            pushed["predictor"] = entry["content"]
    if state:
        state = {key: state.get(key) for key in ("uri", "experiment", "run")}
        file.write_text(json.dumps({**state, "pushed": pushed, "missing": {}}))
