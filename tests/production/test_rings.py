"""Production MD of ring polymers: its files, restarts, and what a trajectory depends on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from palirs.mace.models.files import load_dipole_model
from palirs.production import simulation as production
from palirs.production.batch import Batch
from palirs.recipes import explained
from palirs.settings import MD, Spectroscopy
from palirs.units import BOLTZMANN
from tests.production import test_simulation as classical
from tests.production.test_simulation import run, same, simulation, stopped_at
from tests.toy import Toy

source, molecules, vibrating, sprung = (
    getattr(classical, name) for name in ("source", "molecules", "vibrating", "sprung")
)
SETTINGS = Spectroscopy(
    production=MD(replicas=2, thermalisation=0.02, length=0.15),
    reference=None,
    geometry_interval=50.0,
    max_lag=100.0,
    nuclei="ring_polymer",
    beads=4,
)
WARM = 1.0
"""Temperature [K] at which the weak potentials hold the molecules together long enough."""


def warm(source, molecules, directory, settings=SETTINGS, workers=1):
    return run(source, molecules, directory, settings, workers, WARM)


@pytest.fixture(scope="module")
def undisturbed(source, vibrating, tmp_path_factory):
    return warm(source, vibrating, tmp_path_factory.mktemp("undisturbed"))


def identical(first, second):
    same(first, second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.kinetic, b.kinetic)


def test_what_was_cut_off_anywhere_goes_on_to_the_last_bit(
    source, vibrating, undisturbed, tmp_path, monkeypatch
):
    """In the thermalisation, and in the middle of blocks."""
    monkeypatch.setattr(production, "CHECKPOINT_SECONDS", 0.0)
    for stop in (25, 180, 299):
        with stopped_at(stop, monkeypatch):
            warm(source, vibrating, tmp_path)
    started, begin = [], Batch._begin
    monkeypatch.setattr(Batch, "_begin", lambda batch: (started.append(batch), begin(batch)))
    identical(warm(source, vibrating, tmp_path), undisturbed)
    assert not started


def test_neither_workers_nor_company_nor_threads_change_a_trajectory(
    source, vibrating, undisturbed, tmp_path
):
    identical(warm(source, vibrating, tmp_path / "shared", workers=3), undisturbed)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2 if threads == 1 else 1)
        identical(warm(source, vibrating[1:], tmp_path / "alone"), undisturbed[1:])
    finally:
        torch.set_num_threads(threads)


def test_one_bead_is_classical(source, molecules, tmp_path):
    """To rounding: the same noise, forces and dipoles."""
    rings = warm(source, molecules, tmp_path / "rings", replace(SETTINGS, beads=1))
    points = warm(source, molecules, tmp_path / "points", replace(SETTINGS, nuclei="classical"))
    for a, b in zip(rings, points, strict=True):
        np.testing.assert_allclose(a.dipoles, b.dipoles, atol=1e-6)
        np.testing.assert_allclose(a.temperature, b.temperature, rtol=1e-9)
        freedom = 0.5 * (3 * a.atoms - 3)
        np.testing.assert_allclose(a.kinetic, freedom * BOLTZMANN * WARM)
        assert b.kinetic is None


def test_ring_polymers_have_files_of_their_own(source, molecules, tmp_path):
    """Those of classical nuclei have the names and fingerprints that they had before."""
    ring, point = (
        simulation(source, tmp_path, replace(SETTINGS, nuclei=nuclei), 300.0)
        for nuclei in ("ring_polymer", "classical")
    )
    (first, _), (second, _) = (md.jobs(molecules[0]) for md in (ring, point))
    assert str(second.place.relative_to(tmp_path)) == "methanol-300K-test/0"
    assert second.settings == (
        "thermalisation=0.02 timestep=0.5 thermostat=langevin friction=0.98 stride=2 "
        "geometries=50 T=300.0 seed=3"
    )
    assert str(first.place.relative_to(tmp_path)) == "methanol-300K-test-4beads/0"
    assert first.settings == f"{second.settings} nuclei=ring_polymer beads=4"


def test_the_engines_own_md_stays_classical(sprung, tmp_path):
    optima = [vibrations.atoms for vibrations in sprung]
    found = [
        run(Toy(stiffness=20.0), optima, tmp_path / nuclei, each, temperature=300.0)
        for nuclei, each in (
            ("ring", SETTINGS),
            ("point", replace(SETTINGS, nuclei="classical")),
        )
    ]
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a.dipoles, b.dipoles)
        assert a.kinetic is None
    names = [sorted(file.name for file in tmp_path.glob(f"{n}/*")) for n in ("ring", "point")]
    assert names[0] == names[1]


def test_what_is_recorded_is_of_centroids_and_means_over_the_beads(
    source, molecules, tmp_path, monkeypatch
):
    """The last dipole is that of the beads of the last checkpoint; the geometry their mean."""
    settings = replace(SETTINGS, geometry_interval=1.0)
    batches, write = [], Batch._write
    monkeypatch.setattr(Batch, "_write", lambda batch: (batches.append(batch), write(batch)))
    (found,) = warm(source, molecules[:1], tmp_path, settings)
    batch = batches[-1]
    beads = batch.chain.beads[:, :6].numpy()
    assert np.ptp(beads, axis=0).min() > 1e-3
    model = load_dipole_model(source[1])
    dipoles = model.of_positions([molecules[0].numbers] * 4, list(beads))[0]
    np.testing.assert_allclose(found.dipoles[0, -1], dipoles.mean(axis=0), atol=1e-6)
    assert np.abs(dipoles - dipoles.mean(axis=0)).max() > 1e-4
    geometry = batch.recordings[0].geometry_file
    last = np.loadtxt(geometry.read_text().splitlines()[-6:], usecols=(1, 2, 3))
    np.testing.assert_allclose(last, beads.mean(axis=0), atol=1e-7)
    job = batch.jobs[0]
    end = job.recording.checkpoint(job.settings)
    assert end.values["ring_positions"].shape == (4, 6, 3)
    assert float(end.values["kinetic"]) / end.frames == found.kinetic[0]


def test_how_much_of_a_vibration_the_beads_have_is_known(source, tmp_path):
    shares = [
        simulation(source, tmp_path, replace(SETTINGS, beads=beads), 300.0).kinetic_share(3600.0)
        for beads in (1, 16, 32, 512)
    ]
    assert 0.1 < shares[0] < 0.15, "of a classical oscillator, 2 k_B T/ħω"
    assert 0.8 < shares[1] < 0.9 < shares[2] < 0.98
    assert shares[3] == pytest.approx(1.0, abs=1e-3)
    classical = simulation(source, tmp_path, replace(SETTINGS, nuclei="classical"), 300.0)
    assert classical.kinetic_share(3600.0) is None


def test_a_broken_trajectory_ends_alone(source, molecules, undisturbed, tmp_path):
    broken = molecules[0].copy()
    broken.info["molecule"] = "broken"
    broken.positions[2] = np.nan
    found = warm(source, [broken, *molecules], tmp_path)
    assert found[0].broken[0].startswith("not a number")
    for a, b in zip(found[1:], undisturbed, strict=True):
        np.testing.assert_array_equal(a.dipoles, b.dipoles)
        np.testing.assert_array_equal(a.kinetic, b.kinetic)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"thermostat": "nose_hoover"}, "thermostat = nose_hoover.*give thermostat=langevin"),
        ({"method": "schnetpack", "dipole_interval": 0.5}, "method = schnetpack.*method=physical"),
        ({"quantum_correction": "standard"}, "quantum_correction = standard.*give harmonic"),
        ({"beads": 0}, "spectrum.beads = 0: it should be greater than or equal to 1"),
        ({"nuclei": "quantum"}, "spectrum.nuclei = 'quantum'.*'classical' or 'ring_polymer'"),
    ],
)
def test_what_has_no_meaning_is_refused(values, message):
    with pytest.raises(Exception, match=message), explained("spectrum"):
        Spectroscopy(**{"nuclei": "ring_polymer", **values})
