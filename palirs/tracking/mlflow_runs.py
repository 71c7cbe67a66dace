"""Runs in MLflow: one of each study, a parent of each sweep; those nobody works on are ended."""

import logging
import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock

from palirs.lock import holder
from palirs.tracking import mlflow_send

KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Makes the MLflow pages open on training runs, not on traces of language models."""
MISSING, NOTE = "palirs.missing", "mlflow.note.content"
"""Tags: entries that a run lacks; its description."""
HEADING = "**Entries that MLflow did not take are missing here.**"
LONGEST = 7500
"""Characters of a tag."""
SAMPLED = 20
"""Seconds between two looks at processor, memory and disk."""


def one_at_a_time(uri: str, study: Path, sweep: str | None) -> AbstractContextManager:
    """Return a lock for opening a store: of the jobs of a sweep, one makes what is not there."""
    database = uri.partition(":///")[2] if uri.startswith("sqlite:///") else ""
    if not database and not sweep:
        return nullcontext()
    lock = study.parent / ".tracking.lock"
    if database:
        lock = Path(database).with_name(f".{Path(database).name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(lock, timeout=300)


def monitor(run: str, uri: str) -> Any:
    """Log the use of the machine until ``finish()`` of what is returned."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(
        logging.ERROR
    )  # that there is no GPU needs no line
    started = SystemMetricsMonitor(
        run, sampling_interval=SAMPLED, resume_logging=True, tracking_uri=uri
    )
    started.start()
    return started


def new_run(client: Any, experiment: str, study: Path, name: str, sweep: str | None) -> str:
    """Make the run of a study, with experiment and parent run if missing; return its id."""
    tags = {
        "mlflow.runName": name,
        "palirs.study": str(study.resolve()),
        "palirs.host": socket.gethostname(),
    }
    tags |= mlflow_send.provenance()
    existing = client.get_experiment_by_name(experiment)
    number = existing.experiment_id if existing else client.create_experiment(experiment, tags=KIND)
    if sweep:
        tags |= {"palirs.sweep": sweep, "mlflow.parentRunId": _parent(client, number, sweep)}
    return client.create_run(number, tags=tags).info.run_id


def add_missing(client: Any, run: str, missing: Sequence[str], where: Path) -> None:
    """Set what a run lacks in a tag and its description, or remove it there.

    Parameters
    ----------
    client, run
        MLflow's client, the id of the run.
    missing : sequence of str
        Entries in words, and why each is not there.
    where : Path
        Where they are.
    """
    tags = client.get_run(run).data.tags
    if not missing:
        if MISSING in tags:
            client.delete_tag(run, MISSING)
            note = tags.get(NOTE, "").partition(HEADING)[0].rstrip()
            client.set_tag(run, NOTE, note)
        return
    client.set_tag(run, MISSING, f"{len(missing)}: {'; '.join(missing)}"[:LONGEST])
    shown = "\n".join(f"- `{line}`" for line in missing[:20])
    more = f"\n- and {len(missing) - 20} more" if len(missing) > 20 else ""
    note = tags.get(NOTE, "").partition(HEADING)[0].rstrip()
    text = f"{HEADING} They are in `{where}`.\n\n{shown}{more}"
    client.set_tag(run, NOTE, f"{note[: max(0, LONGEST - len(text))]}\n\n{text}"[:LONGEST])


def end_the_dead(client: Any, experiment: str, own: str) -> None:
    """Mark runs of this machine as killed that no program works on: a kill left them running."""
    existing = client.get_experiment_by_name(experiment)
    if existing is None:
        return
    for run in client.search_runs([existing.experiment_id], "attributes.status = 'RUNNING'"):
        tags = run.data.tags
        is_here = tags.get("palirs.host") == socket.gethostname() and "palirs.study" in tags
        if run.info.run_id != own and is_here:
            study = Path(tags["palirs.study"])
            if not study.exists() or holder(study) is None:
                client.set_terminated(run.info.run_id, "KILLED")


def parent_run(client: Any, run: str) -> str:
    """Return the parent run of a job of a sweep, else the run itself."""
    return client.get_run(run).data.tags.get("mlflow.parentRunId", run)


def _parent(client: Any, experiment: str, sweep: str) -> str:
    """Return the parent run of a sweep, made by its first child."""
    quoted = sweep.replace("'", "''")
    parents = client.search_runs(
        [experiment], f"tags.`palirs.sweep_parent` = '{quoted}'", max_results=1
    )
    if parents:
        return parents[0].info.run_id
    run = client.create_run(
        experiment, tags={"mlflow.runName": f"sweep {sweep}", "palirs.sweep_parent": sweep}
    ).info.run_id
    client.set_terminated(run)
    return run
