"""Experiment tracking with MLflow: the only import of it. Tracking is an edge: it may be late or absent, computing goes on.

Every call is first written to an outbox in the study directory and then sent. What could not be sent stays there and is sent with the
next call that succeeds, at the latest by the next run on the same study.
"""

import hashlib
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock

from palirs.lock import holder
from palirs.recipes import recipe
from palirs.tracking import mlflow_entries
from palirs.tracking.base import Tracker

log = logging.getLogger(__name__)

KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Makes the MLflow pages open on training runs, not on traces of language models."""

SAMPLED = 20
"""Seconds between two looks at processor, memory and disk."""

PATIENCE = 900.0
"""How long the curves of trainings wait for the first iteration's errors [s]: MLflow's comparisons open on what was logged first."""

PAUSE = 60.0
"""After a failure nothing is sent for this long [s], so that a dead server does not slow the study down."""


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
    def open(self, study: Path, name: str, parameters: Mapping[str, Any], sweep: str | None) -> Iterator[Tracker]:
        """Open the run of a study; a study that goes on goes on in its own run.

        Parameters
        ----------
        study : Path
            Study directory; holds the run id and the outbox.
        name : str
            Of the run.
        parameters : mapping
            Resolved settings, flat.
        sweep : str or None
            Name of the sweep this run is a child of.
        """
        outbox = _Outbox(self, study, name, mlflow_entries.parameters(parameters), sweep)
        status = "FAILED"
        try:
            outbox.flush()
            yield outbox
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            outbox.close(status)


class _Outbox:
    """Writes entries to ``tracking.jsonl`` and sends them in order; ``tracking.json`` remembers the run and how many were sent."""

    def __init__(self, recipe: MLflow, study: Path, name: str, parameters: dict[str, str], sweep: str | None):
        self._recipe, self._name, self._parameters, self._sweep = recipe, name, parameters, sweep
        self._study = study
        self._entries_file, self._place_file = study / "tracking.jsonl", study / "tracking.json"
        text = self._entries_file.read_text() if self._entries_file.exists() else ""
        self._entries = [entry for line in text.splitlines() if (entry := _entry(line)) is not None]
        if text and not text.endswith("\n"):  # killed while it wrote: the next entry must not continue that line
            with self._entries_file.open("a") as file:
                file.write("\n")
        self._known = {_digest(entry) for entry in self._entries}
        self._logged: dict[str, int] = {}
        self._headed, self._opened = False, time.monotonic()
        for entry in self._entries:
            self._note(entry)
        self._place = json.loads(self._place_file.read_text()) if self._place_file.exists() else {}
        if self._place.get("uri") != recipe.uri or self._place.get("experiment") != recipe.experiment:
            self._place = {"uri": recipe.uri, "experiment": recipe.experiment, "run": None, "sent": 0}
        self._silent_until = 0.0
        self._client: Any = None
        self._monitor: Any = None
        self._lock = threading.RLock()  # trainings are followed in a thread

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Queue numbers; the same numbers of the same step are logged once."""
        self._add({"kind": "metrics", "values": {key: float(value) for key, value in values.items()}, "step": step})

    def series(self, values: Sequence[tuple[int, Mapping[str, float]]]) -> bool:
        """Queue numbers of many steps as one entry; steps that a series was given before are left out."""
        if not self._headed and time.monotonic() - self._opened < PATIENCE:
            return False
        with self._lock:
            new = [[step, {k: float(v) for k, v in part.items() if step > self._logged.get(k, -1)}] for step, part in values]
            new = [[step, part] for step, part in new if part]
            if new:
                self._add({"kind": "series", "steps": new})
        return True

    def artifact(self, path: Path, folder: str = "") -> None:
        """Queue a file or directory by its path."""
        self._add({"kind": "artifact", "path": str(path.resolve()), "folder": folder, "changed": path.stat().st_mtime})

    def model(self, place: Path, name: str, description: str) -> None:
        """Queue the directory of a predictor."""
        content = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(place.iterdir()))).hexdigest()  # the same one is logged once
        self._add({"kind": "model", "path": str(place.resolve()), "name": name, "description": description, "content": content})

    def dataset(self, path: Path, name: str, context: str, profile: str) -> None:
        """Queue a file that was learnt from (``context`` "training") or tested on ("testing")."""
        self._add({"kind": "dataset", "path": str(path.resolve()), "name": name, "context": context, "profile": profile})

    def describe(self, text: str) -> None:
        """Queue the description of the run."""
        self._add({"kind": "tags", "values": {"mlflow.note.content": text}})

    def sweep(self, files: Sequence[Path], text: str) -> None:
        """Queue files and description of the parent run."""
        for file in files:
            self._add({"kind": "artifact", "path": str(file.resolve()), "folder": "", "changed": file.stat().st_mtime, "parent": True})
        self._add({"kind": "tags", "values": {"mlflow.note.content": text}, "parent": True})

    def _add(self, entry: dict) -> None:
        with self._lock:
            if _digest(entry) in self._known:
                return
            with self._entries_file.open("a") as file:
                file.write(json.dumps(entry) + "\n")
            self._known.add(_digest(entry))
            self._note(entry)
            self._entries.append(entry)
            self.flush()

    def _note(self, entry: dict) -> None:
        """Remember the last step of each series, and that there was something to open a comparison on."""
        self._headed = self._headed or any(mlflow_entries.is_headline(key) for key in entry.get("values", {}))
        for step, part in entry.get("steps", []):
            for key in part:
                self._logged[key] = max(step, self._logged.get(key, -1))

    def flush(self) -> None:
        """Send what is waiting; on failure, wait."""
        if time.monotonic() < self._silent_until:
            return
        try:
            self._connect()
            while self._place["sent"] < len(self._entries):
                mlflow_entries.send(self._client, self._place["run"], self._entries[self._place["sent"]], self._recipe.uri)
                self._place["sent"] += 1
                self._remember()
            self._watch()
        except Exception as error:  # whatever the server or its client raises, the study goes on
            log.warning("tracking: %s not reachable (%s); entries wait in %s", self._recipe.uri, error, self._entries_file)
            self._silent_until = time.monotonic() + PAUSE

    def close(self, status: str) -> None:
        """Send the rest and end the run."""
        with self._lock:
            self._silent_until = 0.0
            self.flush()
            if self._monitor is not None:
                self._monitor.finish()
        if self._client is not None and self._place["run"]:
            try:
                self._client.set_terminated(self._place["run"], status)
            except Exception as error:
                log.warning("tracking: could not end run %s (%s)", self._place["run"], error)

    def _remember(self) -> None:
        part = self._place_file.with_suffix(".part")
        part.write_text(json.dumps(self._place))
        part.replace(self._place_file)

    def _connect(self) -> None:
        """Open the store; one program at a time, or the jobs of a sweep would all make the database, the experiment and the parent run."""
        if self._client is None:
            with self._alone():
                self._open()

    def _alone(self) -> AbstractContextManager:
        file = self._recipe.uri.partition(":///")[2] if self._recipe.uri.startswith("sqlite:///") else ""
        if file:
            place = Path(file).with_name(f".{Path(file).name}.lock")
        elif self._sweep:
            place = self._study.parent / ".tracking.lock"
        else:
            return nullcontext()
        place.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(place, timeout=300)

    def _open(self) -> None:
        import mlflow
        from mlflow.exceptions import MlflowException

        client = mlflow.MlflowClient(tracking_uri=self._recipe.uri)
        if self._place["run"]:
            try:
                client.update_run(self._place["run"], status="RUNNING")
            except MlflowException:
                log.warning("tracking: run %s is gone from %s; starting a new one", self._place["run"], self._recipe.uri)
                self._place.update(run=None, sent=0)
        if not self._place["run"]:
            self._place["run"] = self._new_run(client)
            self._remember()
        self._client = client
        end_the_dead(client, self._recipe.experiment, self._place["run"])

    def _watch(self) -> None:
        """Start to log how busy the machine is, once there is something to open a comparison on."""
        if self._recipe.system_metrics and self._monitor is None and self._headed:
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)  # that there is no GPU to look at needs no line
            self._monitor = SystemMetricsMonitor(
                self._place["run"], sampling_interval=SAMPLED, resume_logging=True, tracking_uri=self._recipe.uri
            )
            self._monitor.start()

    def _new_run(self, client: Any) -> str:
        from mlflow.entities import Param

        known = client.get_experiment_by_name(self._recipe.experiment)
        experiment = known.experiment_id if known else client.create_experiment(self._recipe.experiment, tags=KIND)
        tags = {"mlflow.runName": self._name, "palirs.study": str(self._study.resolve()), "palirs.host": socket.gethostname()}
        tags |= mlflow_entries.provenance()
        if self._sweep:
            tags |= {"palirs.sweep": self._sweep, "mlflow.parentRunId": _parent(client, experiment, self._sweep)}
        run = client.create_run(experiment, tags=tags).info.run_id
        client.log_batch(run, params=[Param(key, value) for key, value in self._parameters.items()])
        return run


def end_the_dead(client: Any, experiment: str, own: str) -> None:
    """Mark as killed the runs of this machine that nobody works on any more: a program that was killed could not say so."""
    known = client.get_experiment_by_name(experiment)
    found = client.search_runs([known.experiment_id], "attributes.status = 'RUNNING'") if known else []
    for run in found:
        tags = run.data.tags
        if run.info.run_id != own and tags.get("palirs.host") == socket.gethostname() and "palirs.study" in tags:
            place = Path(tags["palirs.study"])
            if not place.exists() or holder(place) is None:
                client.set_terminated(run.info.run_id, "KILLED")


def _parent(client: Any, experiment: str, sweep: str) -> str:
    """Return the parent run of a sweep, made by its first child."""
    found = client.search_runs([experiment], f"tags.`palirs.sweep_parent` = '{sweep}'", max_results=1)
    if found:
        return found[0].info.run_id
    run = client.create_run(experiment, tags={"mlflow.runName": f"sweep {sweep}", "palirs.sweep_parent": sweep}).info.run_id
    client.set_terminated(run)
    return run


def _entry(line: str) -> dict | None:
    """Read one line; one that was cut off is left out."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def _digest(entry: dict) -> str:
    return json.dumps(entry, sort_keys=True)
