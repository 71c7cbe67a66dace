"""Trajectories in the forms of other programs, read back by others.

SchNetPack's own loader and TRAVIS read them too: docs/results/files.md.
"""

import json

import ase.io
import h5py
import numpy as np
import pytest

from palirs import keys
from palirs.molecules import Molecules
from palirs.production.exchange import (
    LAYOUTS,
    TIME,
    complete_trajectories,
    write_extxyz,
    write_schnetpack,
    write_travis,
)
from palirs.production.jobs import Job
from palirs.production.trajectories import geometry_lines
from palirs.recipes import PalirsError
from palirs.settings import MD, Spectroscopy
from palirs.spectra import infrared_spectrum

DEBYE = 0.20819433442462576
"""In e·Å."""
KJ_PER_MOL = 0.010364269656262174
"""In eV."""
FRAMES, STEPS = 6000, 6400
SETTINGS = Spectroscopy(production=MD(length=12.0), reference=None, dipole_interval=2.0)
"""Dipoles every 2 fs."""
LINES = (1033.0, 2950.0)
"""Of the dipoles [cm⁻¹]."""


def recorded(molecule, place, stride, seed, frames=FRAMES, step=STEPS, **values):
    """Write a trajectory as production does, and return what was recorded."""
    rng = np.random.default_rng(seed)
    times = 2.0 * np.arange(1, frames + 1)
    phases = 2 * np.pi * 2.99792458e-5 * np.outer(times, LINES)
    dipoles = np.cos(phases + seed) @ rng.normal(size=(2, 3))
    positions = molecule.positions + 0.05 * rng.normal(size=(frames, len(molecule), 3))
    energies = -220 + rng.normal(size=frames)
    recording = Job(molecule, place, "settings", np.random.SeedSequence(1)).recording
    recording.resume(recording.checkpoint("settings"))
    written = range(0, frames, stride)
    text = "".join(
        geometry_lines(molecule, positions[i], time_fs=times[i], energy=energies[i])
        for i in written
    )
    recording.append(dipoles, text)
    recording.save("settings", step, values)
    recording.append(np.ones((5, 3)), text)  # not yet part of the trajectory
    return times[written], dipoles, positions[written], energies[written]


@pytest.fixture
def methanol():
    return Molecules(names=("methanol",)).load()[0]


@pytest.fixture
def ammonium():
    return Molecules(smiles=("[NH4+] ammonium",)).load()[0]


def trajectories(molecule, folder, stride, replicas=2):
    jobs = [
        Job(molecule, folder / str(number), "settings", np.random.SeedSequence(number))
        for number in range(replicas)
    ]
    told = [recorded(molecule, job.place, stride, seed) for seed, job in enumerate(jobs)]
    return complete_trajectories(jobs, STEPS, SETTINGS), told


def test_extended_xyz_is_what_ase_reads(ammonium, tmp_path):
    those, told = trajectories(ammonium, tmp_path / "in", stride=50)
    write_extxyz(tmp_path / "out", those)
    for number, (times, dipoles, positions, energies) in enumerate(told):
        frames = ase.io.read(tmp_path / "out" / f"{number}.xyz", ":")
        assert len(frames) == 120
        np.testing.assert_allclose([each.positions for each in frames], positions, atol=1e-8)
        own = [each.get_dipole_moment() for each in frames]
        np.testing.assert_allclose(own, dipoles[::50], atol=1e-9)
        own = [each.get_potential_energy() for each in frames]
        np.testing.assert_allclose(own, energies, atol=1e-8)
        assert [each.info["time_fs"] for each in frames] == times.tolist()
        info = frames[3].info
        assert (info["interval_fs"], info[keys.MOLECULE], info["charge"]) == (100, "ammonium", 1)
        assert frames[0].get_chemical_symbols() == ammonium.get_chemical_symbols()


def numbers(line):
    """Return what TRAVIS takes for numbers in a comment line."""
    found = []
    for word in line.split():
        try:
            found.append(float(word))
        except ValueError:
            continue
    return found


def test_travis_finds_the_dipoles_and_no_cell_in_the_comment_lines(methanol, tmp_path):
    those, told = trajectories(methanol, tmp_path / "in", stride=1)
    write_travis(tmp_path / "out", those)
    for number, (times, dipoles, positions, _) in enumerate(told):
        file = tmp_path / "out-travis" / f"{number}.xyz"
        comments = file.read_text().splitlines()[1::8]
        values = np.array([numbers(comment) for comment in comments])
        assert values.shape[1] not in (3, 6, 9), "it would take them for a cell"
        np.testing.assert_array_equal(values[:, 0], times)
        np.testing.assert_allclose(values[:, 1:] * DEBYE, dipoles, atol=1e-9)
        frames = ase.io.read(file, ":", format="xyz")
        np.testing.assert_allclose([each.positions for each in frames], positions, atol=1e-8)


def test_travis_gets_no_dipoles_without_geometries(methanol, tmp_path):
    those, _ = trajectories(methanol, tmp_path / "in", stride=50)
    with pytest.raises(PalirsError, match=r"120 of 6000 .*spectrum\.geometry_interval=2 "):
        write_travis(tmp_path / "out", those)


class Loaded:
    """What SchNetPack's loader does with a file, told from its attributes."""

    def __init__(self, file):
        with h5py.File(file, "r", swmr=True, libver="latest") as stream:
            structures, properties = stream["molecules"], stream["properties"]
            told = dict(structures.attrs)
            entries, replicas = told["entries"], told["n_replicas"]
            assert not told["has_velocities"] and not told["has_cells"]
            self.step, self.counts, self.told = told["time_step"], told["n_atoms"], told
            molecules, atoms = told["n_molecules"], told["total_n_atoms"]
            rows = structures[:entries]
            assert rows.shape == (entries, replicas, molecules + 3 * atoms)
            self.energies = rows[:, 0, :molecules]
            self.positions = rows[:, 0, molecules:].reshape(entries, atoms, 3)
            begin, end = json.loads(properties.attrs["positions"])["dipole_moment"]
            shape = json.loads(properties.attrs["shapes"])["dipole_moment"]
            self.dipoles = properties[:entries, :, begin:end].reshape(entries, replicas, *shape)


@pytest.mark.parametrize("stride", [1, 50])
def test_schnetpacks_file_holds_dipoles_at_every_time_and_the_geometries_there_are(
    methanol, tmp_path, stride
):
    those, told = trajectories(methanol, tmp_path / "in", stride, replicas=3)
    write_schnetpack(tmp_path / "out", those)
    read = Loaded(tmp_path / "out.hdf5")
    assert read.step == pytest.approx(0.002, rel=1e-7), "ps"
    assert pytest.approx(1000, rel=1e-7) == TIME, "fs in amu^½ nm (kJ/mol)^-½"
    assert read.dipoles.shape == (FRAMES, 1, 3, 3)
    assert read.told["pbc"].shape == (3, 3) and not read.told["pbc"].any()
    ends = np.cumsum([0, *read.counts])
    for number, (_, dipoles, positions, energies) in enumerate(told):
        atoms = slice(ends[number], ends[number + 1])
        assert read.told["atom_types"][atoms].tolist() == methanol.numbers.tolist()
        np.testing.assert_array_equal(read.told["masses"][atoms], methanol.get_masses())
        np.testing.assert_allclose(10 * read.dipoles[:, 0, number], dipoles, rtol=1e-12)
        own = 10 * read.positions[::stride, atoms]
        np.testing.assert_allclose(own, positions, atol=1e-8)
        own = KJ_PER_MOL * read.energies[::stride, number]
        np.testing.assert_allclose(own, energies, rtol=1e-7)
    between = np.arange(FRAMES) % stride > 0
    assert np.isnan(read.positions[between]).all() and np.isnan(read.energies[between]).all()


def test_the_time_step_of_schnetpacks_file_puts_bands_where_they_are(methanol, tmp_path):
    those, _ = trajectories(methanol, tmp_path / "in", stride=50)
    write_schnetpack(tmp_path / "out", those)
    read = Loaded(tmp_path / "out.hdf5")
    found = infrared_spectrum(read.dipoles[:, 0, 1], 1e3 * read.step, max_lag=4000.0)
    for wavenumber in LINES:
        near = np.abs(found.wavenumber - wavenumber) < 200
        assert found.wavenumber[near][found.intensity[near].argmax()] == pytest.approx(
            wavenumber, abs=2
        )


def test_trajectories_are_cut_to_the_shortest_where_they_share_a_file(methanol, tmp_path):
    """As while longer ones are run."""
    jobs = [Job(methanol, tmp_path / str(n), "settings", np.random.SeedSequence(n)) for n in (0, 1)]
    recorded(methanol, jobs[0].place, 50, 0)
    _, dipoles, positions, _ = recorded(methanol, jobs[1].place, 50, 1, frames=9000, step=9400)
    write_schnetpack(tmp_path / "out", complete_trajectories(jobs, STEPS, SETTINGS))
    read = Loaded(tmp_path / "out.hdf5")
    np.testing.assert_allclose(10 * read.dipoles[:, 0, 1], dipoles[:FRAMES], rtol=1e-12)
    np.testing.assert_allclose(10 * read.positions[::50, 6:], positions[:120], atol=1e-8)


def test_what_is_not_complete_is_left_out(methanol, tmp_path, caplog):
    jobs = [
        Job(methanol, tmp_path / str(number), "settings", np.random.SeedSequence(number))
        for number in range(4)
    ]
    recorded(methanol, jobs[0].place, 50, 0)
    recorded(methanol, jobs[1].place, 50, 1, step=STEPS - 1)
    recorded(methanol, jobs[2].place, 50, 2, broken="dissociated")  # and the fourth never began
    assert [each.name for each in complete_trajectories(jobs, STEPS, SETTINGS)] == ["0"]
    assert "3 of 4 trajectories are not complete" in caplog.text
    with pytest.raises(PalirsError, match="no trajectory made with these settings is complete"):
        complete_trajectories(jobs[1:], STEPS, SETTINGS)


def test_nothing_half_written_stays(methanol, tmp_path):
    those, _ = trajectories(methanol, tmp_path / "in", stride=1, replicas=1)
    for write in LAYOUTS.values():
        write(tmp_path / "out", those)
    assert not list(tmp_path.rglob("*.part"))
    assert {each.name for each in tmp_path.iterdir()} == {"in", "out", "out-travis", "out.hdf5"}
