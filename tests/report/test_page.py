import csv

import pytest

from palirs.report import page
from palirs.report.sections import Section
from palirs.report.tables import write_table


def test_a_table_comes_back_from_its_file(tmp_path):
    rows = [{"molecule": "methanol", "n": 3, "energy.mae_meV": 1.23456789}, {"molecule": "N,N-x", "n": 4, "energy.mae_meV": 2.0}]
    write_table(tmp_path / "errors.csv", rows)
    with (tmp_path / "errors.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["molecule"] for row in found] == ["methanol", "N,N-x"]
    assert float(found[0]["energy.mae_meV"]) == pytest.approx(1.23456789, rel=1e-5)


def test_sections_stand_in_their_order_and_nothing_is_markup(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    sections = [
        Section("First & foremost", figure=tmp_path / "a.png"),
        Section("Ended early", rows=[{"trajectory": "x/1", "reason": "<b>dissociated</b>"}]),
        Section("Empty", rows=[]),
    ]
    text = page.write(tmp_path / "report.html", "Study", ["One < two."], sections, "seed: 1").read_text()
    places = [text.index(part) for part in ("One &lt; two.", "First &amp; foremost", "iVBORw"[:3], "Ended early", "Empty", "seed: 1")]
    assert places == sorted(places)
    assert "&lt;b&gt;dissociated" in text
    assert not list(tmp_path.glob("*.part"))
