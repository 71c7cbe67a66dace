"""The result of an identification: printed, as a table, and as a figure."""

import logging
from collections.abc import Sequence
from pathlib import Path

from palirs.predictor.candidates import Candidate
from palirs.recipes import PalirsError
from palirs.report import figures, identification_figures
from palirs.results.tables import write_table
from palirs.spectra import Spectrum
from palirs.spectra.identification import verdict
from palirs.spectra.identification.matching import Matching, compared_range, matches

log = logging.getLogger(__name__)


def tell(
    record: Spectrum,
    candidates: Sequence[Candidate],
    matching: Matching,
    least: float,
    output: Path,
) -> None:
    """Compare candidates with the record; print, write and draw the result.

    Parameters
    ----------
    record : Spectrum
        Measured, without baseline.
    candidates : sequence of Candidate
        With their spectra, or why there is none.
    matching : Matching
        How they are compared.
    least : float
        Similarity below which no candidate fits.
    output : Path
        Directory of ``identification.csv``, ``.png``, ``.pdf`` and ``verdict.txt``.

    Raises
    ------
    PalirsError
        If no candidate has a spectrum.
    """
    spectra = {one.name: one.spectrum for one in candidates if one.spectrum is not None}
    ranked = matches(record, spectra, matching)
    known = {one.name: one for one in candidates}
    rows = verdict.rows(ranked)
    for row in rows:
        one = known[str(row["candidate"])]
        row |= {"source": one.source, "remarks": "; ".join(one.remarks)}
    failed = [one for one in candidates if one.spectrum is None]
    rows += [{"candidate": one.name, "remarks": f"left out: {one.failure}"} for one in failed]
    write_table(output / "identification.csv", rows)
    sentences = verdict.in_words(ranked, least)
    sentences += [f"{one.name}: {text}." for one in candidates for text in one.remarks]
    sentences += [f"{one.name} is left out: {one.failure}." for one in failed]
    print("\n".join([*verdict.table(ranked), "", *sentences]))
    (output / "verdict.txt").write_text("\n".join([*sentences, ""]), encoding="utf-8")
    if not ranked:
        raise PalirsError("task.candidates: none of them has a spectrum, for the reasons above")
    equal = matching.equal(record)
    window = compared_range(equal, spectra, matching)
    title = verdict.heading(ranked, record.label, least)
    drawn = identification_figures.beside_record(equal, spectra, ranked, window, title)
    figures.save(drawn, output / "identification.png", vector=True)
    log.info("%s: identification.csv, .png, .pdf, verdict.txt", output)
