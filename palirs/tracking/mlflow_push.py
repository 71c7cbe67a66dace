"""Experiment tracking with MLflow: what lies in the study directory is pushed, each thing once.

The study directory is the source, ``tracking.json`` in it says what its run has already. A thread
compares and sends, so that a server that is slow or away delays logging and never computing; what
it did not get is sent later, at the latest by the next program that works on the study. What the
server refuses holds up nothing: it is named in the log and in the run.
"""

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from palirs.recipes import recipe
from palirs.tracking import contents, mlflow_send
from palirs.tracking import mlflow_items as items
from palirs.tracking.base import Tracker
from palirs.tracking.migration import convert_queue
from palirs.tracking.mlflow_items import Item, Target
from palirs.tracking.mlflow_runs import add_missing, end_the_dead, monitor, new_run, one_at_a_time
from palirs.tracking.names import Names

log = logging.getLogger(__name__)

INTERVAL = 5.0
"""Seconds between two looks at metrics and curves."""
PAUSE = 60.0
"""Seconds for which nothing is sent to a server that did not answer."""
CLOSING = 60.0
"""Seconds that a request under way is waited for at the end of a program."""
LATER = "what it lacks is in the study and is sent by the next program on it"


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
        convert_queue(study, self._file)
        self._metrics = contents.Metrics(study)
        self._names = Names(parameters)
        for line in self._metrics.lines:
            for key in line["values"]:
                self._names.accepted(key)
        self._state = json.loads(self._file.read_text()) if self._file.exists() else {}
        destination = {"uri": recipe.uri, "experiment": recipe.experiment}
        if any(self._state.get(key) != value for key, value in destination.items()):
            self._state = {**destination, "run": None, "pushed": {}, "missing": {}}
        self._state = {"pushed": {}, "missing": {}, **self._state}
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
            if not self.push(files) and files:
                self._new_files.set()
            if self._stop.wait(INTERVAL):
                return

    def push(self, files: bool = True, models: bool = False) -> bool:
        """Send what the run does not have, and return whether the server was there to take it."""
        if time.monotonic() < self._silent_until:
            return False
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
            return False
        return True

    def _items(self, files: bool, models: bool) -> Iterator[Item]:
        """Yield what there is to be sent, in the order in which it should appear."""
        target = Target(self._client, self._state["run"], self._names)
        yield from items.metrics(target, self._metrics)
        yield from items.curves(target, self._study, self._state["pushed"], self._sizes)
        if files:
            yield from items.files(target, self._study)
            yield from items.description(target, self._study)
        if files and self._sweep:
            yield from items.sweep(target, self._study)
        if models:
            yield from items.datasets(target, self._study)
            yield from items.models(target, self._study, self._recipe.uri)

    def _push(self, item: Item) -> None:
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
        """Send the rest, again what failed before, and end the run, which says what it lacks.

        A server that still owes an answer after a minute is not waited for again.
        """
        self._stop.set()
        self._thread.join(CLOSING)
        if self._thread.is_alive():
            log.warning("tracking: %s does not answer; %s", self._recipe.uri, LATER)
            return
        self._silent_until, self._again = 0.0, True
        all_sent = self.push(models=status == "FINISHED")
        if self._monitor is not None:
            self._monitor.finish()
        if self._client is None:
            return
        try:
            refused = self._state["missing"].values()
            missing = [f"{entry['what']}: {entry['why']}" for entry in refused]
            if not all_sent:
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
        """Open the store, one program at a time: else each job of a sweep makes what is missing."""
        if self._client is None:
            with one_at_a_time(self._recipe.uri, self._study, self._sweep):
                self._open()
        if self._recipe.system_metrics and self._monitor is None:
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
                self._save()
        end_the_dead(client, self._recipe.experiment, self._state["run"])
        self._client = client
