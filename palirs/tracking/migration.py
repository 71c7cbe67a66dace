"""Studies of earlier versions, which kept a queue of what was to be sent: ``tracking.jsonl``."""

import json
from contextlib import suppress
from pathlib import Path

from palirs.tracking.contents import METRICS, Metrics


def convert_queue(study: Path, file: Path) -> None:
    """Take over the metrics of the queue of a study, and into ``tracking.json`` what was sent."""
    queue = study / "tracking.jsonl"
    state = json.loads(file.read_text()) if file.exists() else {}
    if not queue.exists() or "pushed" in state or (not state and (study / METRICS).exists()):
        return
    (study / METRICS).unlink(missing_ok=True)  # of a conversion that was killed
    entries = []
    for line in queue.read_text().splitlines():
        with suppress(ValueError):  # cut off by a kill
            entries.append(json.loads(line))
    metrics, pushed = Metrics(study), {}
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
