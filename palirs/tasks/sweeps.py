"""What a study tells the sweep that it belongs to."""

import json

from palirs.learning.iterations import complete_iterations
from palirs.report.sweep import summarise, write_summary
from palirs.study import Session


def summarise_sweep(session: Session, sweep: str, seconds: float) -> None:
    """Write down what a study came to, and write table, figure and page of its sweep anew, with the studies that are done so far."""
    places, base = complete_iterations(session.directory), session.directory.parent
    if not places:
        return
    metrics = json.loads((places[-1] / "metrics.json").read_text())["metrics"]
    shelf = session.shelf
    write_summary(session.directory, metrics, [shelf.compare(molecule) for molecule in shelf.molecules], seconds)
    shared = session.labeller.store.path.parent == base
    count = sum(1 for _ in session.labeller.store.select(session.study.engine)) if shared else 0
    files = summarise(base, sweep, count)
    picture = "![sweep](get-artifact?path=sweep.png&run_uuid={run})"
    session.tracker.sweep(files, f"Studies that differ in {sweep}: `sweep.html` has table and figure.\n\n{picture}")
