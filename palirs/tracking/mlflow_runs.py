"""Runs in MLflow: a study has one, the studies of a sweep a common parent; those that nobody works on any more are ended."""

import logging
import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock

from palirs.lock import holder
from palirs.tracking import mlflow_entries

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
    """Return a lock for opening a store: the jobs of a sweep start together, and one of them makes what is not there."""
    file = uri.partition(":///")[2] if uri.startswith("sqlite:///") else ""
    if file:
        place = Path(file).with_name(f".{Path(file).name}.lock")
    elif sweep:
        place = study.parent / ".tracking.lock"
    else:
        return nullcontext()
    place.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(place, timeout=300)


def monitor(run: str, uri: str) -> Any:
    """Start to log how busy the machine is; return what ``finish()`` ends."""
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
    """Make the run of a study, and the experiment and the parent run if they are not there; return its id."""
    tags = {
        "mlflow.runName": name,
        "palirs.study": str(study.resolve()),
        "palirs.host": socket.gethostname(),
    }
    tags |= mlflow_entries.provenance()
    existing = client.get_experiment_by_name(experiment)
    number = existing.experiment_id if existing else client.create_experiment(experiment, tags=KIND)
    if sweep:
        tags |= {"palirs.sweep": sweep, "mlflow.parentRunId": _parent(client, number, sweep)}
    return client.create_run(number, tags=tags).info.run_id


def add_missing(client: Any, run: str, missing: Sequence[str], where: Path) -> None:
    """Have a run say which entries it lacks, in a tag and its description; nothing where it lacks none.

    Parameters
    ----------
    missing : sequence of str
        Entries in words, and why each is not there.
    where : Path
        File that holds all entries.
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
    """Mark as killed the runs of this machine that nobody works on any more: a program that was killed could not say so."""
    known = client.get_experiment_by_name(experiment)
    found = (
        client.search_runs([known.experiment_id], "attributes.status = 'RUNNING'") if known else []
    )
    for run in found:
        tags = run.data.tags
        if (
            run.info.run_id != own
            and tags.get("palirs.host") == socket.gethostname()
            and "palirs.study" in tags
        ):
            place = Path(tags["palirs.study"])
            if not place.exists() or holder(place) is None:
                client.set_terminated(run.info.run_id, "KILLED")


def _parent(client: Any, experiment: str, sweep: str) -> str:
    """Return the parent run of a sweep, made by its first child."""
    quoted = sweep.replace("'", "''")
    found = client.search_runs(
        [experiment], f"tags.`palirs.sweep_parent` = '{quoted}'", max_results=1
    )
    if found:
        return found[0].info.run_id
    run = client.create_run(
        experiment, tags={"mlflow.runName": f"sweep {sweep}", "palirs.sweep_parent": sweep}
    ).info.run_id
    client.set_terminated(run)
    return run
