"""What a study will take: from rates of this machine, and said plainly where there are none."""

import itertools
import re
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import ase.io
import numpy as np
import pytest

from palirs.executors.local import SerialExecutor
from palirs.journal import Journal
from palirs.mace.compiled import compiler
from palirs.planning import rates
from palirs.planning.measuring import measure
from palirs.planning.plan import bytes_of, plan
from palirs.planning.stages import RateRecorder
from palirs.planning.work import rate_names, work
from palirs.vibrations import count_modes
from tests.cli.composed import built


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Rates of its own for each test; code that was compiled before is used by all of them."""
    compiled = compiler._cache()
    monkeypatch.setattr(compiler, "_cache", lambda: compiled)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_rate_is_that_of_the_size_that_was_measured_and_follows_a_power_law_between():
    assert rates.estimate("label", "x", 6) is None
    rates.note("label", "x", 6, 0.5)
    assert rates.estimate("label", "x", 6) == 0.5
    assert rates.estimate("label", "x", 12) == pytest.approx(0.5 * 2**rates.POWER)
    rates.note("label", "x", 24, 0.5 * 4**3)
    assert rates.estimate("label", "x", 12) == pytest.approx(0.5 * 2**3, rel=1e-3)
    assert rates.estimate("label", "x", 48) == pytest.approx(0.5 * 8**3, rel=1e-3)
    assert rates.estimate("label", "y", 6) is None, "of another engine nothing is known"
    rates.note("label", "x", 6, 0.7)
    assert rates.estimate("label", "x", 6) == 0.7, "the last measurement counts"


def test_a_spoilt_or_unwritable_file_is_no_error(tmp_path):
    rates.note("label", "x", 6, 0.5)
    (tmp_path / "palirs" / "rates.json").write_text("{")
    assert rates.estimate("label", "x", 6) is None
    rates.note("label", "x", 6, 0.25)
    assert rates.estimate("label", "x", 6) == 0.25
    (tmp_path / "palirs" / "rates.json").unlink()
    (tmp_path / "palirs" / "rates.json").mkdir()
    rates.note("label", "x", 6, 1.0)
    assert rates.estimate("label", "x", 6) is None


def test_rates_are_kept_of_the_stages_that_a_study_ends_well(tmp_path, monkeypatch):
    study = built("molecules=methanol", "executor=serial")
    molecules, names = study.checked_molecules(), rate_names(study)
    journal = Journal(tmp_path, listeners=[RateRecorder(study, molecules, tmp_path)])
    clock = SimpleNamespace(perf_counter=itertools.count(0.0, 100.0).__next__, strftime=str)
    monkeypatch.setattr("palirs.journal.time", clock)
    monkeypatch.setattr("palirs.journal._memory", lambda: 700.0)
    with suppress(KeyError), journal.stage("production") as done:
        done["steps"] = 1e6
        raise KeyError
    assert rates.estimate("md", names["md"], 6) is None, "it was not finished"
    with journal.stage("production") as done:
        done["steps"] = 1e6
    assert rates.estimate("md", names["md"], 6) == 1e-4
    assert rates.nearest("memory", f"md {names['md']}", 6) == 700.0
    with journal.stage("reference_md") as done:
        done["steps"] = 1e3
    assert rates.estimate("label", names["label"], 6) == 0.1
    paid = [0, 0.0]
    counters = {"labels": lambda: paid[0], "label_seconds": lambda: paid[1]}
    with journal.stage("active_learning", **counters):
        paid[:] = [40, 80.0]
    assert rates.estimate("label", names["label"], 6) == 2.0
    iteration = tmp_path / "iterations" / "000"
    iteration.mkdir(parents=True)
    (iteration / "metrics.json").write_text("{}")
    ase.io.write(iteration / "train.xyz", molecules)
    (iteration / "potential-0.jsonl").write_text('{"updates": 1000, "seconds": 50.0}\n')
    (tmp_path / "dipole-000.jsonl").write_text('{"updates": 1000, "seconds": 30.0}\n')
    with journal.stage("active_learning"):
        pass
    with journal.stage("dipole"):
        pass
    assert rates.estimate("training", names["training"], 6) == 0.05
    assert rates.estimate("dipole", names["dipole"], 6) == 0.03


def said(study, molecules, place):
    lines = plan(study, molecules, place)
    stages = {line[:20].strip(): line for line in lines[lines.index("") + 2 :] if line}
    return lines, stages


def test_the_plan_multiplies_what_there_is_to_do_by_what_it_takes(tmp_path):
    study = built("molecules=methanol", "executor=serial")
    molecules = study.checked_molecules()
    lines, stages = said(study, molecules, tmp_path)
    assert "not known" in stages["production"]
    assert any("measure=true" in line for line in lines)
    for kind, value in (("label", 10.0), ("training", 0.01), ("dipole", 0.01), ("md", 1e-4)):
        rates.note(kind, rate_names(study)[kind], 6, value)
    lines, stages = said(study, molecules, tmp_path)
    md = study.spectrum.production
    steps = md.replicas * (md.thermalisation + md.length) * 1e3 / study.spectrum.timestep
    assert f"{steps:,.0f} steps" in stages["production"]
    assert (
        f"{steps * 1e-4:.0f} s" in stages["production"]
        or f"{steps * 1e-4 / 60:.0f} min" in stages["production"]
    )
    first = study.initial.count(count_modes(molecules[0]))
    assert f"{first * 10 / 60:.0f} min" in stages["first labels"]
    assert any(re.search(r"\d+.* to \d+", line) for line in lines if "earlier work" in line)


def test_the_plan_says_what_md_a_resolution_wants(tmp_path):
    """Four times as sure wants sixteen times the MD; finer lines want more."""
    wanted = []
    for resolution in (24, 12, 6):
        study = built("molecules=methanol", f"spectrum.resolution={resolution}")
        error = study.spectrum.expected_error
        more = replace(study.spectrum.production, replicas=study.spectrum.production.replicas * 16)
        assert replace(study.spectrum, production=more).expected_error == pytest.approx(error / 4)
        (line,) = [
            one for one in plan(study, study.checked_molecules(), tmp_path) if "spectrum  " in one
        ]
        assert f"lines {resolution} cm⁻¹ wide, 600 ps" in line
        wanted.append(600 * (error / 0.05) ** 2)
        if error > 0.06:
            assert f"(5 % want about {wanted[-1]:.0f} ps)" in line
    assert wanted == sorted(wanted)


def test_no_width_is_told_where_it_is_another(tmp_path):
    for setting, says in (
        ("spectrum.nuclei=ring_polymer", "stretches some 100 cm⁻¹ wider"),
        ("spectrum=paper spectrum.method=schnetpack spectrum.dipole_interval=0.5", "SchNetPack's"),
    ):
        study = built("molecules=methanol", *setting.split())
        lines = plan(study, study.checked_molecules(), tmp_path)
        (line,) = [one for one in lines if one.startswith("spectrum  ")]
        assert says in line and "sure to" not in line


def test_with_nose_hoover_trajectories_do_not_depend_on_the_resolution():
    kept = {
        built("spectrum.thermostat=nose_hoover", f"spectrum.resolution={width}").spectrum.damping
        for width in (12, 20, 30)
    }
    assert len(kept) == 1


def test_two_workers_take_half_the_time_and_a_larger_molecule_longer(tmp_path):
    def seconds(*overrides):
        study = built(*overrides)
        names = rate_names(study)
        for kind in ("label", "training", "dipole", "md"):
            rates.note(kind, names[kind], 6, 1.0)
        lines = plan(study, study.checked_molecules(), tmp_path)
        hours = re.search(r"([\d.]+) (h|days) to ([\d.]+) (h|days)", lines[-1])
        assert hours, lines[-1]
        return float(hours[1]) * (24 if hours[2] == "days" else 1)

    one = seconds("molecules=methanol", "executor=serial")
    two = seconds(
        "molecules=methanol",
        "executor.labels.workers=2",
        "executor.training.workers=2",
        "executor.md.workers=2",
    )
    assert 0.45 < two / one < 0.6
    assert seconds("molecules.names=[ethanol]", "executor=serial") > 1.5 * one


def test_the_work_of_a_study_without_dipoles_or_reference_is_left_out():
    stages = [
        one.stage for one in work(built("spectrum.reference=null"), built().checked_molecules())
    ]
    assert "reference MD" not in stages and "production" in stages
    once = [one.stage for one in work(built("learning.iterations=1"), built().checked_molecules())]
    assert "more labels" not in once and "more training" not in once


def test_each_molecule_has_its_vibrations_though_two_are_of_one_size():
    one, two = (built(f"molecules.names=[{names}]") for names in ("methanol", "methanol,formamide"))
    labels = [
        next(
            part.labels
            for part in work(made, made.checked_molecules())
            if part.stage == "reference vibrations"
        )
        for made in (one, two)
    ]
    assert labels[1] == 2 * labels[0], "both have six atoms"


def test_every_bead_of_a_ring_polymer_is_paid_for():
    """In the MD by the committee; the engine's own MD is classical."""
    found = [
        {part.stage: part for part in work(made, made.checked_molecules())}
        for made in (built(), built("spectrum.nuclei=ring_polymer", "spectrum.beads=16"))
    ]
    for stage, factor in (("production", 16), ("reference MD", 1), ("exploration", 1)):
        before, after = (sum(parts[stage].units.values()) for parts in found)
        assert after == factor * before, stage
    assert found[1]["production"].amount.endswith("steps of 16 beads")


def test_every_bead_that_explores_is_paid_for(tmp_path):
    plain, rings = built(), built("sampler.nuclei=ring_polymer", "sampler.beads=8")
    found = [
        {part.stage: part for part in work(made, made.checked_molecules())}
        for made in (plain, rings)
    ]
    for stage, factor in (("exploration", 8), ("production", 1), ("more labels", 1)):
        before, after = (sum(parts[stage].units.values()) for parts in found)
        assert after == factor * before, stage
    assert found[1]["exploration"].amount.endswith("steps of 8 beads")
    assert "beads" not in found[0]["exploration"].amount
    early = built("sampler.nuclei=ring_polymer", "sampler.beads=8", "pretraining=gfn1")
    stages = {part.stage: part for part in work(early, early.checked_molecules())}
    walkers = len(early.pretraining.temperatures) * early.sampler.replicas
    assert stages["early exploration"].units == {6.0: 8 * walkers * early.sampler.steps}
    assert stages["early exploration"].again == early.pretraining.iterations - 1
    said = "\n".join(plan(rings, rings.checked_molecules(), tmp_path))
    assert "700 K explored, by ring polymers of 8 beads, spectra at 300 K" in said


def test_a_member_is_trained_by_one_worker_at_a_time(monkeypatch):
    monkeypatch.setattr("palirs.planning.work.workers", lambda recipe: 16)
    made = built("molecules=methanol", "pretraining=gfn1")
    shares = {part.stage: part.workers for part in work(made, made.checked_molecules())}
    assert (
        shares["first training"]
        == shares["more training"]
        == shares["pretraining"]
        == made.committee.size
    )
    assert (
        shares["dipole model"] == 1 and shares["reference MD"] == 4 and shares["exploration"] == 12
    )


def test_memory_does_not_grow_like_time(tmp_path):
    rates.note("memory", "x", 6, 2000.0)
    assert rates.nearest("memory", "x", 24) == 2000.0


def test_the_disk_of_production_is_what_its_files_will_have(tmp_path):
    """Methanol, 15 ps, dipoles each 2 fs, geometries each 100 fs.

    180,000 bytes of dipoles, as many of 12 modes, 56,438 of geometries.
    """
    study = built("spectrum.production.replicas=1")
    production = next(
        one for one in work(study, study.checked_molecules()) if one.stage == "production"
    )
    assert production.disk == pytest.approx(180_000 + 180_000 + 56_438, rel=0.02)
    assert [bytes_of(size) for size in (0, 12, 52_000, 1.7e7, 3.2e9)] == [
        "",
        "12 B",
        "52 kB",
        "17 MB",
        "3.2 GB",
    ]


def test_what_is_measured_is_what_a_plan_asks_for(tmp_path, monkeypatch):
    monkeypatch.setattr("palirs.planning.measuring.STEPS", 2000)
    monkeypatch.setattr("palirs.production.pace.LOOK", 0.5)
    study = built(
        "experiment=tiny", "executor=serial", "molecules.names=[H2CO]", "pretraining=gfn1"
    )
    molecules = study.checked_molecules()
    executor = SerialExecutor()
    measure(study, molecules, (executor, executor, executor))
    lines, stages = said(study, molecules, tmp_path)
    assert not any("not known" in line for name, line in stages.items() if name != "report")
    assert all(
        np.isfinite(rates.estimate(kind, rate_names(study)[kind], 4))
        for kind in ("label", "training", "dipole", "md")
    )
    assert 1e-4 < rates.estimate("label", rate_names(study)["label"], 4) < 0.1, (
        "GFN2-xTB takes about a millisecond"
    )
    assert any("earlier work" in line for line in lines)
