"""What programs did to a study is written down, whatever becomes of them."""

import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import psutil
import pytest

from palirs.journal import Journal, _memory


def test_seconds_and_counts_of_all_programs_add_up_and_memory_is_the_largest(tmp_path, monkeypatch):
    paid = []
    clock = iter((10.0, 12.5, 100.0, 101.0)).__next__
    monkeypatch.setattr(
        "palirs.journal.time", SimpleNamespace(perf_counter=clock, strftime=time.strftime)
    )
    for labels in (3, 4):
        journal = Journal(tmp_path)
        journal.program("study")
        with journal.stage("labels", labels=paid.__len__) as done:
            paid += range(labels)
    assert done["seconds"] == 1.0, "the program gets them too"
    (stages,) = [journal.stages()]
    assert list(stages) == ["labels"]
    assert stages["labels"]["labels"] == 7
    assert stages["labels"]["seconds"] == 3.5
    assert [entry["task"] for entry in journal.programs()] == ["study", "study"]


def test_memory_is_that_at_the_worst_moment(tmp_path, monkeypatch):
    used, seen = [50.0], threading.Event()

    def measured():
        memory = used[0]
        if memory > 100:
            seen.set()
        return memory

    monkeypatch.setattr("palirs.journal._memory", measured)
    monkeypatch.setattr("palirs.journal.LOOK", 0.01)
    journal = Journal(tmp_path)
    with journal.stage("idle"):
        pass
    with journal.stage("large"):
        used[0] = 178.0
        seen.wait()
        used[0] = 60.0
    assert [journal.stages()[name]["memory_MiB"] for name in ("idle", "large")] == [50, 178]


def test_memory_is_that_of_the_program_and_its_workers(monkeypatch):
    """What processes share counts once, one that ends meanwhile counts nothing."""

    own = SimpleNamespace(pss=2**21, uss=2**20)

    class Process:
        def __init__(self, memory=own):
            self.memory = memory

        def children(self, recursive):
            return [Process(SimpleNamespace(uss=5 * 2**20)), Process(None)]

        def memory_full_info(self):
            if self.memory is None:
                raise psutil.NoSuchProcess(1)
            return self.memory

    monkeypatch.setattr("palirs.journal.psutil.Process", Process)
    assert _memory() == 2 + 5


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
