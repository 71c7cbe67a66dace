"""Table, figure and page of a sweep, written by each of its studies."""

from pathlib import Path

from palirs.learning.completed import complete_iterations
from palirs.pages import comparison
from palirs.study.session import Session


def summarise_sweep(session: Session, sweep: str) -> None:
    """Write table, figure and page of a sweep again, with the studies that are done so far."""
    base = session.directory.parent
    if not complete_iterations(session.directory):
        return
    if not (session.directory / comparison.SUMMARY).exists():
        comparison.write_summary(session.directory, {})
    done = sorted((file.parent for file in base.glob(f"*/{comparison.SUMMARY}")), key=_natural)
    studies = {directory.name: directory for directory in done}
    summary = [f"{len(studies)} studies that differ in {sweep}."]
    if session.labeller.store.path.parent == base:
        used = sum(comparison.outcome(study).get("labels.used", 0) for study in done)
        count = sum(1 for _ in session.labeller.store.select(session.settings.engine))
        summary.append(
            f"They used {used:.0f} labels, of which {count} were calculated: the others were "
            "found in the store that they share."
        )
    comparison.write(studies, base, "sweep", f"Sweep over {sweep}", summary)
    picture = "![sweep](get-artifact?path=sweep.png&run_uuid={run})"
    text = f"Studies that differ in {sweep}: `sweep.html` has table, figures and spectra."
    (base / "sweep.md").write_text(f"{text}\n\n{picture}", encoding="utf-8")


def _natural(directory: Path) -> tuple[tuple[bool, float, str], ...]:
    """Order numbers by size."""

    def part(text: str) -> tuple[bool, float, str]:
        try:
            return False, float(text), ""
        except ValueError:
            return True, 0.0, text

    return tuple(part(text.partition("=")[2]) for text in directory.name.split(","))
