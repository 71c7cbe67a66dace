"""Several studies beside each other, read from their directories."""

import json
import re

import numpy as np
import pytest

from palirs.learning.quality.convergence import EXPECTED
from palirs.pages import comparison
from palirs.spectra import Spectrum
from palirs.spectra.files import write_csv


def a_study(place, harmonic, expected, settings, shift=0.0, made="hann over 1000 fs"):
    """A directory such as a study leaves: two iterations, and the exploration after the last."""
    for number in range(2):
        (place / "iterations" / f"{number:03d}").mkdir(parents=True)
        metrics = {
            "harmonic.mae_cm1": harmonic + 1 - number,
            "forces.mae_meV_per_A": 9.0,
            "labels.used": 50.0 + 10 * number,
            EXPECTED: 77.0,
        }
        (place / "iterations" / f"{number:03d}" / "metrics.json").write_text(
            json.dumps({"metrics": metrics})
        )
        (place / "iterations" / f"{number:03d}" / "sampling.json").write_text(
            json.dumps({"expected_meV_per_A": {}})
        )
    if expected is not None:
        (place / "iterations" / "002.partial").mkdir()
        (place / "iterations" / "002.partial" / "sampling.json").write_text(
            json.dumps({"expected_meV_per_A": {"a": expected, "b": expected}})
        )
    (place / "config.yaml").write_text(settings)
    wavenumber = np.arange(500.0, 4000.0, 2.0)
    for kind in ("predicted", "reference"):
        moved = shift if kind == "predicted" else 0.0
        intensity = np.exp(-(((wavenumber - 1000 - moved) / 30) ** 2))
        write_csv(
            place / "spectra" / f"methanol-300K-{kind}.csv",
            Spectrum(wavenumber, intensity, label=kind, unit="km/mol per cm⁻¹", made=made),
        )
    return place


def test_what_a_study_came_to_is_that_of_its_last_committee(tmp_path):
    place = a_study(tmp_path / "a", 3.0, 6.0, "seed: 1")
    assert comparison.outcome(place) == {
        "harmonic.mae_cm1": 3.0,
        "forces.mae_meV_per_A": 9.0,
        EXPECTED: 6.0,
        "labels.used": 60.0,
    }
    assert EXPECTED not in comparison.outcome(a_study(tmp_path / "b", 3.0, None, "seed: 1")), (
        "no exploration came after its last committee"
    )
    comparison.write_summary(place, {"pcc_ml_ref": 0.9, "band_error": float("nan")})
    assert comparison.outcome(place)["pcc_ml_ref"] == 0.9
    assert "band_error" not in comparison.outcome(place)


def test_the_page_has_spectra_over_one_another_and_only_the_settings_that_differ(tmp_path):
    places = {
        "one": a_study(
            tmp_path / "one", 3.0, 6.0, "seed: 1\nmodel: {channels: 8, cutoff: 5.0}\nstudy: a"
        ),
        "two": a_study(
            tmp_path / "two",
            2.0,
            5.0,
            "seed: 1\nmodel: {channels: 16, cutoff: 5.0}\nstudy: b",
            shift=500.0,
        ),
    }
    files = comparison.write(places, tmp_path / "out", "comparison", "Beside", ["Two."])
    assert [file.name for file in files] == ["comparison.html", "comparison.csv", "comparison.png"]
    text = files[0].read_text()
    table = text[text.index('id="settings-that-differ"') :]
    assert "model.channels" in table
    assert "cutoff" not in table and ">study<" not in table
    rows = {
        cells[0]: cells[1:]
        for row in re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
        if (cells := re.findall(r"<td[^>]*>([^<]*)", row))
    }
    pcc = text[text.index("PCC with one") :]
    assert re.search(r"two</td><td[^>]*>-?0\.\d+</td>", pcc), "a band elsewhere is not alike"
    assert "one" in rows and "two" in rows
    assert "different ways" not in text


def test_spectra_made_in_different_ways_are_told(tmp_path):
    places = {
        "one": a_study(tmp_path / "one", 3.0, 6.0, "seed: 1"),
        "two": a_study(tmp_path / "two", 2.0, 5.0, "seed: 2", made="hann over 200 fs"),
    }
    assert (
        "different ways"
        in comparison.write(places, tmp_path / "out", "comparison", "Beside", [])[0].read_text()
    )


def test_a_study_without_a_spectrum_or_settings_is_no_error(tmp_path):
    place = a_study(tmp_path / "one", 3.0, 6.0, "seed: 1")
    for file in (*(place / "spectra").iterdir(), place / "config.yaml"):
        file.unlink()
    assert comparison.write({"one": place}, tmp_path / "out", "sweep", "Sweep", [])[0].exists()


@pytest.mark.parametrize("seconds", [[], [3.0, 4.0]])
def test_time_is_that_of_the_stages_without_the_drawing(tmp_path, seconds):
    place = a_study(tmp_path / "a", 3.0, 6.0, "seed: 1")
    entries = [{"kind": "stage", "stage": "dipole", "seconds": one} for one in seconds] + [
        {"kind": "stage", "stage": "report", "seconds": 99.0}
    ]
    (place / "journal.jsonl").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    assert comparison.outcome(place).get("seconds", 0.0) == sum(seconds)
