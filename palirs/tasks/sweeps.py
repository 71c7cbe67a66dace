"""What a study tells the sweep that it belongs to."""

from pathlib import Path

from palirs.learning.iterations import complete_iterations
from palirs.pages import comparison
from palirs.study import Session


def summarise_sweep(session: Session, sweep: str) -> None:
    """Write table, figure and page of the sweep that a study belongs to anew, with the studies that are done so far."""
    base = session.directory.parent
    if not complete_iterations(session.directory):
        return
    if not (session.directory / comparison.SUMMARY).exists():
        comparison.write_summary(session.directory, {})  # which tells that it is done
    places = {
        file.parent.name: file.parent
        for file in sorted(
            base.glob(f"*/{comparison.SUMMARY}"), key=lambda file: _natural(file.parent)
        )
    }
    told = [f"{len(places)} studies that differ in {sweep}."]
    if session.labeller.store.path.parent == base:
        used = sum(comparison.outcome(place).get("labels.used", 0) for place in places.values())
        count = sum(1 for _ in session.labeller.store.select(session.study.engine))
        told.append(
            f"They used {used:.0f} labels, of which {count} were calculated: the others were found in the store that they share."
        )
    comparison.write(places, base, "sweep", f"Sweep over {sweep}", told)
    picture = "![sweep](get-artifact?path=sweep.png&run_uuid={run})"
    text = (
        f"Studies that differ in {sweep}: `sweep.html` has table, figures and spectra.\n\n{picture}"
    )
    (base / "sweep.md").write_text(text, encoding="utf-8")


def _natural(place: Path) -> tuple[tuple[bool, float, str], ...]:
    """Order numbers by size."""

    def part(text: str) -> tuple[bool, float, str]:
        try:
            return False, float(text), ""
        except ValueError:
            return True, 0.0, text

    return tuple(part(text.partition("=")[2]) for text in place.name.split(","))
