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
from palirs.labels import Labeller, LabelStore, on_grid, store, structure_key
from palirs.labels.store import Record
from palirs.recipes import PalirsError
from tests.toy import Toy, frames

ROOT = Path(__file__).parents[2]


def label(energy=1.0, atoms=6, dipole=True):
    return Properties(energy, np.full((atoms, 3), 0.5), np.ones(3) if dipole else None)


def test_a_structure_that_went_through_a_file_is_the_same(tmp_path):
    original = [on_grid(atoms) for atoms in frames(5)]
    ase.io.write(tmp_path / "frames.xyz", original, format="extxyz")
    assert [structure_key(atoms) for atoms in ase.io.read(tmp_path / "frames.xyz", index=":")] == [structure_key(a) for a in original]


@pytest.mark.parametrize("result", [label(), label(dipole=False), EngineFailure("no convergence", final=True), EngineFailure("")])
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
    """Four stores on one file, all writing the same forty labels, each its own order, the file made by whoever comes first."""
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
        (lambda path: connect(path, use_lock_file=False).write(frames(1)[0]), "none of them a label of palirs.*task=import"),
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


def test_a_full_disk_is_waited_out(tmp_path, monkeypatch, caplog):
    """SQLite itself says that the disk is full; a moment later there is room."""
    kept = LabelStore(tmp_path / "labels.db")
    kept.put(Toy(), frames(1)[0], label())
    pages = [sqlite3.connect(kept.path).execute("PRAGMA page_count").fetchone()[0], 2**30]
    plain = kept._database._connect

    def narrow(*arguments):
        connection = plain(*arguments)
        connection.execute(f"PRAGMA max_page_count={pages[0]}")
        return connection

    monkeypatch.setattr(kept._database, "_connect", narrow)
    monkeypatch.setattr(store.time, "sleep", lambda seconds: pages.pop(0))
    many = [Record(f"x-{n}", atoms, {}, label()) for n, atoms in enumerate(frames(40))]
    kept.take_in(many)
    assert "full" in caplog.text
    assert "40 finished labels wait in memory: free space" in caplog.text
    assert len(LabelStore(kept.path)) == 41


def test_a_disk_that_stays_full_is_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    kept = LabelStore(tmp_path / "labels.db")
    monkeypatch.setattr(store, "PATIENCE", 0.0)
    monkeypatch.setattr(kept, "_write", lambda records: (_ for _ in ()).throw(sqlite3.OperationalError("database or disk is full")))
    with pytest.raises(PalirsError, match=r"full; 1 finished labels wait in .*spool.*Free space"):
        kept.take_in([Record("x-1", frames(1)[0], {}, label())])


def test_a_read_only_store_is_refused_before_anything_is_calculated(tmp_path):
    """As another user if this one may write everywhere."""
    LabelStore(tmp_path / "labels.db").put(Toy(), frames(1)[0], label())
    os.chmod(tmp_path / "labels.db", 0o444)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        os.chmod(folder, 0o555 if folder == tmp_path else 0o755)
    code = (
        "import os; from tests.toy import Toy, frames; from palirs.labels import Labeller, LabelStore\n"
        "from palirs.executors import SerialExecutor\n"
        "import tests.toy; from palirs.recipes import PalirsError\n"
        f"s = LabelStore({str(tmp_path / 'labels.db')!r}); os.getuid() == 0 and os.setuid(65534)\n"
        "assert s.get(Toy(), frames(1)[0]).energy == 1.0, 'reading works'\n"
        "try:\n    Labeller(Toy(), s, SerialExecutor()).label(frames(3), title='')\n"
        "except PalirsError as error:\n    print(error, tests.toy.PairSprings.calls)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    os.chmod(tmp_path, 0o755)
    if "Permission denied" in done.stderr and "readonly" not in done.stdout:
        pytest.skip("another user cannot even read this checkout")
    assert "cannot be written" in done.stdout, done.stderr
    assert "check the permissions" in done.stdout
    assert done.stdout.strip().endswith(" 0")
