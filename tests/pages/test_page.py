import csv
import re
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
from ase import Atoms

from palirs.pages import page
from palirs.pages.page import Chapter, head
from palirs.pages.report import outside
from palirs.report.sections import Section
from palirs.results.tables import write_table
from palirs.vibrations import Harmonic


def test_a_table_comes_back_from_its_file(tmp_path):
    rows = [
        {"molecule": "methanol", "n": 3, "energy.mae_meV": 1.23456789},
        {"molecule": "N,N-x", "n": 4, "energy.mae_meV": 2.0},
    ]
    write_table(tmp_path / "errors.csv", rows)
    with (tmp_path / "errors.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["molecule"] for row in found] == ["methanol", "N,N-x"]
    assert float(found[0]["energy.mae_meV"]) == pytest.approx(1.23456789, rel=1e-5)


def written(tmp_path, *chapters, caveats=()):
    return page.write(
        tmp_path / "report.html", "Study <x>", ["One < two."], caveats, chapters
    ).read_text()


def test_chapters_stand_in_their_order_and_nothing_is_markup(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    text = written(
        tmp_path,
        Chapter("First & foremost", [Section("Look", figure=tmp_path / "a.png", note="a > b")]),
        Chapter(
            "Errors",
            [
                Section(
                    "Ended early", rows=[{"trajectory": "x/1", "reason": "<b>dissociated</b>"}]
                ),
                Section("Empty", rows=[]),
            ],
        ),
        Chapter("Settings", [Section("Settings", code="seed: 1 # <")]),
        caveats=["Beware of <script>"],
    )
    parts = (
        "One &lt; two.",
        "Beware of &lt;script&gt;",
        ">First &amp; foremost</h2>",
        "iVBORw"[:3],
        "a &gt; b",
        "Ended early",
        "seed: 1 # &lt;",
    )
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "&lt;b&gt;dissociated" in text
    assert not list(tmp_path.glob("*.part"))
    assert set(re.findall(r'<a href="#([^"]+)"', text)) == set(
        re.findall(r'<section id="([^"]+)"', text)
    ), "every link has its chapter"


def test_a_page_without_plots_is_small_and_one_with_them_needs_no_network(tmp_path):
    assert len(written(tmp_path, Chapter("A", [Section("x", rows=[{"a": 1.0}])]))) < 10_000
    plots = [
        Section(str(number), plot=go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))) for number in range(2)
    ]
    text = written(tmp_path, Chapter("A", plots))
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="http', text)
    names = re.findall(r'<div id="(plot-[^"]+)"', text)
    assert len(names) == len(set(names)) == 2


def test_a_chapter_without_content_is_left_out(tmp_path):
    assert "Conformers" not in written(tmp_path, Chapter("Conformers"), Chapter("A", text="told"))


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("forces.mae_meV_per_A", "forces MAE (meV/Å)"),
        ("harmonic.rmse_cm1", "harmonic RMSE (cm⁻¹)"),
        ("pcc_ml_ref", "PCC, prediction and reference MD"),
        ("wd_ref_exp_equal", "WD, reference MD and experiment at its resolution"),
        ("pcc_ref_ref", "PCC, the two halves of the reference MD"),
        ("area (km/mol)", "area (km/mol)"),
        ("molecule", "molecule"),
        ("committee.size=2", "committee.size=2"),
        ("studies/a_b", "studies/a_b"),
    ],
)
def test_heads_are_for_readers(key, told):
    assert head(key) == told


def test_intensity_outside_the_window_is_told():
    """Methyl: the umbrella mode, which is its strongest by far, lies below 500 cm⁻¹."""
    modes = np.zeros((3, 4, 3))
    methyl = Harmonic(Atoms("CH3"), np.array([417.0, 1383, 3148]), modes, np.array([98.0, 2, 5]))
    (sentence,) = outside("methyl", methyl, (500.0, 4000.0))
    assert "93% of the harmonic intensity of methyl" in sentence
    assert "near 417 cm⁻¹" in sentence
    assert outside("methyl", methyl, (300.0, 4000.0)) == []
    assert outside("methyl", replace(methyl, intensities=None), (500.0, 4000.0)) == []
