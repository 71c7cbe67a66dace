"""Production MD: what is on the disk after a kill, and what a trajectory depends on."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch

from palirs import keys
from palirs.engines import TBLite
from palirs.mace.models.dipole import DipoleShape
from palirs.mace.models.files import save
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Architecture, Evaluation
from palirs.molecules import Molecules
from palirs.production.simulation import Job, _share, fingerprint, simulate
from palirs.production.trajectories import Recording
from palirs.randomness import stream
from palirs.recipes import PalirsError
from palirs.settings import MD, Spectroscopy

ELEMENTS = (1, 6, 7, 8)
SETTINGS = Spectroscopy(
    production=MD(replicas=2, thermalisation=0.05, length=0.4), reference=None, dipole_interval=1.0, geometry_interval=50.0, max_lag=100.0
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
    architecture = Architecture(channels=8, max_ell=2, correlation=2, radial_mlp=(16,), cutoff=4.0, dtype="float32")
    shape = PotentialShape(architecture, ELEMENTS, (-13.0, -1030.0, -1485.0, -2042.0), 0.05, 4.0)
    for member in range(2):
        torch.manual_seed(member)
        save(place / f"potential-{member}.safetensors", shape, shape.build())
    dipole = DipoleShape(architecture, ELEMENTS, 0.4, 4.0)
    save(place / "dipole.safetensors", dipole, dipole.build())
    return place, (place / "dipole.safetensors",)


@pytest.fixture(scope="module")
def molecules():
    return Molecules(names=("methanol", "formamide")).load()


def run(source, molecules, directory, settings=SETTINGS, workers=1, temperature=20.0, how=None, seed=3):
    return simulate(
        source, molecules, settings.production, settings, temperature, seed, Here(workers), directory, "test", how or Evaluation()
    )


@pytest.fixture(scope="module")
def undisturbed(source, molecules, tmp_path_factory):
    return run(source, molecules, tmp_path_factory.mktemp("undisturbed"))


def same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.dipoles, b.dipoles)
        np.testing.assert_array_equal(a.temperature, b.temperature)
        np.testing.assert_array_equal(a.drift, b.drift)
        np.testing.assert_array_equal(a.spread, b.spread)


def test_dipoles_of_every_interval_are_there(undisturbed):
    for found in undisturbed:
        assert found.dipoles.shape == (2, 400, 3)
        assert np.isfinite(found.dipoles).all()
        assert (np.abs(np.diff(found.dipoles, axis=1)).max(axis=(1, 2)) > 0).all()
        assert not np.array_equal(found.dipoles[0], found.dipoles[1])


@pytest.mark.parametrize("thermostat", ["langevin", "nose_hoover"])
def test_what_was_cut_off_anywhere_goes_on_to_the_last_bit(source, molecules, tmp_path, monkeypatch, thermostat):
    """Stop the driver in the middle several times, with checkpoints at every chance, and compare files byte for byte."""
    from palirs.production import simulation as production

    settings = replace(SETTINGS, thermostat=thermostat)
    run(source, molecules, tmp_path / "whole", settings)
    monkeypatch.setattr(production, "CHECKPOINT_SECONDS", 0.0)
    advance = production._Batch.advance

    for stop in (70, 400, 777):

        def until(batch, stop=stop):
            if batch.step == stop:
                raise KeyboardInterrupt
            advance(batch)

        monkeypatch.setattr(production._Batch, "advance", until)
        with pytest.raises(KeyboardInterrupt):
            run(source, molecules, tmp_path / "cut", settings)
    monkeypatch.setattr(production._Batch, "advance", advance)
    same(run(source, molecules, tmp_path / "whole", settings), run(source, molecules, tmp_path / "cut", settings))
    for file in (tmp_path / "whole").rglob("*.*"):
        other = tmp_path / "cut" / file.relative_to(tmp_path / "whole")
        if file.suffix == ".npz":
            with np.load(file) as a, np.load(other) as b:
                assert sorted(a.files) == sorted(b.files)
                for name in a.files:
                    np.testing.assert_array_equal(a[name], b[name], err_msg=name)
        else:
            assert file.read_bytes() == other.read_bytes()


def test_killed_at_random_moments_it_ends_as_if_nothing_had_happened(source, molecules, undisturbed, tmp_path):
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
        "run((place, (place / 'dipole.safetensors',)), Molecules(names=('methanol', 'formamide')).load(), Path(sys.argv[2]))\n"
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
    alone = run(source, many[7:8], tmp_path / "alone", replace(short, production=replace(short.production, replicas=1)))
    np.testing.assert_array_equal(batch[7].dipoles[0], alone[0].dipoles[0])


def test_a_longer_run_goes_on_with_what_there_is(source, molecules, undisturbed, tmp_path, monkeypatch):
    from palirs.production import simulation as production

    run(source, molecules, tmp_path, replace(SETTINGS, production=replace(SETTINGS.production, length=0.2, replicas=1)))
    began, batch = [], production._Batch.__init__

    def watched(self, *args):
        batch(self, *args)
        began.append(self.step)

    monkeypatch.setattr(production._Batch, "__init__", watched)
    found = run(source, molecules, tmp_path)
    assert sorted(began) == [0, 500], "second replicas begin, first ones go on"
    for a, b in zip(found, undisturbed, strict=True):
        np.testing.assert_allclose(a.dipoles, b.dipoles, atol=1e-7)  # dipoles are evaluated in other blocks


def test_a_share_that_is_run_again_after_its_worker_died_between_two_checkpoints(source, molecules, undisturbed, tmp_path):
    """An executor hands the same share to another worker; its trajectories then stand at different steps."""
    short = replace(SETTINGS, production=replace(SETTINGS.production, length=0.2, replicas=1))
    run(source, molecules, tmp_path, short)
    wanted = fingerprint(SETTINGS.production, SETTINGS, 20.0, 3)
    jobs = [
        Job(atoms, tmp_path / f"{name}-20K-test" / str(replica), wanted, stream(3, "production", name, 20.0, replica))
        for atoms, name in zip(molecules, ("methanol", "formamide"), strict=True)
        for replica in range(2)
    ]
    assert len({Recording(job.place).checkpoint(wanted).step for job in jobs}) == 2
    _share(source, jobs, SETTINGS.production, SETTINGS, 20.0, "test", 0, Evaluation())
    for a, b in zip(run(source, molecules, tmp_path), undisturbed, strict=True):
        np.testing.assert_allclose(a.dipoles, b.dipoles, atol=1e-7)  # dipoles are evaluated in other blocks


def test_other_settings_begin_anew_and_what_there_was_is_kept(source, molecules, undisturbed, tmp_path, caplog):
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
    run(source, molecules, tmp_path, replace(SETTINGS, production=replace(SETTINGS.production, length=0.2)))
    with (tmp_path / "methanol-20K-test" / "1.dipoles").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(PalirsError, match=r"1\.dipoles is shorter.*delete .*1\.npz"):
        run(source, molecules, tmp_path)


def test_geometries_are_for_ase(source, molecules, tmp_path):
    run(source, molecules, tmp_path)
    frames = ase.io.read(tmp_path / "methanol-20K-test" / "0.xyz", index=":")
    assert len(frames) == 8
    assert [frame.info["time_fs"] for frame in frames[:2]] == [1.0, 51.0]
    assert frames[0].get_chemical_symbols() == molecules[0].get_chemical_symbols()
    assert -3200 < frames[0].get_potential_energy() < -3000
    assert np.abs(frames[0].positions - molecules[0].positions).max() < 0.5


def test_numbers_that_are_none_end_the_run_and_say_where(source, molecules, tmp_path):
    broken = [molecules[0], molecules[1].copy()]
    broken[1].info[keys.MOLECULE] = "formamide"
    broken[1].positions[2] = np.nan
    with pytest.raises(PalirsError, match=r"formamide #0: not a number"):
        run(source, broken, tmp_path)


def test_a_molecule_that_falls_apart_is_told(source, molecules, tmp_path, caplog):
    apart = molecules[0].copy()
    apart.positions[-1] += 5.0
    with caplog.at_level("WARNING"):
        found = run(source, [apart], tmp_path)
    assert "dissociated" in found[0].broken[0]
    assert "dissociated" in caplog.text


def test_the_engines_own_md_is_driven_by_the_same_integrators(molecules, tmp_path):
    short = replace(SETTINGS, production=MD(replicas=1, thermalisation=0.01, length=0.11))
    found = simulate(TBLite(), molecules[:1], short.production, short, 300.0, 1, Here(), tmp_path, "reference", Evaluation())
    assert found[0].dipoles.shape == (1, 110, 3)
    assert np.linalg.norm(found[0].dipoles[0, 0]) > 0.1
    assert abs(found[0].drift[0]) < 0.05, "eV/ps"
