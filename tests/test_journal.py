"""What programs did to a study is written down, whatever becomes of them."""

import time
from contextlib import suppress

import numpy as np
import pytest

from palirs.journal import Journal


def test_seconds_and_counts_of_all_programs_add_up_and_memory_is_the_largest(tmp_path):
    paid = []
    for labels in (3, 4):
        journal = Journal(tmp_path)
        journal.program("study")
        with journal.stage("labels", labels=paid.__len__) as done:
            time.sleep(0.05)
            paid += range(labels)
    assert done["seconds"] >= 0.05, "told to the program too"
    (stages,) = [journal.stages()]
    assert list(stages) == ["labels"]
    assert stages["labels"]["labels"] == 7
    assert 0.1 <= stages["labels"]["seconds"] < 2
    assert [entry["task"] for entry in journal.programs()] == ["study", "study"]


def test_memory_is_that_at_the_worst_moment(tmp_path, monkeypatch):
    monkeypatch.setattr("palirs.journal.LOOK", 0.05)
    journal = Journal(tmp_path)
    with journal.stage("idle"):
        pass
    with journal.stage("large"):
        held = np.ones(2**24)  # 128 MiB
        time.sleep(0.4)
        del held
    stages = journal.stages()
    assert 120 < stages["large"]["memory_MiB"] - stages["idle"]["memory_MiB"] < 200


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_stage_that_fails_or_is_interrupted_is_written_down(tmp_path, error):
    journal = Journal(tmp_path)
    paid = [1, 2, 3]
    with suppress(error), journal.stage("training", labels=paid.__len__):
        paid.append(4)
        raise error
    (entry,) = journal.read()
    assert (entry["stage"], entry["complete"], entry["labels"]) == ("training", False, 1), (
        "what was paid for until then counts"
    )


def test_a_line_that_a_program_died_over_is_left_out_and_the_next_one_begins_anew(tmp_path):
    journal = Journal(tmp_path)
    journal.program("study")
    with journal.file.open("a") as file:
        file.write('{"kind": "stage", "sta')
    with journal.stage("dipole"):
        pass
    assert [entry["kind"] for entry in journal.read()] == ["program", "stage"]


def test_a_program_that_only_reads_writes_nothing(tmp_path):
    journal = Journal(tmp_path, writes=False)
    journal.program("analyse")
    with journal.stage("report"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_stage_announces_itself_and_ends_with_its_time(tmp_path, caplog):
    caplog.set_level("INFO")
    with Journal(tmp_path).stage("reference_md"):
        assert caplog.messages == ["reference md: begins"]
    with suppress(ValueError), Journal(tmp_path).stage("report"):
        raise ValueError
    assert [message.rpartition(" ")[0].rpartition(" ")[0] for message in caplog.messages[1::2]] == [
        "reference md: done after",
        "report: ended early after",
    ]
    assert all(message.endswith(" s") for message in caplog.messages[1::2])
