import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from palirs import keys
from palirs.engines import EngineFailure
from palirs.executors import Processes, Serial, SerialExecutor
from palirs.labels import Labeller, LabelStore
from palirs.labels import labeller as labelling
from palirs.labels.pending import PendingResults
from palirs.recipes import PalirsError
from tests.toy import DIE, FAIL, HANG, PairSprings, Toy, frames, lines

ROOT = Path(__file__).parents[2]


@pytest.fixture
def structures():
    PairSprings.calls = 0
    return frames(5)


def labeller(path, engine=None, **options):
    return Labeller(engine or Toy(), LabelStore(path), SerialExecutor(), **options)


def test_labels_are_what_the_engine_says(tmp_path, structures):
    for atoms, label in zip(structures, Toy().calculate(structures), strict=True):
        labelled = labeller(tmp_path / "labels.db").label([atoms], title="")[0]
        assert labelled.info[keys.ENERGY] == pytest.approx(
            label.energy, abs=1e-6
        )  # positions are rounded to 1e-8 Å
        np.testing.assert_allclose(labelled.arrays[keys.FORCES], label.forces, atol=1e-6)
        np.testing.assert_allclose(labelled.info[keys.DIPOLE], label.dipole, atol=1e-6)
        assert labelled.info[keys.MOLECULE] == "methanol"


def test_a_label_is_paid_for_once(tmp_path, structures):
    first = labeller(tmp_path / "labels.db").label(structures, title="")
    assert PairSprings.calls == 5
    other = labeller(tmp_path / "labels.db")
    again = other.label([*structures, structures[0]], title="")
    assert PairSprings.calls == 5
    assert (other.computed, other.found) == (0, 5)
    moved = structures[0].copy()
    moved.positions[0] += 0.01
    other.label([moved, structures[1]], title="")
    other.label([moved], title="")
    assert (other.computed, other.found) == (1, 5), "what it has calculated itself was not found"
    assert len(again) == 6
    np.testing.assert_array_equal(first[2].arrays[keys.FORCES], again[2].arrays[keys.FORCES])
    assert first[2].info[keys.ENERGY] == again[2].info[keys.ENERGY]


def test_duplicates_in_one_call_are_paid_for_once(tmp_path, structures):
    labeller(tmp_path / "labels.db").label([structures[0]] * 4, title="")
    assert PairSprings.calls == 1


def test_another_engine_setting_is_another_label(tmp_path, structures):
    labeller(tmp_path / "labels.db").label(structures, title="")
    labeller(tmp_path / "labels.db", Toy(stiffness=2.0)).label(structures, title="")
    assert PairSprings.calls == 10


def test_a_failure_is_tried_again_so_often_and_then_left_out(tmp_path, structures):
    structures[1].positions[0, 0] = FAIL
    work = labeller(tmp_path / "labels.db", attempts=2)
    assert len(work.label(structures, title="")) == 4
    assert (work.computed, work.failed) == (4, 1)
    assert PairSprings.calls == 4 + 2
    with pytest.raises(EngineFailure, match="SCF not converged"):
        labeller(tmp_path / "labels.db").calculate(structures)
    assert PairSprings.calls == 4 + 2, "in quarantine, also in the next run"
    labeller(tmp_path / "labels.db", attempts=3).label(structures, title="")
    assert PairSprings.calls == 4 + 3, "until attempts is raised"


def test_a_final_failure_is_not_tried_again(tmp_path, structures):
    class Final(PairSprings):
        def calculate(self, *arguments, **options):
            super().calculate(*arguments, **options)
            raise EngineFailure("SCF not converged with any solver", final=True)

    class FinalToy(Toy):
        def calculator(self):
            return Final()

    labeller(tmp_path / "labels.db", FinalToy(), attempts=5).label(structures[:1], title="")
    assert Final.calls == 1


def test_an_engine_that_always_fails_stops_the_study(tmp_path):
    structures = frames(30)
    for number, atoms in enumerate(structures):
        atoms.positions[0, 0] = FAIL
        atoms.positions[0, 1] = number
    PairSprings.calls = 0
    with pytest.raises(
        PalirsError,
        match=(
            "first 10 calculations with Toy all failed, "
            "the last with: RuntimeError: SCF not converged"
        ),
    ):
        labeller(tmp_path / "labels.db", attempts=1).label(structures, title="")
    assert PairSprings.calls == 10
    assert len(LabelStore(tmp_path / "labels.db")) == 10, "with their reasons"


@pytest.mark.slow
def test_what_hangs_or_kills_its_worker_fails_alone(tmp_path, capfd):
    structures = frames(6)
    structures[1].positions[0, 0], structures[3].positions[0, 0] = HANG, DIE
    store = LabelStore(tmp_path / "labels.db")
    with Processes(workers=1, time_limit=5.0).open() as executor:
        work = Labeller(Toy(), store, executor, attempts=1)
        labelled = work.label(structures, title="")
    assert len(labelled) == 4
    assert work.failed == 2
    assert "longer than" in str(store.get(Toy(), structures[1]))
    assert "died" in str(store.get(Toy(), structures[3]))
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_all_executors_give_the_same_store(tmp_path):
    structures = frames(12)
    found = {}
    for recipe in (Serial(), Processes(workers=2)):
        store = LabelStore(tmp_path / f"{type(recipe).__name__}.db")
        with recipe.open() as executor:
            Labeller(Toy(), store, executor).label(structures, title="")
        found[type(recipe).__name__] = [store.get(Toy(), atoms) for atoms in structures]
        assert not store.pending.directory.exists() or not list(
            store.pending.directory.glob("*.jsonl")
        )
    for labels in found.values():
        for mine, serial in zip(labels, found["Serial"], strict=True):
            assert mine.energy == serial.energy
            np.testing.assert_array_equal(mine.forces, serial.forces)


def test_two_studies_share_the_work_on_one_store(tmp_path):
    """Neither computes what the other has, has begun, or has finished."""
    structures = frames(40)
    PairSprings.calls = 0
    results = {}

    def work(name, order):
        results[name] = labeller(tmp_path / "labels.db", Toy(delay=0.01)).label(
            structures[::order], title=""
        )

    threads = [
        threading.Thread(target=work, args=("there", 1)),
        threading.Thread(target=work, args=("back", -1)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert PairSprings.calls == 40
    for mine, theirs in zip(results["there"], results["back"][::-1], strict=True):
        assert mine.info[keys.ENERGY] == theirs.info[keys.ENERGY]


def test_what_a_dead_study_had_claimed_is_taken_over_without_waiting(
    tmp_path, structures, monkeypatch
):
    pending, store = tmp_path / "labels.db.spool", LabelStore(tmp_path / "labels.db")
    key = store.key(Toy(), structures[0])
    child = (
        "import os, pathlib; from palirs.labels.pending import PendingResults\n"
        f"results = PendingResults(pathlib.Path({str(pending)!r})); results.begin()\n"
        f"results.claim({key!r}); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", child], check=False, cwd=ROOT)
    assert list(pending.glob("*.claim")), "the dead study left its claim"
    monkeypatch.setattr(labelling._Round, "_look_elsewhere", lambda self: pytest.fail("it waits"))
    assert len(Labeller(Toy(), store, SerialExecutor()).label(structures, title="")) == 5


def test_a_claim_of_a_living_process_holds(tmp_path):
    first, second = (PendingResults(tmp_path / "labels.db.spool") for _ in range(2))
    assert first.claim("a")
    assert not second.claim("a")
    assert first.claim("a"), "it holds it already"
    first.release("a")
    assert second.claim("a")


@pytest.mark.slow
def test_a_label_is_kept_from_the_moment_it_is_there(tmp_path):
    """A process that dies within the tenth of a second before the next transaction."""
    code = (
        "import os; from tests.toy import Toy, frames; "
        "from palirs.labels import Labeller, LabelStore\n"
        "from palirs.executors import SerialExecutor\n"
        "class Dying(Toy):\n"
        "    def run(self, calculator, atoms):\n"
        f"        if open({str(tmp_path / 'count')!r}, 'a').tell() == 3: os._exit(9)\n"
        f"        open({str(tmp_path / 'count')!r}, 'a').write('.')\n"
        "        return super().run(calculator, atoms)\n"
        "Dying.__name__ = 'Toy'\n"
        f"store = LabelStore({str(tmp_path / 'labels.db')!r})\n"
        "Labeller(Dying(), store, SerialExecutor()).label(frames(5), title='')\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 9
    store = LabelStore(tmp_path / "labels.db")
    assert len(store) == 3
    assert not store.pending.directory.exists()


def test_an_interrupt_keeps_what_has_arrived(tmp_path, structures):
    class Interrupted(Toy):
        def run(self, calculator, atoms):
            if PairSprings.calls == 3:
                raise KeyboardInterrupt
            return super().run(calculator, atoms)

    Interrupted.__name__ = "Toy"
    with pytest.raises(KeyboardInterrupt):
        labeller(tmp_path / "labels.db", Interrupted()).label(structures, title="")
    assert len(LabelStore(tmp_path / "labels.db")) == 3


@pytest.mark.slow
def test_programs_end_with_the_worker_that_started_them(tmp_path):
    """A time limit that kills the worker must not leave aims or orca running."""
    with Processes(workers=1, time_limit=5.0).open() as executor, pytest.raises(TimeoutError):
        executor.submit(start_program, str(tmp_path / "pid")).result()
    status = Path(f"/proc/{(tmp_path / 'pid').read_text()}/status")
    while status.exists() and "Z (zombie)" not in status.read_text():
        time.sleep(0.1)  # for ever, if it is not killed


def start_program(path):
    program = subprocess.Popen(["sleep", "100"])
    Path(path).write_text(str(program.pid))
    program.wait()


def test_the_log_of_the_toy_is_read_right(tmp_path):
    Toy(log=str(tmp_path / "log")).calculate(frames(2))
    assert len(lines(tmp_path / "log", "begin")) == len(lines(tmp_path / "log", "end")) == 2
