"""Other temperatures, other molecules, and as much MD as it takes.

A tiny study through ``run.py``.
"""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.integration.conftest import copied

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.thorough]


def command(study, *more):
    return [
        sys.executable,
        "run.py",
        "experiment=tiny",
        f"study={study}",
        "tracker=none",
        "executor=serial",
        "committee.size=2",
        *more,
    ]


def run(study, *more):
    done = subprocess.run(
        command(study, *more), cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def study(once, tmp_path_factory):
    place, _ = once("conditions", whole)
    return copied(place, tmp_path_factory.mktemp("copy") / "conditions") / "study"


def whole(place):
    for task in ("active_learning", "dipole", "spectra", "aimd", "analyse"):
        run(place / "study", f"task={task}")


def test_bands_and_modes_are_in_the_report(study):
    modes = rows(study / "spectra/methanol-modes.csv")
    assert [row["mode"] for row in modes] == [str(number) for number in range(1, 13)]
    assert modes[0]["motion"].startswith("O–H torsion")
    assert modes[-1]["motion"].startswith("O–H stretch")
    bands = rows(study / "spectra/methanol-300K-bands.csv")
    assert all(float(row["area_km_per_mol"]) > 0 and row["assignment"] for row in bands)
    report = (study / "report.html").read_text()
    assert "assigned by how much each mode moves there (MD)" in report
    densities = np.loadtxt(
        study / "spectra/methanol-300K-predicted-modes.csv", delimiter=",", skiprows=1
    )
    assert densities.shape[1] == 13
    assert np.trapezoid(densities[:, 1:], densities[:, 0], axis=0) == pytest.approx(1, rel=1e-3)


def test_intensities_end_the_loop_where_they_are_asked_for(study, tmp_path):
    """A study that ended without them goes on.

    Each iteration then has a dipole model of its own, which later stages take.
    """
    grown = tmp_path / "study"
    shutil.copytree(study, grown)
    done = run(
        grown, "task=active_learning", "learning.intensities=0.0001", "learning.iterations=3"
    )
    assert "intensities of strong modes off by" in done.stderr
    found = json.loads((grown / "iterations/002/metrics.json").read_text())["metrics"]
    assert {
        "harmonic.intensity_relative",
        "harmonic.intensity_mae_km_per_mol.methanol",
        "dipole.mae_mD",
        "time.dipole_s",
    } <= set(found)
    again = run(grown, "task=dipole")
    assert not (grown / "dipole-002.safetensors").exists()
    assert f"MAE {found['dipole.mae_mD']:.1f} mDebye" in again.stderr
    cleared = run(
        grown,
        "task=active_learning",
        "learning.intensities=100",
        "learning.harmonic_mae=5000",
        "learning.forces_mae=null",
    )
    assert "learning.iterations" not in cleared.stderr, "what was measured is good enough"
    assert not (grown / "iterations/003").exists()


def test_several_temperatures_in_one_figure(study):
    done = run(study, "task=temperatures", "task.temperatures=[250,350]")
    assert "hotter than the exploration" not in done.stderr
    table = rows(study / "spectra/temperatures.csv")
    assert [row["temperature_K"] for row in table] == ["250", "300", "350"], (
        "what the study has at 300 K is drawn too"
    )
    assert all(row["pcc_ml_ref"] for row in table)
    assert (study / "figures/methanol-temperatures.png").stat().st_size > 10_000
    wrong = subprocess.run(
        command(study, "task=temperatures", "task.temperatures=[300,-1]"),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert wrong.returncode == 1 and "above 0" in wrong.stderr


def test_molecules_that_were_not_learnt(study):
    """Killed on the way, it goes on; what was labelled is not labelled again."""
    arguments = ["task=transfer", "task.names=[H2O,CH3OH]", "task.frames=3", "spectrum.complete=0"]
    driver = subprocess.Popen(
        command(study, *arguments), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.time() + 300
    while not list((study / "transfer").rglob("*.npz")):
        assert driver.poll() is None and time.time() < deadline
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    run(study, *arguments)
    table = {row["molecule"]: row for row in rows(study / "transfer/transfer.csv")}
    assert set(table) == {"H2O", "CH3OH"}
    learnt = table["CH3OH"]  # under another name, it is the molecule of the study
    assert float(learnt["harmonic_mae_cm1"]) > 0
    assert float(learnt["error_meV_per_A"]) > 0 and float(learnt["expected_meV_per_A"]) > 0
    assert (study / "transfer/transfer.png").stat().st_size > 10_000
    before = (study / "transfer/transfer.csv").read_text()
    run(study, *arguments)
    assert (study / "transfer/transfer.csv").read_text() == before


def test_elements_that_the_committee_has_never_seen(study):
    done = subprocess.run(
        command(study, "task=transfer", "task.names=[NH3]"),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "the committee has never seen N" in done.stderr


def test_md_goes_on_until_the_bands_are_sure_enough_or_the_limit_is_reached(study):
    arguments = [
        "task=spectra",
        "temperature=320",
        "spectrum.production.until=0.01",
        "spectrum.production.longest=1.2",
    ]
    done = run(study, *arguments)
    assert "going on to" in done.stderr
    assert "after 1.2 ps the bands are not sure to 1.0 %" in done.stderr
    assert (
        "2 × 1.2 ps" in (study / "spectra/methanol-320K-predicted.csv").read_text().splitlines()[0]
    )
    size = (study / "trajectories/methanol-320K-001/0.dipoles").stat().st_size
    assert size == 24 * 600  # every 2 fs
    run(study, *arguments)
    assert (study / "trajectories/methanol-320K-001/0.dipoles").stat().st_size == size


def test_a_temperature_that_fails_does_not_keep_the_others(study):
    done = subprocess.run(
        command(study, "task=temperatures", "task.temperatures=[5000,270]"),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "production at 5000 K is hotter than the exploration (700 K at most)" in done.stderr
    assert "5000 K: methanol: 0 of 2 trajectories ended well" in done.stderr
    assert "270" in [row["temperature_K"] for row in rows(study / "spectra/temperatures.csv")]


def test_both_spectra_of_a_pair_are_made_in_one_way(study):
    """Another depth of the autocorrelation, for the prediction only.

    The reference's is made anew from its dipoles, without MD.
    """
    files = [study / f"spectra/methanol-300K-{kind}.csv" for kind in ("predicted", "reference")]
    assert all("hann over 200 fs" in file.read_text().splitlines()[0] for file in files)
    before = (study / "trajectories/methanol-300K-reference/0.npz").stat().st_mtime_ns
    done = run(study, "task=spectra", "spectrum.max_lag=150")
    assert all("hann over 150 fs" in file.read_text().splitlines()[0] for file in files)
    assert "pcc_ml_ref" in done.stderr
    assert (study / "trajectories/methanol-300K-reference/0.npz").stat().st_mtime_ns == before


def test_ring_polymers_and_back(study, tmp_path):
    """Spectra and trajectories of their own, words in log and report; classical ones are kept."""
    place = copied(study, tmp_path / "rings")
    spectrum = place / "spectra/methanol-300K-predicted.csv"
    run(place, "task=spectra")  # other tests may have made it with other settings
    before = (place / "trajectories/methanol-300K-001/0.dipoles").read_bytes()
    classical = spectrum.read_text()
    rings = ("spectrum.nuclei=ring_polymer", "spectrum.beads=4", "spectrum.production.length=0.4")
    done = run(place, "task=spectra", *rings)
    assert "ring polymers of 4 beads" in spectrum.read_text().splitlines()[0]
    assert "methanol: kinetic energy of the nuclei" in done.stderr
    assert re.search(
        r"4 beads have \d\d % of the kinetic energy of a quantum oscillator", done.stderr
    )
    folder = place / "trajectories/methanol-300K-001-4beads"
    assert (folder / "0.dipoles").stat().st_size == 24 * 200
    done = run(place, "task=aimd", *rings)
    assert "the engine's own MD is classical" in done.stderr
    run(place, "task=analyse", *rings)
    report = (place / "report.html").read_text()
    assert "ring-polymer MD" in report and "ring polymers of 4 beads: bands of high" in report
    run(place, "task=spectra", "spectrum.nuclei=classical", "spectrum.production.length=0.5")
    assert spectrum.read_text() == classical
    assert (place / "trajectories/methanol-300K-001/0.dipoles").read_bytes() == before
