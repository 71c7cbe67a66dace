"""Sections of the report on anharmonic levels."""

from collections.abc import Mapping, Sequence

from palirs.report.sections import Section
from palirs.results import StudyResults

SOURCES = ("committee", "engine")
Row = Mapping[str, float | str]


def levels(results: StudyResults) -> list[Section]:
    """Return the fundamentals of each molecule by committee and engine, if they were calculated."""
    sections = []
    for molecule in results.references:
        tables = {by: results.anharmonic(molecule, by) for by in SOURCES}
        if not any(tables.values()):
            continue
        first = tables["committee"] or tables["engine"]
        others = {str(row["level"]): row for row in tables["engine"]}
        rows = [
            _in_words(row, others.get(str(row["level"])) if tables["committee"] else None)
            for row in first
            if "motion" in row
        ]
        whose = "the committee" if tables["committee"] else "the engine"
        sections.append(
            Section(
                f"Anharmonic levels of {molecule} (cm⁻¹)",
                rows=rows,
                note=_note(
                    whose, bool(tables["committee"]), any("rotor_levels" in r for r in first)
                ),
            )
        )
    return sections


def isotopologues(results: StudyResults) -> list[Section]:
    """Return the fundamentals of each isotopologue by committee and engine beside the molecule's.

    Parameters
    ----------
    results : StudyResults
        Of the study; isotopologues are there if they were asked for.
    """
    sections = []
    for molecule in results.references:
        tables = {by: results.isotopologues(molecule, by) for by in SOURCES}
        for name in dict.fromkeys(name for by in SOURCES for name in tables[by]):
            committee, engine = (tables[by].get(name, []) for by in SOURCES)
            others = {str(row["level"]): row for row in engine} if committee else {}
            rows = [
                _in_words(row, others.get(str(row["level"]))) | {f"of {molecule}": _parent(row)}
                for row in committee or engine
                if "motion" in row
            ]
            sections.append(
                Section(
                    f"Anharmonic levels of {name}, isotopologue of {molecule} (cm⁻¹)",
                    rows=rows,
                    note=_isotopologue_note("the committee" if committee else "the engine"),
                )
            )
    return sections


def _parent(row: Row) -> str:
    """Return the mode of the molecule that a mode is like, its fundamental and how like it is."""
    value, share = row.get("parent_cm1"), row.get("parent_share")
    known = f" {value:.1f}" if isinstance(value, float) and value == value else ""
    return f"{row.get('parent', '')}{known}" + (
        f" ({share:.0%} alike)" if isinstance(share, float) else ""
    )


def _isotopologue_note(whose: str) -> str:
    return (
        f"From the force field of {whose}, without a force. Names are its isotopes with their "
        "atoms, from 0: D5, 13C0; d4 is every hydrogen atom as deuterium. The last column is the "
        "mode of the molecule that is most like each mode."
    )


def fundamentals(rows: Sequence[Row]) -> dict[int, str]:
    """Return the anharmonic fundamental of each mode, numbered from 1, as text with its spread."""
    return {
        int(str(row["level"])[1:]): _with_spread(row)
        for row in rows
        if "motion" in row and "anharmonic_cm1" in row
    }


def _in_words(row: Row, engine: Row | None) -> dict[str, object]:
    text: dict[str, object] = {
        "level": row["level"],
        "motion": row["motion"],
        "harmonic": f"{row['harmonic_cm1']:.1f}",
        "anharmonic": _with_spread(row),
    }
    if engine is not None:
        text["engine's anharmonic"] = _with_spread(engine)
    if "rotor_levels" in row:
        text["levels of the rotor"] = row["rotor_levels"]
    text["mixed with"] = row.get("with", "")
    text["caveat"] = row.get("caveat", "")
    return text


def _with_spread(row: Row) -> str:
    value, spread = row.get("anharmonic_cm1"), row.get("spread_cm1")
    if not isinstance(value, float) or value != value:
        return "–"
    known = isinstance(spread, float) and spread == spread
    return f"{value:.1f} ± {spread:.1f}" if known else f"{value:.1f}"


def _note(whose: str, spread: bool, rotor: bool) -> str:
    text = (
        "By second-order perturbation theory with resonances (GVPT2) from the quartic force field "
        f"of {whose}, for nuclei that are quantum; MD moves them classically and misses most of "
        "the shift of X–H stretches. ν1 is the softest mode, as in the table above; levels of two "
        "quanta are in levels.csv."
    )
    if rotor:
        text += (
            " An internal rotation is solved in one dimension instead: its level is the mean over "
            "its symmetries, and the levels of the rotor are above the lowest of them."
        )
    if spread:
        text += " ± is the standard deviation of the members of the committee."
    return text
