"""Settings that are right alone and wrong together are refused when they are built.

With what to write instead.
"""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from pydantic import ValidationError
from safetensors.numpy import save_file

from palirs.engines import TBLite
from palirs.executors import Processes, Slurm
from palirs.executors.base import gigabytes
from palirs.executors.slurm import seconds
from palirs.mace.settings import Architecture, Evaluation, SecondStage, Training
from palirs.recipes import PalirsError
from palirs.sampling import InitialSamples, ModeImages, ThermalSamples
from palirs.selection import Distant, RandomFrames, Selector
from palirs.settings import (
    MD,
    CommitteeSize,
    Executors,
    Learning,
    Pretraining,
    Sampler,
    Spectroscopy,
    Trainings,
    pairs,
)

SHORT = MD(replicas=2, length=2.0, thermalisation=0.1)


@pytest.mark.parametrize(
    ("recipe", "fields", "says"),
    [
        (
            Architecture,
            {"max_L": 2, "max_ell": 1, "correlation": 1},
            "max_L = 2: .*no order above 1.*give max_L=1",
        ),
        (
            Architecture,
            {"max_L": 3, "max_ell": 1, "correlation": 2},
            "max_L = 3: .*no order above 2",
        ),
        (
            Architecture,
            {"max_L": 3, "max_ell": 2, "correlation": 1},
            "max_L = 3: .*no order above 2",
        ),
        (
            Training,
            {"energy_weight": 1.0, "schedule": "doubling", "updates": 5000},
            "shortest = 4000: .*give at most 2500",
        ),
        (
            Training,
            {"schedule": "doubling", "updates": 100, "shortest": 60},
            "shortest = 60: .*give at most 50",
        ),
        (
            SecondStage,
            {"energy_weight": 0.0, "forces_weight": 0.0},
            "energy_weight = 0, forces_weight = 0",
        ),
        (
            Evaluation,
            {"radial": "network", "backend": "recorded"},
            "radial = network: .*backend=recorded",
        ),
        (
            Evaluation,
            {"radial": "network", "backend": "eager"},
            "radial = network: .*backend=eager",
        ),
        (Evaluation, {"radial": "network", "device": "cuda"}, "radial = network: .*device=cuda"),
        (
            Pretraining,
            {"temperatures": (300.0, 500.0, 300.0)},
            "temperatures = .*300 K is there twice.*frames",
        ),
        (
            Pretraining,
            {"training": Training(energy_weight=0, forces_weight=0)},
            "training.energy_weight = 0",
        ),
        (
            Trainings,
            {
                "potential": Training(energy_weight=0, forces_weight=0),
                "dipole": Training(energy_weight=0, forces_weight=0),
            },
            "potential.energy_weight = 0",
        ),
        (Sampler, {"temperatures": (300.0, 300.0)}, "300 K is there twice.*replicas"),
        (Spectroscopy, {"window": (500.0, 6000.0)}, "window = .*end at 5000 cm⁻¹"),
        (
            Spectroscopy,
            {"window": (500.0, 4900.0), "dipole_interval": 3.5, "timestep": 0.5},
            "window = .*end at 4765 cm⁻¹.*dipole_interval",
        ),
        (
            Spectroscopy,
            {"conformers": "boltzmann", "production": replace(SHORT, replicas=1)},
            "production.replicas = 1",
        ),
        (
            Spectroscopy,
            {
                "conformers": "boltzmann",
                "production": SHORT,
                "reference": replace(SHORT, replicas=1),
            },
            "reference.replicas = 1",
        ),
    ],
)
def test_recipes_refuse_pairs(recipe, fields, says):
    with pytest.raises(ValidationError, match=says):
        recipe(**fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"production": replace(SHORT, until=0.05)}, "production.until = 0.05"),
        ({"production": SHORT, "reference": replace(SHORT, until=0.05)}, "reference.until = 0.05"),
        ({"padding": 8}, "padding = 8"),
        ({"lag_window": "blackman"}, "lag_window = blackman"),
        ({"quantum_correction": "standard"}, "quantum_correction = standard"),
        ({"conformers": "boltzmann"}, "conformers = boltzmann"),
        ({"dipole_interval": 1.0}, "dipole_interval = 1 fs"),
    ],
)
def test_what_the_recipe_of_schnetpack_does_not_know(fields, says):
    with pytest.raises(ValidationError, match=f"{says}.*method=physical"):
        Spectroscopy(**{"method": "schnetpack", "dipole_interval": 0.5, **fields})
    Spectroscopy(method="schnetpack", dipole_interval=0.5)


@pytest.mark.parametrize(("max_ell", "correlation"), [(4, 3), (4, 4)])
def test_couplings_that_mace_does_not_have(monkeypatch, max_ell, correlation):
    monkeypatch.setattr("palirs.mace.settings.find_spec", lambda name: None)
    with pytest.raises(
        ValidationError, match=f"max_ell = {max_ell}, correlation = {correlation}: .*cuequivariance"
    ):
        Architecture(max_ell=max_ell, correlation=correlation)
    monkeypatch.setattr("palirs.mace.settings.find_spec", lambda name: name)
    Architecture(max_ell=max_ell, correlation=correlation)


@pytest.mark.parametrize(
    "shape",
    [{"max_L": 1, "max_ell": 1, "correlation": 1}, {"max_L": 2, "max_ell": 1, "correlation": 2}],
)
@pytest.mark.parametrize("highest", [False, True])
def test_the_highest_order_that_may_be_asked_for_is_one_that_messages_have(shape, highest):
    """And the next one is zero in a model that is built, whatever the atoms."""
    import torch

    from palirs.mace.models.graphs import graph
    from palirs.mace.models.potential import PotentialShape

    if not highest:
        shape = {**shape, "max_L": shape["max_L"] + 1}
    architecture = Architecture(channels=2, radial_mlp=(4,))
    for key, value in shape.items():
        object.__setattr__(architecture, key, value)  # past the check
    atoms, parts = molecule("CH3OH"), []
    model = PotentialShape(
        architecture=architecture,
        elements=(1, 6, 8),
        scale=1.0,
        mean_neighbours=2.0,
        atomic_energies=(0.0, 0.0, 0.0),
    ).build()
    model.products[0].register_forward_hook(
        lambda module, inputs, output: parts.append(output.detach())
    )
    positions = torch.tensor(atoms.positions, dtype=torch.float32).requires_grad_(True)
    model(graph([atoms.numbers], (1, 6, 8), torch.float32).inputs(positions))
    order = shape["max_L"]
    assert bool(parts[0][:, -2 * (2 * order + 1) :].abs().max() > 0) is highest


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"time_limit": 7200.0, "walltime": "01:00:00"}, "time_limit=7200 s.*walltime=01:00:00"),
        ({"time_limit": 100000.0, "walltime": "1-00:00:00"}, "time_limit=100000 s"),
        (
            {"directives": ("--time=02:00:00",)},
            "--time=02:00:00.*walltime=04:00:00.*give walltime only",
        ),
        ({"directives": ("-t 10",)}, "give walltime only"),
        ({"directives": ("--mem-per-cpu=2G",)}, "give memory only"),
        ({"directives": ("--cpus-per-task=8",)}, "give cores only"),
        ({"directives": ("--gres=gpu:2",), "gpus": 1}, "give gpus only"),
        ({"directives": ("-p long",), "partition": "short"}, "give partition only"),
        ({"directives": ("--account=me",), "account": "us"}, "give account only"),
    ],
)
def test_jobs_that_contradict_themselves(fields, says):
    with pytest.raises(PalirsError, match=says):
        Slurm(**fields)


def test_jobs_that_do_not_contradict_themselves():
    Slurm(time_limit=3600.0, walltime="01:00:00")
    Slurm(directives=("--constraint=icelake", "--gres=gpu:a100:1", "-p long", "--mem-bind=local"))


def test_walltimes_and_sizes_are_read():
    assert [seconds(text) for text in ("01:00:00", "00:10:30", "2-03:00:00")] == [
        3600,
        630,
        51 * 3600,
    ]
    assert [gigabytes(text) for text in ("4GB", "1500 MB", "2TB", "1GiB")] == [
        4.0,
        1.5,
        2000.0,
        pytest.approx(1.0737, abs=1e-4),
    ]
    assert Slurm(memory="8GB", cores=4, workers_per_job=4).memory_of_worker == 2.0


def workers(**given):
    return Executors(
        **{
            "labels": Processes(workers=1),
            "training": Processes(workers=1),
            "md": Processes(workers=1),
            **given,
        }
    )


@pytest.mark.parametrize("key", ["evaluation.device", "training.potential.device", "engine.device"])
def test_slurm_jobs_that_are_to_use_a_gpu_ask_for_one(key):
    role = {
        "evaluation.device": "md",
        "training.potential.device": "training",
        "engine.device": "labels",
    }[key]
    with pytest.raises(ValueError, match=rf"{key} = cuda: .*executor.{role}.gpus=1, or {key}=cpu"):
        pairs.check_workers([(key, "cuda", role)], workers(**{role: Slurm()}), None)
    pairs.check_workers([(key, "cpu", role)], workers(**{role: Slurm()}), None)
    pairs.check_workers([(key, "cuda", role)], workers(**{role: Slurm(gpus=1)}), None)
    pairs.check_workers(
        [(key, "cuda", role)], workers(**{role: Slurm(directives=("--gpus-per-node=1",))}), None
    )
    pairs.check_workers([(key, "cuda", role)], workers(), None)


def test_an_engine_does_not_use_more_memory_than_its_worker_has():
    labels = Slurm(memory="8GB", cores=4, workers_per_job=4)
    with pytest.raises(
        ValueError, match=r"engine.memory = 4 GB: a worker of executor.labels has 2 GB"
    ):
        pairs.check_workers([], workers(labels=labels), 4.0)
    pairs.check_workers([], workers(labels=labels), 2.0)
    pairs.check_workers([], workers(labels=labels), None)
    pairs.check_workers([], workers(), 64.0)


class Dipoleless(TBLite):
    """GFN2-xTB that says it has no dipole."""

    gives_dipole = False


def test_cheap_engine_and_reference_engine_fit_each_other():
    both = Trainings(potential=Training(), dipole=Training())
    cheap = Pretraining(engine=Dipoleless(method="GFN1-xTB"))
    with pytest.raises(
        ValueError, match=r"pretraining.engine, GFN1-xTB, declares no dipole.*pretraining=none"
    ):
        pairs.check_pretraining(TBLite(), cheap, both)
    pairs.check_pretraining(Dipoleless(), cheap, both)
    pairs.check_pretraining(Dipoleless(), Pretraining(engine=TBLite(method="GFN1-xTB")), both)
    with pytest.raises(ValueError, match="the reference engine, GFN2-xTB, itself"):
        pairs.check_pretraining(TBLite(), Pretraining(engine=TBLite()), both)


@pytest.mark.parametrize(
    ("engine", "learning", "spectrum", "selector", "says"),
    [
        (
            Dipoleless(),
            Learning(intensities=0.05),
            {},
            {},
            "learning.intensities = 0.05: .*no dipole",
        ),
        (
            Dipoleless(),
            Learning(),
            {"experiment": "a.jdx"},
            {},
            "spectrum.experiment = a.jdx: .*no dipole",
        ),
        (
            TBLite(),
            Learning(forces_mae=10.0),
            {},
            {"least_error": 20.0},
            "selector.least_error = 20.*least_error=10",
        ),
    ],
)
def test_goals_can_be_reached(engine, learning, spectrum, selector, says):
    with pytest.raises(ValueError, match=says):
        pairs.check_goals(engine, learning, Spectroscopy(**spectrum), Selector(**selector))
    pairs.check_goals(
        TBLite(),
        learning,
        Spectroscopy(**spectrum),
        Selector(**{key: value / 2 for key, value in selector.items()}),
    )


@pytest.mark.parametrize(
    ("selector", "learning", "says"),
    [
        (Selector(), Learning(), "at least 2, selector=random"),
        (Selector(choice=Distant()), Learning(), "at least 2, selector=random"),
        (
            Selector(choice=RandomFrames(), least_error=5.0),
            Learning(),
            "at least 2, selector=random",
        ),
        (Selector(choice=RandomFrames()), Learning(forces_mae=10.0), "learning.forces_mae=null"),
        (Selector(choice=RandomFrames()), Learning(anharmonic=5.0), "learning.anharmonic=null"),
    ],
)
def test_one_member_has_no_spread(selector, learning, says):
    with pytest.raises(ValueError, match=f"committee.size = 1: .*{says}"):
        pairs.check_committee(CommitteeSize(size=1), selector, learning)
    pairs.check_committee(CommitteeSize(size=2), selector, learning)
    pairs.check_committee(CommitteeSize(size=1), selector, replace(learning, iterations=1))


def test_a_trajectory_that_goes_on_can_give_a_frame():
    sampler = Sampler(length=0.05, interval=4.0)
    with pytest.raises(
        ValueError, match=r"selector.separation = 50 fs: the last frame of an iteration is at 48 fs"
    ):
        pairs.check_exploration(sampler, Selector(separation=50.0), Learning())
    pairs.check_exploration(sampler, Selector(separation=48.0), Learning())
    pairs.check_exploration(sampler, Selector(separation=50.0), Learning(iterations=1))


def test_ring_polymers_explore_only_where_there_is_an_exploration():
    rings = Sampler(nuclei="ring_polymer")
    with pytest.raises(ValueError, match=r"learning.iterations = 1: nothing is explored"):
        pairs.check_exploration(rings, Selector(), Learning(iterations=1))
    pairs.check_exploration(rings, Selector(), Learning(iterations=2))
    pairs.check_exploration(Sampler(), Selector(), Learning(iterations=1))


@pytest.mark.parametrize(
    ("names", "initial", "fields", "says"),
    [
        (
            ["H2O"],
            {"images": ModeImages(per_mode=2)},
            {},
            "test_fraction = 0.2 leaves less than 10",
        ),
        (["HF"], {"images": ModeImages()}, {}, "leaves less than 10"),
        (
            ["H2O"],
            {"thermal": ThermalSamples()},
            {"test_fraction": 0.9},
            "test_fraction = 0.9 leaves less than 10",
        ),
        (["HF", "N2", "CO"], {"images": ModeImages()}, {}, "diatomic"),
        (["H2O"], {"images": ModeImages()}, {}, ""),
        (["HF"], {"thermal": ThermalSamples()}, {}, ""),
    ],
)
def test_the_first_samples_are_enough_to_learn_and_to_test_with(names, initial, fields, says):
    molecules = [molecule(name) for name in names]
    arguments = (molecules, InitialSamples(**initial), Learning(), Training(**fields))
    if not says:
        pairs.check_samples(*arguments)
        return
    with pytest.raises(PalirsError, match=says):
        pairs.check_samples(*arguments)


def test_atomic_energies_that_are_given_are_those_of_all_elements():
    given = {"training.potential": Training(atomic_energies={"H": -13.6, "C": -1030.0})}
    with pytest.raises(
        PalirsError,
        match=re.escape("training.potential.atomic_energies: no energy of O; give it, or fitted"),
    ):
        pairs.check_atomic_energies([molecule("CH4"), molecule("H2O")], given)
    pairs.check_atomic_energies([molecule("CH4")], given)
    pairs.check_atomic_energies([molecule("H2O")], {"training.potential": Training()})


@pytest.mark.parametrize("how", ["md", "boltzmann"])
def test_conformers_can_be_found_before_they_are_due(how):
    pair = molecule("H2O")
    other = pair.copy()
    other.translate([0, 0, 3.0])
    pair += other
    pair.info["molecule"] = "dimer"
    with pytest.raises(
        PalirsError, match=f"spectrum.conformers = {how}: dimer is several molecules"
    ):
        pairs.check_conformers([pair], how)
    pairs.check_conformers([pair], None)
    pairs.check_conformers([Atoms(molecule("CH3CH2OH"), info={"molecule": "ethanol"})], how)


def named(name, **given):
    return Atoms(molecule(name), info={"molecule": name}, **given)


def test_hydrogen_stays_at_the_time_step_of_the_exploration():
    with pytest.raises(PalirsError, match=r"sampler.timestep = 4 fs: hydrogen in H2O.*3.5 fs"):
        pairs.check_timestep([named("CO"), named("H2O")], 4.0)
    pairs.check_timestep([named("CO"), named("H2O")], 3.5)
    heavy = named("H2O")
    heavy.set_masses([16.0, 2.014, 2.014])
    pairs.check_timestep([named("CO"), heavy], 4.0)


def test_models_to_start_from_are_of_the_kind_and_know_the_elements(tmp_path):
    file = tmp_path / "a.safetensors"

    def start(kind, about, names=("H2O",)):
        save_file({"x": np.zeros(1)}, file, metadata={"palirs-1": json.dumps(about)})
        trainings = Trainings(
            **{"potential": Training(), "dipole": Training(), kind: Training(start=str(file))}
        )
        pairs.check_started([molecule(name) for name in names], trainings)

    start("potential", {"kind": "potential", "elements": [1, 6, 8]})
    start("dipole", {"kind": "dipole", "elements": [1, 8]})
    with pytest.raises(PalirsError, match=r"training.potential.start = .*that is a dipole model"):
        start("potential", {"kind": "dipole", "elements": [1, 8]})
    with pytest.raises(PalirsError, match=r"training.dipole.start = .*no model file of palirs"):
        start("dipole", {})
    with pytest.raises(PalirsError, match=r"training.potential.start = .*does not know N, O"):
        start("potential", {"kind": "potential", "elements": [1, 6]}, ("CH4", "H2O", "NH3"))


def test_models_to_start_from_have_learnt_the_state(tmp_path, caplog):
    file = tmp_path / "a.safetensors"
    ion = Atoms("OH", info={"molecule": "hydroxide", "charge": -1, "multiplicity": 1})

    def start(molecules, **said):
        about = {"kind": "dipole", "elements": [1, 8], **said}
        save_file({"x": np.zeros(1)}, file, metadata={"palirs-1": json.dumps(about)})
        pairs.check_started(
            molecules, Trainings(potential=Training(), dipole=Training(start=str(file)))
        )

    start([ion, named("H2O")], electrons=[[-1, 1], [0, 1]])
    with pytest.raises(PalirsError, match=r"training.dipole.start.*neutral, singlet.*hydroxide is"):
        start([named("H2O"), ion], electrons=[[0, 1]])
    with pytest.raises(PalirsError, match=r"charge -1, singlet or neutral, doublet.*H2O is neutr"):
        start([named("H2O")], electrons=[[0, 2], [-1, 1]])
    start([named("H2O")])  # files say it since there are ions
    assert not caplog.records
    start([named("H2O"), ion])
    assert "does not say which charge" in caplog.text
