"""Production MD: what is on the disk after a kill, and what a trajectory depends on."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from pyscf import lib as pyscf_lib

from palirs import keys
from palirs.engines import EngineFailure, PySCF, TBLite
from palirs.mace.models.dipole import DipoleShape
from palirs.mace.models.files import save
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Architecture
from palirs.molecules import Molecules
from palirs.production import check_enough
from palirs.production import simulation as production
from palirs.production.batch import Batch
from palirs.production.simulation import Simulation, _share
from palirs.production.trajectories import Recording
from palirs.recipes import PalirsError
from palirs.settings import MD, Spectroscopy
from palirs.units import BOLTZMANN
from palirs.vibrations import harmonic, minimum
from tests.toy import Toy

ELEMENTS = (1, 6, 7, 8)
SETTINGS = Spectroscopy(
    production=MD(replicas=2, thermalisation=0.05, length=0.4),
    reference=None,
    dipole_interval=1.0,
    geometry_interval=50.0,
    max_lag=100.0,
)


class Here(Executor):
    """Calls at once; as many shares as it says it has workers."""

    def __init__(self, workers: int = 1):
        self.workers = workers

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """An untrained committee, too weak to tear molecules apart, and an untrained dipole model."""
    place = tmp_path_factory.mktemp("models")
    architecture = Architecture(
        channels=8, max_ell=2, correlation=2, radial_mlp=(16,), cutoff=4.0, dtype="float32"
    )
    shape = PotentialShape(
        architecture=architecture,
        elements=ELEMENTS,
        atomic_energies=(-13.0, -1030.0, -1485.0, -2042.0),
        scale=0.0005,
        mean_neighbours=4.0,
    )
    for member in range(2):
        torch.manual_seed(member)
        save(place / f"potential-{member}.safetensors", shape, shape.build())
    dipole = DipoleShape(
        architecture=architecture, elements=ELEMENTS, scale=0.4, mean_neighbours=4.0
    )
    save(place / "dipole.safetensors", dipole, dipole.build())
    return place, (place / "dipole.safetensors",)


@pytest.fixture(scope="module")
def molecules():
    return Molecules(names=("methanol", "formamide")).load()


@pytest.fixture(scope="module")
def vibrating(molecules):
    """The molecules with their normal modes, whose rates are then recorded."""
    return [harmonic(atoms, TBLite()) for atoms in molecules]


def simulation(source, directory, settings=SETTINGS, temperature=0.1, seed=3):
    return Simulation(
        source=source,
        model="test",
        md=settings.production,
        settings=settings,
        temperature=temperature,
        seed=seed,
        directory=directory,
    )


@pytest.fixture(scope="module")
def sprung(molecules):
    """The molecules in the optima of springs between their atoms, with their normal modes."""
    return [minimum(atoms, Toy(stiffness=20.0)) for atoms in molecules]


def run(source, molecules, directory, settings=SETTINGS, workers=1, temperature=0.1, seed=3):
    md = simulation(source, directory, settings, temperature, seed)
    return md.simulate(molecules, Here(workers))


@pytest.fixture(scope="module")
def undisturbed(source, molecules, tmp_path_factory):
    return run(source, molecules, tmp_path_factory.mktemp("undisturbed"))


def same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.dipoles, b.dipoles)
        np.testing.assert_array_equal(a.temperature, b.temperature)
        np.testing.assert_array_equal(a.drift, b.drift)
        np.testing.assert_array_equal(a.spread, b.spread)
        np.testing.assert_array_equal(a.rates, b.rates)


@contextmanager
def stopped_at(stop, monkeypatch):
    """The driver is stopped when the trajectories come to this step."""
    advance = Batch.advance

    def until(batch, steps):
        if batch.step == stop:
            raise KeyboardInterrupt
        advance(batch, min(steps, stop - batch.step) if stop > batch.step else steps)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(Batch, "advance", until)
        yield


def test_dipoles_of_every_interval_are_there(undisturbed):
    for found in undisturbed:
        assert found.dipoles.shape == (2, 400, 3)
        assert np.isfinite(found.dipoles).all()
        assert (np.abs(np.diff(found.dipoles, axis=1)).max(axis=(1, 2)) > 0).all()
        assert not np.array_equal(found.dipoles[0], found.dipoles[1])


@pytest.mark.parametrize("thermostat", ["langevin", "nose_hoover"])
def test_what_was_cut_off_anywhere_goes_on_to_the_last_bit(
    source, vibrating, tmp_path, monkeypatch, thermostat
):
    """Stop the driver in the middle several times, and compare files byte for byte.

    Checkpoints are made at every chance.
    """
    settings = replace(SETTINGS, thermostat=thermostat)
    run(source, vibrating, tmp_path / "whole", settings)
    monkeypatch.setattr(production, "CHECKPOINT_SECONDS", 0.0)
    for stop in (70, 400, 777):
        with stopped_at(stop, monkeypatch):
            run(source, vibrating, tmp_path / "cut", settings)
    same(
        run(source, vibrating, tmp_path / "whole", settings),
        run(source, vibrating, tmp_path / "cut", settings),
    )
    assert len(list((tmp_path / "whole").rglob("*.modes"))) == 4
    for file in (tmp_path / "whole").rglob("*.*"):
        if file.is_dir():
            continue
        other = tmp_path / "cut" / file.relative_to(tmp_path / "whole")
        if file.suffix == ".npz":
            with np.load(file) as a, np.load(other) as b:
                assert sorted(a.files) == sorted(b.files)
                for name in a.files:
                    np.testing.assert_array_equal(a[name], b[name], err_msg=name)
        else:
            assert file.read_bytes() == other.read_bytes()


def test_rates_of_the_modes_are_those_of_the_recorded_trajectory(sprung, tmp_path):
    """Half their squares is the kinetic energy in the modes: k_B T/2 in each."""
    warm = replace(SETTINGS, production=MD(replicas=4, thermalisation=0.3, length=0.5))
    for found, known in zip(
        run(Toy(stiffness=20.0), sprung, tmp_path, warm, temperature=300.0), sprung, strict=True
    ):
        assert found.rates.shape == (4, 500, len(known.frequencies))
        assert 0.5 * (found.rates**2).mean() == pytest.approx(
            0.5 * BOLTZMANN * found.temperature.mean(), rel=0.25
        )


def test_a_trajectory_that_began_without_its_modes_goes_on_without(
    source, molecules, vibrating, tmp_path
):
    short = replace(SETTINGS, production=replace(SETTINGS.production, length=0.2, replicas=1))
    run(source, molecules, tmp_path, short)
    found = run(source, vibrating, tmp_path)
    assert all(one.rates is None for one in found), "one of two replicas has none"
    assert sorted(file.name for file in tmp_path.rglob("*.modes")) == ["1.modes", "1.modes"]


@pytest.mark.thorough
def test_killed_at_random_moments_it_ends_as_if_nothing_had_happened(
    source, molecules, undisturbed, tmp_path
):
    """SIGKILL, several times, at moments that nobody chose."""
    script = tmp_path / "drive.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from palirs.production import simulation as production\n"
        "production.CHECKPOINT_SECONDS = 0.0\n"
        "import torch; torch.set_num_threads(1)\n"
        "from palirs.molecules import Molecules\n"
        "from tests.production.test_simulation import run\n"
        "place = Path(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "molecules = Molecules(names=('methanol', 'formamide')).load()\n"
        "run((place, (place / 'dipole.safetensors',)), molecules, Path(sys.argv[2]))\n"
    )
    rng, kills = np.random.default_rng(), 0
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    while True:
        driver = subprocess.Popen(
            [sys.executable, str(script), str(source[0]), str(tmp_path / "killed")],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        assert driver.stdout is not None
        driver.stdout.readline()
        if kills < 3:
            time.sleep(rng.uniform(0.2, 2.0))
            driver.send_signal(signal.SIGKILL)
            kills += 1
            driver.wait()
        else:
            assert driver.wait() == 0
            break
    same(run(source, molecules, tmp_path / "killed"), undisturbed)


def test_neither_workers_nor_company_change_a_trajectory(source, molecules, undisturbed, tmp_path):
    same(run(source, molecules, tmp_path / "shared", workers=3), undisturbed)
    same(run(source, molecules[1:], tmp_path / "alone"), undisturbed[1:])


def test_a_trajectory_alone_is_the_one_in_a_batch_of_72(source, tmp_path):
    many = Molecules(names=("organics24",)).load()
    short = replace(SETTINGS, production=MD(replicas=3, thermalisation=0.02, length=0.15))
    batch = run(source, many, tmp_path / "batch", short)
    alone = run(
        source,
        many[7:8],
        tmp_path / "alone",
        replace(short, production=replace(short.production, replicas=1)),
    )
    np.testing.assert_array_equal(batch[7].dipoles[0], alone[0].dipoles[0])


def test_a_longer_run_goes_on_with_what_there_is(
    source, molecules, undisturbed, tmp_path, monkeypatch
):
    run(
        source,
        molecules,
        tmp_path,
        replace(SETTINGS, production=replace(SETTINGS.production, length=0.2, replicas=1)),
    )
    began, batch = [], Batch.__init__

    def watched(self, *args):
        batch(self, *args)
        began.append(self.step)

    monkeypatch.setattr(Batch, "__init__", watched)
    found = run(source, molecules, tmp_path)
    assert sorted(began) == [0, 500], "second replicas begin, first ones go on"
    for a, b in zip(found, undisturbed, strict=True):
        np.testing.assert_allclose(
            a.dipoles, b.dipoles, atol=1e-7
        )  # dipoles are evaluated in other blocks


def test_a_share_that_is_run_again_after_its_worker_died_between_two_checkpoints(
    source, molecules, undisturbed, tmp_path
):
    """An executor hands the same share to another worker.

    Its trajectories then stand at different steps.
    """
    short = replace(SETTINGS, production=replace(SETTINGS.production, length=0.2, replicas=1))
    run(source, molecules, tmp_path, short)
    md = simulation(source, tmp_path)
    jobs = [job for atoms in molecules for job in md.jobs(atoms)]
    assert len(jobs) == 4
    assert len({job.recording.checkpoint(job.settings).step for job in jobs}) == 2
    _share(md, jobs, 0)
    for a, b in zip(run(source, molecules, tmp_path), undisturbed, strict=True):
        np.testing.assert_allclose(
            a.dipoles, b.dipoles, atol=1e-7
        )  # dipoles are evaluated in other blocks


def test_other_settings_begin_anew_and_what_there_was_is_kept(
    source, molecules, undisturbed, tmp_path, caplog
):
    run(source, molecules, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("0.*")}
    with caplog.at_level("WARNING"):
        other = run(source, molecules, tmp_path, seed=4)
    assert "kept as 0.*.old1" in caplog.text
    assert len(before) == 6
    for path, content in before.items():
        assert path.with_name(f"{path.name}.old1").read_bytes() == content
    assert np.abs(other[0].dipoles - undisturbed[0].dipoles).max() > 1e-6
    same(run(source, molecules, tmp_path), undisturbed)


def test_files_that_lost_something_are_not_gone_on_with(source, molecules, tmp_path):
    run(
        source,
        molecules,
        tmp_path,
        replace(SETTINGS, production=replace(SETTINGS.production, length=0.2)),
    )
    with (tmp_path / "methanol-0.1K-test" / "1.dipoles").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(PalirsError, match=r"1\.dipoles is shorter.*delete .*1\.npz"):
        run(source, molecules, tmp_path)


def test_geometries_are_for_ase(source, molecules, tmp_path):
    run(source, molecules, tmp_path)
    frames = ase.io.read(tmp_path / "methanol-0.1K-test" / "0.xyz", index=":")
    assert len(frames) == 8
    assert [frame.info["time_fs"] for frame in frames[:2]] == [1.0, 51.0]
    assert frames[0].get_chemical_symbols() == molecules[0].get_chemical_symbols()
    assert -3200 < frames[0].get_potential_energy() < -3000
    assert np.abs(frames[0].positions - molecules[0].positions).max() < 0.5


def test_numbers_that_are_none_end_one_trajectory_and_the_others_go_on(
    source, molecules, undisturbed, tmp_path
):
    """As if the third molecule had never been there, to the last bit."""
    broken = molecules[0].copy()
    broken.info[keys.MOLECULE] = "broken"
    broken.positions[2] = np.nan
    found = run(source, [*molecules, broken], tmp_path)
    same(found[:2], undisturbed)
    assert found[2].dipoles.shape == (0, 400, 3)
    assert [reason.startswith("not a number by") for reason in found[2].broken] == [True, True]
    with pytest.raises(
        PalirsError,
        match=r"broken: 0 of 2 trajectories ended well.*not a number(.|\n)*spectrum.complete=0.5",
    ):
        check_enough(found, 0.5)
    check_enough(found[:2], 1.0)


def test_a_molecule_that_falls_apart_is_left_out(
    source, molecules, undisturbed, tmp_path, caplog, monkeypatch
):
    """One replica is torn apart on the way.

    It ends there, for good, and the other one is the one it would have been.
    """
    langevin = Batch.advance

    def torn(batch, steps):
        langevin(batch, min(steps, 600 - batch.step) if batch.step < 600 else steps)
        for number, job in enumerate(batch.jobs):
            if (
                batch.step == 600
                and job.place.name == "1"
                and job.molecule.info[keys.MOLECULE] == "methanol"
            ):
                batch.state.positions[sum(batch.counts[: number + 1]) - 1] += 9.0

    monkeypatch.setattr(Batch, "advance", torn)
    with caplog.at_level("WARNING"):
        found = run(source, molecules, tmp_path)
    assert "dissociated, H has left" in caplog.text
    assert found[0].broken[0] == ""
    assert found[0].broken[1].startswith("dissociated")
    np.testing.assert_array_equal(found[0].dipoles, undisturbed[0].dipoles[:1])
    same(found[1:], undisturbed[1:])
    assert found[0].enough(0.5)
    assert not found[0].enough(0.6)
    monkeypatch.setattr(Batch, "advance", langevin)
    again = run(source, molecules, tmp_path)
    assert again[0].broken == found[0].broken, "it is not run again"


class Failing(Toy):
    """Refuses every geometry of one trajectory after some calls, as long as a file is there."""

    sign = ""

    def run(self, calculator, atoms):
        calculator.runs = getattr(calculator, "runs", 0) + 1
        if Path(type(self).sign).exists() and calculator.runs > 60 and 7 not in atoms.numbers:
            raise EngineFailure("SCF not converged")
        return super().run(calculator, atoms)


def test_a_trajectory_whose_engine_fails_ends_alone_and_the_next_run_goes_on_with_it(
    sprung, tmp_path, monkeypatch
):
    """What is gone on with later is what an engine that never failed gives.

    And so are the others.
    """
    md = MD(replicas=1, thermalisation=0.01, length=0.06)
    short = replace(SETTINGS, production=md, max_lag=50.0)
    optima = [vibrations.atoms for vibrations in sprung]
    monkeypatch.setattr(Failing, "sign", str(tmp_path / "sign"))

    def go(directory):
        return run(Failing(stiffness=20.0), optima, directory, short, temperature=300.0, seed=1)

    whole = go(tmp_path / "whole")
    monkeypatch.setattr(production, "CHECKPOINT_SECONDS", 0.0)
    (tmp_path / "sign").touch()
    found = go(tmp_path / "failed")
    assert "SCF not converged" in found[0].broken[0]
    failing = simulation(
        Failing(stiffness=20.0), tmp_path / "failed", short, temperature=300.0, seed=1
    )
    (job,) = failing.jobs(optima[0])
    assert 0 < job.recording.checkpoint(job.settings).step < 140
    same(found[1:], whole[1:])
    (tmp_path / "sign").unlink()
    same(go(tmp_path / "failed"), whole)


def test_thermalisation_is_checkpointed_too(source, molecules, tmp_path, monkeypatch):
    long = replace(
        SETTINGS, production=replace(SETTINGS.production, thermalisation=0.2, length=0.11)
    )
    whole = run(source, molecules, tmp_path / "whole", long)
    monkeypatch.setattr(production, "CHECKPOINT_SECONDS", 0.0)
    with stopped_at(300, monkeypatch):
        run(source, molecules, tmp_path / "cut", long)
    advance, began = Batch.advance, []
    monkeypatch.setattr(
        Batch, "advance", lambda batch, steps: (began.append(batch.step), advance(batch, steps))
    )
    same(run(source, molecules, tmp_path / "cut", long), whole)
    assert began[0] == 300


def test_two_programs_on_one_trajectory_are_told(source, molecules, tmp_path):
    recording = Recording(tmp_path / "0")
    recording.resume(recording.checkpoint("x"))
    recording.append(np.zeros((2, 3)), "a")
    other = Recording(tmp_path / "0")
    other.resume(other.checkpoint("x"))
    other.append(np.zeros((3, 3)), "b")
    with pytest.raises(PalirsError, match="another program writes to it"):
        recording.append(np.zeros((2, 3)), "a")


@pytest.mark.thorough
def test_pyscf_goes_on_from_its_own_last_orbitals(water, tmp_path, monkeypatch):
    """Neither company nor a kill shows, to the last bit with one thread.

    Several threads sum up in any order.
    """
    engine = PySCF(functional="hf", basis="sto-3g", density_fitting=False, guess="previous")
    short = replace(
        SETTINGS, production=MD(replicas=2, thermalisation=0.002, length=0.11), dipole_interval=2.0
    )
    monkeypatch.setattr(production, "CHECKPOINT_SECONDS", 0.0)

    def go(directory, replicas=2):
        md = replace(short.production, replicas=replicas)
        settings = replace(short, production=md)
        return run(engine, [water], directory, settings, temperature=300.0, seed=1)

    with pyscf_lib.with_omp_threads(1):
        whole = go(tmp_path / "whole")
        with stopped_at(130, monkeypatch):
            go(tmp_path / "cut")
        same(go(tmp_path / "cut"), whole)
        np.testing.assert_array_equal(go(tmp_path / "alone", 1)[0].dipoles[0], whole[0].dipoles[0])


def test_the_engines_own_md_is_driven_by_the_same_integrators(molecules, tmp_path):
    short = replace(SETTINGS, production=MD(replicas=1, thermalisation=0.01, length=0.11))
    found = run(TBLite(), molecules[:1], tmp_path, short, temperature=300.0, seed=1)
    assert found[0].dipoles.shape == (1, 110, 3)
    assert np.linalg.norm(found[0].dipoles[0, 0]) > 0.1
    assert abs(found[0].drift[0]) < 0.05, "eV/ps"
