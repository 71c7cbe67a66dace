"""Experiment tracking with MLflow, which may be late or absent; computing goes on.

Every call is first written to an outbox in the study directory and then sent. While the server
cannot be reached, all entries wait there and are sent with the next call that succeeds, at the
latest by the next run on the same study. An entry that the server refuses holds up nothing: it is
named in the log and in the run, and the next one is sent.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from palirs.recipes import recipe
from palirs.tracking import mlflow_entries
from palirs.tracking.base import Tracker
from palirs.tracking.mlflow_runs import (
    LONGEST,
    NOTE,
    add_missing,
    end_the_dead,
    monitor,
    new_run,
    one_at_a_time,
)
from palirs.tracking.names import Names

log = logging.getLogger(__name__)

PATIENCE = 900.0
"""How long the curves of trainings wait for the first iteration's errors [s]: MLflow's comparisons
open on what was logged first."""

PAUSE = 60.0
"""After a failure nothing is sent for this long [s], so that a dead server does not slow the study
down."""


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
    """Writes entries to ``tracking.jsonl`` and sends them in order.

    ``tracking.json`` holds the run, how many entries were sent, and which of them MLflow did not
    take.
    """

    def __init__(
        self, recipe: MLflow, study: Path, name: str, parameters: dict[str, str], sweep: str | None
    ):
        self._recipe, self._name, self._parameters, self._sweep = recipe, name, parameters, sweep
        self._study = study
        self._entries_file, self._place_file = study / "tracking.jsonl", study / "tracking.json"
        text = self._entries_file.read_text() if self._entries_file.exists() else ""
        self._entries = [entry for line in text.splitlines() if (entry := _entry(line)) is not None]
        if text and not text.endswith(
            "\n"
        ):  # killed while it wrote: the next entry must not continue that line
            with self._entries_file.open("a") as file:
                file.write("\n")
        self._known = {_digest(entry) for entry in self._entries}
        self._logged: dict[str, int] = {}
        self._headed, self._opened = False, time.monotonic()
        self._names = Names(parameters)
        for entry in self._entries:
            self._note(entry)
        self._place = json.loads(self._place_file.read_text()) if self._place_file.exists() else {}
        if (
            self._place.get("uri") != recipe.uri
            or self._place.get("experiment") != recipe.experiment
        ):
            self._place = {
                "uri": recipe.uri,
                "experiment": recipe.experiment,
                "run": None,
                "sent": 0,
            }
        self._missing: dict[str, dict[str, Any]] = self._place.setdefault("missing", {})
        self._failed: int | None = None  # the entry that failed last, while the server answered
        self._silent_until, self._closing = 0.0, False
        self._client: Any = None
        self._monitor: Any = None
        self._lock = threading.RLock()  # trainings are followed in a thread

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Queue numbers; the same numbers of the same step are logged once."""
        self._add(
            {
                "kind": "metrics",
                "values": {key: float(value) for key, value in values.items()},
                "step": step,
            }
        )

    def series(self, values: Sequence[tuple[int, Mapping[str, float]]]) -> bool:
        """Queue numbers of many steps as one entry; steps that a series was given before are left out."""
        if not self._headed and time.monotonic() - self._opened < PATIENCE:
            return False
        with self._lock:
            new = [
                [step, {k: float(v) for k, v in part.items() if step > self._logged.get(k, -1)}]
                for step, part in values
            ]
            new = [[step, part] for step, part in new if part]
            if new:
                self._add({"kind": "series", "steps": new})
        return True

    def artifact(self, path: Path, folder: str = "") -> None:
        """Queue a file or directory by its path."""
        self._add(
            {
                "kind": "artifact",
                "path": str(path.resolve()),
                "folder": folder,
                "changed": path.stat().st_mtime,
            }
        )

    def model(self, place: Path, name: str, description: str) -> None:
        """Queue the directory of a predictor."""
        content = hashlib.sha256(
            b"".join(file.read_bytes() for file in sorted(place.iterdir()))
        ).hexdigest()  # the same one is logged once
        self._add(
            {
                "kind": "model",
                "path": str(place.resolve()),
                "name": name,
                "description": description,
                "content": content,
            }
        )

    def dataset(self, path: Path, name: str, context: str, profile: str) -> None:
        """Queue a file that was learnt from (``context`` "training") or tested on ("testing")."""
        self._add(
            {
                "kind": "dataset",
                "path": str(path.resolve()),
                "name": name,
                "context": context,
                "profile": profile,
            }
        )

    def describe(self, text: str) -> None:
        """Queue the description of the run; where names of metrics differ from what they stand for, it says how."""
        values = {NOTE: text}
        if changed := self._names.changed:
            told = ", ".join(f"`{accepted}` for `{part}`" for accepted, part in changed.items())
            values[NOTE] += f"\n\nNames of metrics and parameters have {told}."
            table = json.dumps(changed)
            values["palirs.names"] = (
                table if len(table) <= LONGEST else "too many for a tag, see tracking.jsonl"
            )
        self._add({"kind": "tags", "values": values})

    def sweep(self, files: Sequence[Path], text: str) -> None:
        """Queue files and description of the parent run."""
        for file in files:
            self._add(
                {
                    "kind": "artifact",
                    "path": str(file.resolve()),
                    "folder": "",
                    "changed": file.stat().st_mtime,
                    "parent": True,
                }
            )
        self._add({"kind": "tags", "values": {NOTE: text}, "parent": True})

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
        """Keep the last step of each series, names, and whether there was something to open a comparison on."""
        for key in mlflow_entries.keys(entry):
            self._names.accepted(key)
        self._headed = self._headed or any(
            mlflow_entries.is_headline(key) for key in entry.get("values", {})
        )
        for step, part in entry.get("steps", []):
            for key in part:
                self._logged[key] = max(step, self._logged.get(key, -1))

    def flush(self) -> None:
        """Send what is waiting; where the server cannot be reached, wait."""
        if time.monotonic() < self._silent_until:
            return
        try:
            self._connect()
            while self._place["sent"] < len(self._entries):
                self._send(self._place["sent"])
                self._place["sent"] += 1
                self._remember()
            self._watch()
        except Exception as error:  # whatever the server or its client raises, the study goes on
            reason = mlflow_entries.first_line(error)
            if self._failed is not None and self._failed == self._place["sent"]:
                what = mlflow_entries.in_words(self._entries[self._failed])
                log.warning(
                    "tracking: MLflow did not take %s (%s); it is tried once more", what, reason
                )
            else:
                log.warning(
                    "tracking: %s not reachable (%s); entries wait in %s",
                    self._recipe.uri,
                    reason,
                    self._entries_file,
                )
            self._silent_until = time.monotonic() + PAUSE

    def _send(self, number: int) -> None:
        """Send an entry; step over one that MLflow refuses, and over one that fails twice while the server answers.

        Raises
        ------
        Exception
            Whatever the client raises, where all entries should wait.
        """
        entry, run = self._entries[number], self._place["run"]
        try:
            refused = mlflow_entries.send(self._client, run, entry, self._recipe.uri, self._names)
        except Exception as error:
            if not mlflow_entries.is_refusal(error):
                is_first, self._failed = self._failed != number and not self._closing, None
                self._client.get_run(run)  # raises if it is the server that is away
                if is_first and entry["kind"] != "model":  # which takes minutes to send
                    self._failed = number
                    raise
            again = not mlflow_entries.is_refusal(error)
            self._leave_out(number, mlflow_entries.first_line(error), again)
            return
        if refused:
            self._leave_out(number, ", ".join(refused), again=False)
        elif self._missing.pop(str(number), None):
            log.info("tracking: %s arrived after all", mlflow_entries.in_words(entry))

    def _leave_out(self, number: int, reason: str, again: bool) -> None:
        what = mlflow_entries.in_words(self._entries[number])
        if str(number) not in self._missing:
            log.warning("tracking: MLflow did not take %s: %s; the others go on", what, reason)
        self._missing[str(number)] = {"what": what, "why": reason, "again": again}

    def close(self, status: str) -> None:
        """Send the rest, once more also what failed before, and end the run; it says what it lacks."""
        with self._lock:
            self._silent_until, self._closing = 0.0, True
            self.flush()
            if self._monitor is not None:
                self._monitor.finish()
        if self._client is None or not self._place["run"]:
            return
        try:
            if self._place["sent"] == len(self._entries):
                for number in [n for n, missing in self._missing.items() if missing["again"]]:
                    self._send(int(number))
            self._remember()
            self._tell_missing()
            self._client.set_terminated(self._place["run"], status)
        except Exception as error:
            reason = mlflow_entries.first_line(error)
            log.warning("tracking: could not end run %s (%s)", self._place["run"], reason)

    def _tell_missing(self) -> None:
        missing = [f"{entry['what']}: {entry['why']}" for entry in self._missing.values()]
        if waiting := len(self._entries) - self._place["sent"]:
            missing.append(
                f"{waiting} entries: not sent yet, the next program on this study sends them"
            )
        if missing:
            log.warning(
                "tracking: run %s lacks %d entries, which are in %s; its page says so",
                *(self._place["run"], len(missing), self._entries_file),
            )
        add_missing(self._client, self._place["run"], missing, self._entries_file)

    def _remember(self) -> None:
        part = self._place_file.with_suffix(".part")
        part.write_text(json.dumps(self._place))
        part.replace(self._place_file)

    def _connect(self) -> None:
        """Open the store; one program at a time, or the jobs of a sweep would all make the database, the experiment and the parent run."""
        if self._client is None:
            with one_at_a_time(self._recipe.uri, self._study, self._sweep):
                self._open()

    def _open(self) -> None:
        import mlflow

        client = mlflow.MlflowClient(tracking_uri=self._recipe.uri)
        if self._place["run"]:
            try:
                client.update_run(self._place["run"], status="RUNNING")
            except Exception as error:
                if not (mlflow_entries.is_refusal(error) or mlflow_entries.is_gone(error)):
                    raise
                log.warning(
                    "tracking: run %s is gone from %s; starting a new one",
                    self._place["run"],
                    self._recipe.uri,
                )
                self._missing.clear()
                self._place.update(run=None, sent=0)
        if not self._place["run"]:
            self._place["run"] = new_run(
                client, self._recipe.experiment, self._study, self._name, self._sweep
            )
            self._remember()
            refused = mlflow_entries.send_parameters(
                client, self._place["run"], self._parameters, self._names
            )
            if refused:
                log.warning("tracking: MLflow did not take the parameters %s", ", ".join(refused))
                self._missing["parameters"] = {
                    "what": "parameters",
                    "why": ", ".join(refused),
                    "again": False,
                }
        self._client = client
        end_the_dead(client, self._recipe.experiment, self._place["run"])

    def _watch(self) -> None:
        """Start to log how busy the machine is, once there is something to open a comparison on."""
        if self._recipe.system_metrics and self._monitor is None and self._headed:
            self._monitor = monitor(self._place["run"], self._recipe.uri)


def _entry(line: str) -> dict | None:
    """Read one line; one that was cut off is left out."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def _digest(entry: dict) -> str:
    return json.dumps(entry, sort_keys=True)
