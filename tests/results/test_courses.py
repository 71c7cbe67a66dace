"""Several studies in one figure."""

import json

import numpy as np
import pytest

from palirs.recipes import PalirsError
from palirs.report.course_figures import ERRORS, labels_against_errors
from palirs.results.courses import Course, find_studies, read_courses, table
from palirs.results.tables import write_table
from palirs.tasks.evaluation import _described

GOALS = dict(zip(ERRORS, (5.0, 10.0), strict=True))


def course(way, seed, labels, harmonic, forces, molecule="methanol"):
    columns = zip(labels, harmonic, forces, strict=True)
    rows = [
        {"labels.used": float(n), "harmonic.mae_cm1": h, "forces.mae_meV_per_A": f}
        for n, h, f in columns
    ]
    return Course(way, molecule, str(seed), rows)


def test_labels_until_both_goals_are_met_at_once():
    assert (
        course("a", 1, [50, 80, 110], [4.0, 6.0, 3.0], [20.0, 9.0, 8.0]).labels_until(GOALS) == 110
    )
    assert course("a", 1, [50, 80], [4.0, 4.0], [20.0, 11.0]).labels_until(GOALS) == np.inf
    assert course("a", 1, [50, 80], [np.nan, 4.0], [1.0, 1.0]).labels_until(GOALS) == 80, (
        "no molecule had an optimum at first"
    )


def test_the_table_says_which_seed_did_not_get_there_and_then_gives_no_mean():
    good = course("a", 1, [50, 80], [9.0, 4.0], [9.0, 8.0])
    bad = course("a", 2, [50, 90], [9.0, 6.0], [9.0, 8.0])
    other = course("b", 1, [40], [1.0], [2.0], "ethanol")
    first, second = table([good, bad, other], GOALS)
    assert (first["labels"], first["mean"]) == ("80, > 90", "")
    assert (second["molecule"], second["labels"], second["mean"]) == ("ethanol", "40", 40.0)
    assert first["last harmonic.mae_cm1"] == pytest.approx(5.0)


def test_studies_are_read_by_pattern(tmp_path):
    for seed in (1, 2):
        place = tmp_path / f"mine=[x],seed={seed}"
        (place / "test_set").mkdir(parents=True)
        (place / "config.yaml").write_text("")
        (place / "identity.json").write_text(
            json.dumps({"molecule methanol": "CH4O", "molecule own": "H2O", "seed": seed})
        )
        write_table(
            place / "test_set" / "errors.csv", course("a", seed, [50], [4.0], [9.0 + seed]).rows
        )
    found = read_courses(find_studies({"ours": f"{tmp_path}/mine*"}), _described)
    assert [(one.way, one.molecule, one.seed) for one in found] == [
        ("ours", "methanol, own", "1"),
        ("ours", "methanol, own", "2"),
    ]
    np.testing.assert_array_equal(found[1].values("forces.mae_meV_per_A"), [11.0])
    with pytest.raises(PalirsError, match="no study directory of this name"):
        find_studies({"ours": f"{tmp_path}/theirs*"})
    (tmp_path / "mine=[x],seed=2" / "test_set" / "errors.csv").unlink()
    with pytest.raises(PalirsError, match="task=test_set"):
        read_courses(find_studies({"ours": f"{tmp_path}/mine*"}), _described)


def test_a_study_whose_name_has_brackets_is_found_by_its_name(tmp_path):
    place = tmp_path / "molecules.names=[methanol]"
    place.mkdir()
    (place / "config.yaml").touch()
    assert find_studies({"ours": str(place)}) == {"ours": [place]}


def test_the_figure_has_a_column_for_each_molecule_and_a_line_for_each_study():
    courses = [
        course("a", 1, [50, 80], [9.0, 4.0], [9.0, 8.0]),
        course("b", 1, [40, 60], [1.0, 1.0], [2.0, 2.0], "acetic_acid"),
    ]
    drawn = labels_against_errors(courses, GOALS)
    titles = [axis.get_title() for axis in drawn.axes[:2]]
    assert titles == ["methanol", "acetic acid"]
    assert all(len(axis.lines) == 2 for axis in drawn.axes), "a study and the goal"
    assert "Labels" in drawn.axes[-1].get_xlabel()
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["a", "b", "goal"]
