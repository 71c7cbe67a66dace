import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.db import connect

from palirs.engines import EngineFailure, Properties, TBLite
from palirs.executors import SerialExecutor
from palirs.labels import Labeller, LabelStore, retry, structure_key
from palirs.labels.pending import append
from palirs.labels.record import Record
from palirs.molecules import on_grid
from palirs.recipes import PalirsError
from tests.toy import Toy, frames

ROOT = Path(__file__).parents[2]


def label(energy=1.0, atoms=6, dipole=True):
    return Properties(energy, np.full((atoms, 3), 0.5), np.ones(3) if dipole else None)


def test_a_structure_that_went_through_a_file_is_the_same(tmp_path):
    original = [on_grid(atoms) for atoms in frames(5)]
    ase.io.write(tmp_path / "frames.xyz", original, format="extxyz")
    assert [structure_key(atoms) for atoms in ase.io.read(tmp_path / "frames.xyz", index=":")] == [
        structure_key(a) for a in original
    ]


@pytest.mark.parametrize(
    "result",
    [label(), label(dipole=False), EngineFailure("no convergence", final=True), EngineFailure("")],
)
def test_what_is_put_is_got(tmp_path, result):
    atoms = frames(1)[0]
    LabelStore(tmp_path / "labels.db").put(Toy(), atoms, result)
    found = LabelStore(tmp_path / "labels.db").get(Toy(), atoms)
    if isinstance(result, EngineFailure):
        assert isinstance(found, EngineFailure)
        assert (str(found), found.final) == (str(result) or "unknown reason", result.final)
    else:
        assert found.energy == result.energy
        np.testing.assert_array_equal(found.forces, result.forces)
        assert (found.dipole is None) == (result.dipole is None)
    line = Record("k", atoms, {}, result, 3).line()
    assert Record.read(line).line() == line


def test_a_label_replaces_a_failure_and_nothing_replaces_a_label(tmp_path):
    atoms, kept = frames(1)[0], LabelStore(tmp_path / "labels.db")
    kept.put(Toy(), atoms, EngineFailure("node lost"))
    kept.put(Toy(), atoms, label(1.0))
    kept.put(Toy(), atoms, label(2.0))
    kept.put(Toy(), atoms, EngineFailure("late"))
    assert LabelStore(tmp_path / "labels.db").get(Toy(), atoms).energy == 1.0
    assert connect(tmp_path / "labels.db").count() == 1


def test_the_store_is_an_ase_database(tmp_path):
    work = Labeller(TBLite(), LabelStore(tmp_path / "labels.db"), SerialExecutor())
    labelled = work.label(frames(1), title="")
    row = connect(tmp_path / "labels.db").get(molecule="methanol")
    assert row.energy == labelled[0].info["REF_energy"]
    np.testing.assert_array_equal(row.dipole, labelled[0].info["REF_dipole"])
    np.testing.assert_array_equal(row.toatoms().get_forces(), labelled[0].arrays["REF_forces"])
    assert row.data["settings"]["method"] == "GFN2-xTB"


def test_a_lock_left_by_a_killed_process_stops_nobody(tmp_path):
    (tmp_path / "labels.db.lock").touch()
    LabelStore(tmp_path / "labels.db").put(Toy(), frames(1)[0], label())


def test_many_writers_lose_nothing(tmp_path):
    """Four stores on one file, all writing the same forty labels, each in its own order.

    The file is made by whoever comes first.
    """
    structures = frames(40)

    def write(order):
        mine = LabelStore(tmp_path / "labels.db")
        for atoms in structures[::order]:
            mine.put(Toy(), atoms, label())

    errors = []
    threading.excepthook, before = lambda info: errors.append(info.exc_value), threading.excepthook
    threads = [threading.Thread(target=write, args=(order,)) for order in (1, -1, 1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    threading.excepthook = before
    assert not errors
    assert connect(tmp_path / "labels.db").count() == 40
    assert len(LabelStore(tmp_path / "labels.db")) == 40


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_text("this is not a database"), "not a readable ASE database"),
        (lambda path: sqlite3.connect(path).execute("CREATE TABLE mine (x)"), "not one of ASE"),
        (
            lambda path: connect(path, use_lock_file=False).write(frames(1)[0]),
            "none of them a label of palirs.*task=import",
        ),
    ],
    ids=["text", "sqlite", "ase"],
)
def test_a_foreign_file_is_refused_and_left_alone(tmp_path, make, says):
    path = tmp_path / "labels.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(PalirsError, match=says):
        LabelStore(path)
    assert path.read_bytes() == before


def narrow(kept, monkeypatch, size):
    """Let SQLite find the disk full beyond so many pages."""
    plain = kept._database._connect

    def connect_narrow(*arguments):
        connection = plain(*arguments)
        connection.execute(f"PRAGMA max_page_count={size()}")
        return connection

    monkeypatch.setattr(kept._database, "_connect", connect_narrow)


def test_a_full_disk_is_waited_out(tmp_path, monkeypatch, caplog):
    """SQLite itself says that the disk is full; a moment later there is room."""
    kept = LabelStore(tmp_path / "labels.db")
    kept.put(Toy(), frames(1)[0], label())
    pages = [sqlite3.connect(kept.path).execute("PRAGMA page_count").fetchone()[0], 2**30]
    narrow(kept, monkeypatch, lambda: pages[0])
    monkeypatch.setattr(retry.time, "sleep", lambda seconds: pages.pop(0))
    kept.write([Record(f"x-{n}", atoms, {}, label()) for n, atoms in enumerate(frames(40))])
    assert "40 finished labels wait" in caplog.text
    assert "full. Free space; the study goes on by itself" in caplog.text
    assert len(LabelStore(kept.path)) == 41


def test_a_commit_that_fails_is_tried_again(tmp_path, monkeypatch):
    """The limit strikes when the pages are written out.

    ASE would keep its connection and refuse the next one.
    """
    kept = LabelStore(tmp_path / "labels.db")
    plain, fails = kept._database._connect, [2]

    class Failing(sqlite3.Connection):
        def commit(self):
            if fails[0]:
                fails[0] -= 1
                raise sqlite3.OperationalError("database or disk is full")
            super().commit()

    monkeypatch.setattr(
        kept._database, "_connect", lambda *a: sqlite3.connect(kept.path, factory=Failing)
    )
    monkeypatch.setattr(retry.time, "sleep", lambda seconds: None)
    kept.write([Record("x-1", frames(1)[0], {}, label())])
    monkeypatch.setattr(kept._database, "_connect", plain)
    assert fails == [0]
    assert len(LabelStore(kept.path)) == 1


@pytest.mark.slow
def test_what_a_disk_that_stays_full_keeps_out_is_taken_in_later(tmp_path):
    """In a process of its own, with a database that cannot grow.

    It ends with what to do, and the next one loses nothing.
    """
    code = (
        "import sys; from palirs.labels import Labeller, LabelStore, retry; "
        "from palirs.executors import SerialExecutor\n"
        "from palirs.recipes import PalirsError; from tests.toy import PairSprings, Toy, frames\n"
        f"store = LabelStore({str(tmp_path / 'labels.db')!r}); retry.TIMEOUT = 0.0\n"
        "plain = store._database._connect\n"
        "def narrow(*a):\n    c = plain(*a); c.execute('PRAGMA max_page_count=1'); return c\n"
        "store._database._connect = narrow\n"
        "try:\n    Labeller(Toy(delay=0.01), store, SerialExecutor()).label(frames(90), title='')\n"
        "except PalirsError as error:\n    print(PairSprings.calls); sys.exit(str(error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "full. Free space" in done.stderr
    assert "run again" in done.stderr
    assert 1 < int(done.stdout) < 90
    assert len(LabelStore(tmp_path / "labels.db")) == int(done.stdout), "all that were finished"
    assert not (tmp_path / "labels.db.spool").exists()


def test_half_a_pending_line_costs_one_label_and_not_the_store(tmp_path, caplog):
    spool = tmp_path / "labels.db.spool"
    spool.mkdir()
    good = [Record(f"x-{n}", frames(1)[0], {}, label()) for n in (1, 2)]
    append(str(spool / "dead"), good[0])
    file = next(spool.glob("*.jsonl"))
    file.write_text(file.read_text() + "\n" + good[1].line()[:100])
    append(str(spool / "dead"), good[1])
    assert len(LabelStore(tmp_path / "labels.db")) == 2
    assert "only half written" in caplog.text
    assert not spool.exists()


@pytest.mark.slow
def test_a_writer_killed_in_its_commit_does_not_make_the_store_foreign(tmp_path):
    """SQLite's journal is there and has to be rolled back by whoever opens the database next."""
    LabelStore(tmp_path / "labels.db").put(Toy(), frames(1)[0], label())
    code = (
        "import os, sqlite3; "
        f"c = sqlite3.connect({str(tmp_path / 'labels.db')!r}, isolation_level=None)\n"
        "c.execute('PRAGMA cache_size=1'); c.execute('PRAGMA cache_spill=1'); "
        "c.execute('BEGIN EXCLUSIVE')\n"
        "for n in range(2000): c.execute('INSERT INTO text_key_values "
        "VALUES (?, ?, 1)', (f'k{n}', 'x' * 200))\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert (tmp_path / "labels.db-journal").stat().st_size > 1000
    assert len(LabelStore(tmp_path / "labels.db")) == 1


def test_an_old_failure_does_not_undo_quarantine(tmp_path):
    kept, atoms = LabelStore(tmp_path / "labels.db"), frames(1)[0]
    kept.write([Record("x-1", atoms, {}, EngineFailure("second"), 2)])
    kept.write([Record("x-1", atoms, {}, EngineFailure("first"), 1)])
    for again in (kept, LabelStore(kept.path)):
        assert again.attempts("x-1") == 2
        assert again.is_done("x-1", 2)


def test_a_read_only_store_is_refused_before_anything_is_calculated(tmp_path):
    """As another user if this one may write everywhere."""
    LabelStore(tmp_path / "labels.db").put(Toy(), frames(1)[0], label())
    os.chmod(tmp_path / "labels.db", 0o444)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        os.chmod(folder, 0o555 if folder == tmp_path else 0o755)
    code = (
        "import os; from tests.toy import Toy, frames; "
        "from palirs.labels import Labeller, LabelStore\n"
        "from palirs.executors import SerialExecutor\n"
        "import tests.toy; from palirs.recipes import PalirsError\n"
        f"s = LabelStore({str(tmp_path / 'labels.db')!r}); os.getuid() == 0 and os.setuid(65534)\n"
        "assert s.get(Toy(), frames(1)[0]).energy == 1.0, 'reading works'\n"
        "try:\n    Labeller(Toy(), s, SerialExecutor()).label(frames(3), title='')\n"
        "except PalirsError as error:\n    print(error, tests.toy.PairSprings.calls)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    os.chmod(tmp_path, 0o755)
    if "Permission denied" in done.stderr and "readonly" not in done.stdout:
        pytest.skip("another user cannot even read this checkout")
    assert "cannot be written" in done.stdout, done.stderr
    assert "check the permissions" in done.stdout
    assert done.stdout.strip().endswith(" 0")
