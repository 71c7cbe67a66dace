"""Every option of every group composes and builds, and says no more than its target takes."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
from ase import Atoms
from ase.build import molecule
from hydra.utils import get_class, get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from palirs.cli.arguments import CONF
from palirs.cli.overrides import jobs
from tests.cli.composed import built, check_all, composed, mistake, written

ROOT = Path(__file__).parents[2]
QUANTITY = (
    r"\s*(length|timestep|interval|friction|\w*temperature"
    r"|thermalisation|max_lag|dipole_interval|harmonic_mae|forces_mae):"
)
OPTIONS = [(file.parent.name, file.stem) for file in sorted(CONF.glob("*/*.yaml"))]


def compose(*overrides, name="config", directory=CONF):
    with hydra.initialize_config_dir(str(directory), version_base="1.3"):
        return hydra.compose(name, overrides=[f"{key}" for key in overrides])


def targets(node, path=""):
    """Yield every part of a configuration that has a target."""
    if isinstance(node, DictConfig):
        if "_target_" in node:
            yield path, node
        for key in node:
            yield from targets(
                node[key] if not OmegaConf.is_missing(node, key) else None,
                f"{path}.{key}".strip("."),
            )


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_builds_and_its_keys_are_those_of_its_target(group, option):
    config = compose(
        f"workers@executor.labels={option}" if group == "workers" else f"{group}={option}"
    )
    for place, node in targets(config):
        target = get_object(node._target_)
        accepted = set(inspect.signature(target).parameters)
        given = {str(key) for key in node} - {"_target_", "_partial_"}
        assert given <= accepted, f"{place}: {given - accepted}"
        if inspect.isclass(target):
            assert given == accepted, f"{place}: the file does not show {accepted - given}"
    for key in config:
        if (
            isinstance(config[key], DictConfig)
            and "_target_" in config[key]
            and not OmegaConf.missing_keys(config[key])
        ):
            built = instantiate(config[key], _convert_="object")
            assert "_partial_" in config[key] or isinstance(built, get_class(config[key]._target_))


def test_every_number_with_a_unit_says_it():
    """Where the recipe knows a unit, the comment beside the value names it.

    In the file that defines the value.
    """
    for file in [
        CONF / "sampler/paper.yaml",
        CONF / "spectrum/paper.yaml",
        CONF / "config.yaml",
        CONF / "engine/gfn2.yaml",
    ]:
        for line in file.read_text().splitlines():
            if re.match(QUANTITY, line):
                assert re.search(r"#.*(ps⁻¹|ps|fs|K|cm⁻¹|meV/Å)", line), f"{file.name}: {line}"


@pytest.mark.parametrize("sweep", sorted(file.stem for file in (ROOT / "sweeps").glob("*.yaml")))
def test_sweeps_compose(sweep):
    done = run("-cd", "sweeps", "-cn", sweep, "--cfg", "hydra", "-p", "hydra.sweeper.params")
    assert done.returncode == 0, done.stderr
    params = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert params
    assert all("," in line.partition(": ")[2] for line in params), (
        "every parameter has several values"
    )


def test_presets_are_short():
    for file in (CONF / "experiment").glob("*.yaml"):
        assert len(file.read_text().splitlines()) < 30


def run(*arguments, **variables):
    return subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **variables},
        timeout=60,
    )


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("sampler.timestp=1", ["sampler.timestp", "sampler.timestep"]),
        ("samplr.timestep=1", ["samplr", "sampler"]),
        ("sampler.timestep=-1", ["sampler.timestep = -1", "greater than 0"]),
        ("sampler.timestep=fast", ["sampler.timestep = 'fast'", "number"]),
        ("committee.size=0", ["committee.size = 0", "greater than or equal to 1"]),
        ("committee.size=2.5", ["committee.size = 2.5", "integer"]),
        ("temperature=-5", ["temperature = -5", "greater than 0"]),
        ("seed=x", ["seed = 'x'", "integer"]),
        ("engine=vasp", ["engine/vasp", "gfn2"]),
        ("engine.method=B3LYP", ["engine.method = 'B3LYP'", "GFN2-xTB"]),
        ("molecules=methanl", ["methanl", "did you mean methanol"]),
        ("molecules.files=[absent.xyz]", ["absent.xyz"]),
        ("spectrum.method=magic", ["spectrum.method = 'magic'", "physical", "schnetpack"]),
        ("spectrum.window=[4000,500]", ["window", "below"]),
        ("spectrum.production.length=0.1", ["max_lag"]),
        ("model.potential.dtype=float16", ["model.potential.dtype = 'float16'", "float32"]),
        ("executor.labels.workers=512", ["512 workers"]),
        ("+sampler.extra=1", ["sampler.extra = 1", "no such key"]),
        ("engine=pyscf_pbe engine.functional=pbee", ["engine.functional = 'pbee'"]),
        ("engine=pyscf_pbe engine.grid=12", ["engine.grid = 12", "less than or equal to 9"]),
        ("engine=ase", ["engine.calculator._target_", "needs a value"]),
        (
            "engine=ase engine.calculator._target_=ase.calculators.emt.EMTT",
            ["engine.calculator", "EMTT"],
        ),
        (
            "engine=ase engine.calculator._target_=tblite.ase.TBLite engine.units.energy=cal",
            ["engine.units.energy = 'cal'", "Hartree"],
        ),
        ("engine=aims_pbe", ["engine.command", "engine.species_directory"]),
        (
            "engine=aims_pbe engine.command=aims.x engine.species_directory=/nowhere",
            ["/nowhere/light", "01_H_default"],
        ),
        ("executor=slurm executor.labels.walltime=4h", ["executor.labels.walltime = '4h'"]),
        (
            "executor=slurm executor.labels.cores=3 executor.labels.workers_per_job=2",
            ["3 cores", "workers_per_job=2"],
        ),
        ("labels.attempts=0", ["labels.attempts = 0", "greater than or equal to 1"]),
        ("task=import", ["task.file"]),
        ("task=import file=/absent.xyz study=/tmp/palirs-absent", ["/absent.xyz", "no such file"]),
        ("task=dance", ["task/dance", "study"]),
        ("sampler.temperatures=[300,500,300]", ["300 K is there twice", "replicas"]),
        ("sampler.temperatures=[-10]", ["sampler.temperatures[0] = -10", "greater than 0"]),
        ("sampler.temperatures=[]", ["sampler.temperatures", "at least 1"]),
        ("sampler.interval=0.1", ["interval = 0.1 fs", "time step"]),
        ("sampler.interval=9000", ["interval = 9000 fs", "5000 fs"]),
        ("spectrum.dipole_interval=20", ["dipole_interval = 20 fs", "834 cm⁻¹", "3.5 fs"]),
        ("spectrum.dipole_interval=0.2", ["dipole_interval = 0.2 fs", "time step"]),
        ("spectrum=paper spectrum.max_lag=3", ["max_lag = 3 fs", "50 fs"]),
        ("spectrum.max_lag=1000", ["resolution = 18 cm⁻¹, max_lag = 1000 fs", "resolution=null"]),
        ("spectrum.resolution=null", ["spectrum: max_lag = null: give a number, or resolution"]),
        ("spectrum.resolution=12 spectrum.friction=2.5", ["13.3 cm⁻¹ wide", "friction=null"]),
        ("spectrum.resolution=2", ["resolution = 2", "shorter than the trajectories"]),
        ("spectrum.window=[1000,1050]", ["window", "100 cm⁻¹"]),
        ("spectrum.geometry_interval=1e5", ["geometry_interval = 100000 fs"]),
        ("spectrum.complete=1.5", ["spectrum.complete = 1.5"]),
        ("model.potential.cutoff=1.2", ["model.potential.cutoff = 1.2 Å", "C0-O1", "1.42 Å"]),
        ("model.dipole.cutoff=0.3", ["model.dipole.cutoff = 0.3", "greater than or equal to 1"]),
        (
            "training.potential.learning_rate=1e9",
            ["training.potential.learning_rate = 1000000000.0", "less than or equal to 1"],
        ),
        ("training.dipole.clip_gradient=1e30", ["training.dipole.clip_gradient"]),
        ("temperature=1e7", ["temperature = 10000000.0", "5000"]),
        ("committee.size=1", ["committee.size = 1", "spread", "selector=random"]),
        ("committee.size=1 selector=random", ["committee.size = 1", "learning.forces_mae=null"]),
        ("evaluation.device=cuda", ["evaluation.device = 'cuda'", "use cpu"]),
        ("training.potential.device=cuda:3", ["training.potential.device = 'cuda:3'"]),
        (
            "engine=ase engine.calculator._target_=mace.calculators.MACECalculator",
            ["engine.calculator", "MACECalculator", "model_paths"],
        ),
        (
            "engine=ase engine.calculator._target_=os.system engine.calculator.command=ls",
            ["'os.system'", "ASE's calculators"],
        ),
        ("engine._target_=os.system", ["engine._target_ = 'os.system'", "recipes of palirs"]),
        (
            "+hydra.callbacks.mine._target_=os.system",
            ["hydra.callbacks.mine._target_ = 'os.system'"],
        ),
        ("engine=pyscf_pbe engine.bassis=6-31G(d,p)", ["Did you mean engine.basis"]),
        ("größe=3", ["größe: there is no such key", "Allowed: committee, engine"]),
        ("spectrum.experiment.Mölln=x.jdx", ["write 'spectrum.experiment={Mölln: x.jdx}'"]),
        ("engine=pyscf(pbe)", ["engine/pyscf(pbe): there is no such option; there are aims"]),
        ("engine=", ["engine=: needs a value"]),
        ("molecules=", ["molecules=: needs a value"]),
        ("molecules.files=null", ["molecules.files: needs a value", "molecules.files=[]"]),
        ("molecules=methanol,", ["a value is missing beside a comma"]),
        ("molecules=[C#N],CO", ["run.py -m 'molecules=[C#N],CO'", "write 'molecules=[C#N,CO]'"]),
        ("task=import file=", ["file=: needs a value"]),
        ("study=${", ["study=", "${ begins the name of another key"]),
        ("spectrum.experiment={methanol:~/absent(1).jdx}", [f"{Path.home()}/absent(1).jdx"]),
        ("engine=pyscf_pbe engine.functional=0.5*hf+b88,lypp", ["functional = '0.5*hf+b88,lypp'"]),
        ("-m engine=pyscf_pbe engine.basis=6-31G(d,p),nix(d,p)", ["engine.basis = 'nix(d,p)'"]),
        ("-m committee.sizze=2,3", ["committee.sizze", "committee.size"]),
        ("-m molecules=methanol,unobtainium", ["unobtainium", "molecules.names"]),
        ("-m committee.size=2,x", ["committee.size = 'x'", "integer"]),
        ("-m sampler.timestep=0.5,50", ["sampler.timestep = 50"]),
        ("-cd sweeps -cn committee_size temperature=-3", ["temperature = -3"]),
        (
            "-cd sweeps -cn committee_sizes",
            ["committee_sizes", "there are acquisition, architecture, committee_size"],
        ),
        ("task=label", ["task.frames"]),
    ],
)
def test_mistakes_are_explained(override, says):
    """By what ``run.py`` does before anything is computed, called here.

    By a command the same is done below.
    """
    told = mistake(*override.split())
    for text in says:
        assert text in told


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("sampler.timestp=1", ["sampler.timestep"]),
        ("temperature=-5", ["temperature = -5", "greater than 0"]),
        ("molecules=methanl", ["did you mean methanol"]),
        ("engine=vasp", ["engine/vasp", "gfn2"]),
        ("-m committee.sizze=2,3", ["committee.size"]),
        ("-m molecules=methanol,unobtainium", ["unobtainium"]),
        ("-cd sweeps -cn committee_size temperature=-3", ["temperature = -3"]),
    ],
)
def test_mistakes_end_the_command_before_anything_heavy_is_imported(override, says, tmp_path):
    for module in ("torch", "matplotlib", "mlflow"):
        (tmp_path / f"{module}.py").write_text(f"raise SystemExit('{module} is imported')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = run(*override.split(), PYTHONPATH=path)
    assert done.returncode == 1
    assert done.stderr.startswith("palirs: ")
    assert "Traceback" not in done.stderr
    for text in says:
        assert text in done.stderr, done.stderr


def test_two_molecules_in_one_are_told_apart_unless_meant(tmp_path):
    pair = Atoms(
        "OH2OH2",
        positions=[
            [0, 0, 0],
            [0.76, 0.59, 0],
            [-0.76, 0.59, 0],
            [0, 0, 3],
            [0.76, 0.59, 3],
            [-0.76, 0.59, 3],
        ],
    )
    pair.write(tmp_path / "pair.xyz")
    arguments = [
        f"molecules.files=[{tmp_path}/pair.xyz]",
        "molecules.names=[]",
        "task=check",
        f"study={tmp_path}/s",
        "tracker=none",
    ]
    done = run(*arguments)
    assert done.returncode == 1
    assert "OH2 and OH2 are not bonded" in done.stderr
    assert "molecules.complexes=true" in done.stderr
    assert run(*arguments, "molecules.complexes=true").returncode == 0


def test_check_prints_a_plan_and_computes_nothing(tmp_path):
    done = run(
        "task=check", f"study={tmp_path / 'plan'}", "tracker=none", "molecules=ethanol,water"
    )
    assert done.returncode == 1, "molecules=a,b is a sweep and needs -m"
    done = run(
        "task=check", f"study={tmp_path / 'plan'}", "tracker=none", "molecules.names=[ethanol,H2O]"
    )
    assert done.returncode == 0, done.stderr
    assert "2: ethanol, H2O" in done.stdout
    assert not (tmp_path / "plan" / "iterations").exists()


def test_the_plan_tells_what_a_pretraining_and_a_choice_per_molecule_will_ask_for(tmp_path):
    done = run(
        "experiment=dft",
        "molecules.names=[H2CO,H2O]",
        "task=check",
        f"study={tmp_path / 'plan'}",
        "tracker=none",
    )
    assert done.returncode == 0, done.stderr
    assert "GFN2-xTB, 2 × 600 structures of each molecule" in done.stdout
    assert "at most 120 (12 per molecule × 5 iterations)" in done.stdout


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ("pretraining=gfn2", "pretraining.engine is the reference engine"),
        (
            "pretraining=gfn1 training.potential.start=a.safetensors",
            "training.potential.start names a model",
        ),
        ("pretraining=gfn1 pretraining.frames=3", "pretraining.frames = 3"),
        ("selector.per=atom", "selector.per = 'atom'"),
        ("initial.thermal.turned=1.5", "initial.thermal.turned = 1.5"),
    ],
)
def test_mistakes_in_what_is_new(overrides, says):
    done = run(*overrides.split(), "task=check", "tracker=none")
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("molecules=[Na+]", "at least two are needed"),
        ("molecules.smiles=['[OH] radical','[OH-] ion']", "have the same atoms"),
        ("molecules=CCO.O", "is 2 molecules"),
        ("molecules.conformers=0", "molecules.conformers = 0"),
        ("learning.intensities=0", "learning.intensities = 0"),
        ("spectrum.frequency_scale=96", "spectrum.frequency_scale = 96"),
        ("spectrum.padding=0", "spectrum.padding = 0"),
    ],
)
def test_mistakes_in_molecules_and_goals(override, says):
    assert says in mistake(override)


def test_a_molecule_may_be_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    molecule("CH3OH").write("mine.xyz")
    for given, names in (("mine.xyz", ["mine"]), ("[H2O, mine.xyz]", ["H2O", "mine"])):
        molecules = built(f"molecules={given}").checked_molecules()
        assert [atoms.info["molecule"] for atoms in molecules] == names


@pytest.mark.parametrize(
    ("given", "means"),
    [
        ("molecules=CC(C)=O acetone", ["acetone"]),
        (r"molecules=F/C=C\F", ["C2H2F2-WFLOTY-UPH"]),
        ("molecules=[2H]O[2H]", ["D2O-XLYOFN-ZSJ"]),
        ("molecules=1,3-butadiene", ["1,3-butadiene"]),
        ("molecules=[1,3-butadiene, OCC]", ["1,3-butadiene", "ethanol"]),
        ("molecules=[C#N, [2H]O[2H]]", ["CHN-LELOWR", "D2O-XLYOFN-ZSJ"]),
        ("molecules=['OCC', \"C#N\"]", ["ethanol", "CHN-LELOWR"]),
        ("molecules.names=[C#N,1,3-butadiene]", ["CHN-LELOWR", "1,3-butadiene"]),
        ("molecules=[methanol, OCC]", ["methanol", "ethanol"]),
        ("molecules=[methanol]", ["methanol"]),
    ],
)
def test_molecules_as_people_write_them(given, means):
    names = [atoms.info["molecule"] for atoms in built(given).checked_molecules()]
    assert names == means


HOME = Path.home()


@pytest.mark.parametrize(
    ("given", "key", "value"),
    [
        (["study=größe (1)/αβ, γ"], "study", "größe (1)/αβ, γ"),
        (["study=1e3"], "study", "1e3"),
        (["study=~/x"], "study", f"{HOME}/x"),
        (["engine=pyscf_pbe", "engine.basis=6-31G(d,p)"], "engine.basis", "6-31G(d,p)"),
        (
            ["spectrum.experiment={M: ~/a (1).jdx}"],
            "spectrum.experiment",
            {"M": f"{HOME}/a (1).jdx"},
        ),
        (["spectrum.experiment={Mölln: b.jdx}"], "spectrum.experiment", {"Mölln": "b.jdx"}),
        (["spectrum.experiment.M=a=b (1).jdx"], "spectrum.experiment", {"M": "a=b (1).jdx"}),
        (["tracker.uri=http://h:5000/a?b=c"], "tracker.uri", "http://h:5000/a?b=c"),
        (["tracker.experiment=2026"], "tracker.experiment", "2026"),
        (["task=fetch", "cas={1,3-butadiene: 106-99}"], "task.cas", {"1,3-butadiene": "106-99"}),
        (["task=fetch", "cas.methanol=67-56-1"], "task.cas", {"methanol": "67-56-1"}),
        (["task=predict", "model=~/studies/x (1)"], "task.model", f"{HOME}/studies/x (1)"),
        (["task=label", "output=2026"], "task.output", "2026"),
        (["task=test_set", "structures=md (1).xyz"], "task.structures", "md (1).xyz"),
        (["task=test_set", "frames=200"], "task.frames", 200),
        (["task=compare", "studies={ö 1: ~/s/*}"], "task.studies", {"ö 1": f"{HOME}/s/*"}),
        (["task=compare", 'studies=["a=1,b=2", c=*]'], "task.studies", ["a=1,b=2", "c=*"]),
        (["engine=ase", "engine.calculator.at=/m (1).x"], "engine.calculator.at", "/m (1).x"),
        (["executor=slurm", "executor.labels.prologue=[a=b]"], "executor.labels.prologue", ["a=b"]),
        (["-cd", "sweeps", "-cn", "committee_size", "study=Mölln (1)"], "study", "Mölln (1)"),
    ],
)
def test_values_arrive_as_they_were_typed(given, key, value):
    """In the settings that a study is made of."""
    node = OmegaConf.select(composed(*given), key)
    assert (OmegaConf.to_container(node) if OmegaConf.is_config(node) else node) == value


def test_each_job_of_a_sweep_has_its_text():
    given = ["engine=gfn1,gfn2", "sampler.temperatures=[300],[500]", "study=a (1)"]
    assert written("-m", *given) == [*given[:2], 'study="a (1)"']
    given = ["engine=pyscf_pbe", "engine.basis=6-31G(d,p),def2-svp", "engine.grid=range(2,4)"]
    engines = [compose(*job).engine for job in jobs(written("-m", *given))]
    pairs = [(basis, grid) for basis in ("6-31G(d,p)", "def2-svp") for grid in (2, 3)]
    assert [(engine.basis, engine.grid) for engine in engines] == pairs


def test_the_values_of_a_prepared_sweep_are_looked_at_too(tmp_path):
    file = tmp_path / "mine.yaml"
    text = (
        "defaults: [config, _self_]\n"
        "hydra: {mode: MULTIRUN, sweeper: {params: {tracker.experiment: %s}}}"
    )
    file.write_text(text % '"Mölln,a (1)"')
    told = mistake("-cd", str(tmp_path), "-cn", "mine")
    assert "write tracker.experiment: " in told
    file.write_text(text % told.partition("write tracker.experiment: ")[2])
    check_all("-cd", str(tmp_path), "-cn", "mine")
