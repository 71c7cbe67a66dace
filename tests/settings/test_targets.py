"""Settings hold no code, wherever they come from."""

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from palirs.recipes import PalirsError
from palirs.settings.targets import check_targets

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "config",
    [
        {"engine": {"_target_": "os.system", "command": "touch {sign}"}},
        {
            "engine": {
                "_target_": "palirs.engines.from_ase",
                "calculator": {"_target_": "os.system", "_args_": ["touch {sign}"]},
            }
        },
        {
            "engine": {
                "_target_": "palirs.engines.from_ase",
                "calculator": {
                    "_target_": "subprocess.Popen",
                    "args": "touch {sign}",
                    "shell": True,
                },
            }
        },
        {
            "tracker": {
                "_target_": "palirs.executors.local.subprocess.Popen",
                "args": ["touch", "{sign}"],
            }
        },
        {"tracker": {"_target_": "palirs.executors.local.os.system", "command": "touch {sign}"}},
        {
            "molecules": {
                "names": [{"_target_": "builtins.eval", "_args_": ["open('{sign}', 'w')"]}]
            }
        },
        {"engine": {"_target_": "palirs.tasks.export_model"}},
        {
            "engine": {
                "_target_": "palirs.engines.from_ase",
                "calculator": {"_target_": "ase.calculators.abc.namedtuple"},
            }
        },
        {"sampler": {"_target_": "palirs.mace.exchange.import_mace", "path": "evil.model"}},
        {"x": {"_target_": ["os.system"]}},
        {"x": {"_target_": "os."}},
    ],
)
def test_what_is_not_a_recipe_is_refused_before_it_is_called(config, tmp_path):
    """As ``config.yaml`` of a study that somebody sends, and from Python."""
    sign, study = tmp_path / "sign", tmp_path / "study"
    study.mkdir()
    text = OmegaConf.to_yaml(OmegaConf.create(config)).replace("{sign}", str(sign))
    with pytest.raises(PalirsError, match="_target_"):
        check_targets(OmegaConf.to_container(OmegaConf.create(text)))
    if set(config) <= {"engine", "molecules", "sampler"}:
        (study / "config.yaml").write_text(text)
        done = subprocess.run(
            [sys.executable, "run.py", "task=check", f"study={study}", "tracker=none"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1
        assert "_target_" in done.stderr
        assert "Traceback" not in done.stderr
    assert not sign.exists()


def test_calculators_of_ase_and_their_profiles_may_be_named():
    calculator = {
        "_target_": "ase.calculators.orca.ORCA",
        "profile": {"_target_": "ase.calculators.orca.OrcaProfile", "command": "orca"},
    }

    def engine(calculator):
        return {"engine": {"_target_": "palirs.engines.from_ase", "calculator": calculator}}

    check_targets(engine({**calculator, "_partial_": True}))
    check_targets(engine({"_target_": "tblite.ase.TBLite", "_partial_": True}))
    for wrong in (
        engine(calculator),  # would be made while settings are built
        engine(
            {
                "_target_": "tblite.ase.TBLite",
                "_partial_": True,
                "inner": {"_target_": "tblite.ase.TBLite"},
            }
        ),
        {"tracker": {**calculator, "_partial_": True}},
    ):
        with pytest.raises(PalirsError):
            check_targets(wrong)


def test_a_module_that_comes_with_the_study_is_not_even_imported(tmp_path, monkeypatch):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "evil.py").write_text(
        f"open({str(tmp_path / 'sign')!r}, 'w')\nfrom ase.calculators.emt import EMT as C\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    calculator = {"_target_": "study.evil.C", "_partial_": True}
    with pytest.raises(PalirsError, match="no installed package 'study'"):
        check_targets({"engine": {"_target_": "palirs.engines.from_ase", "calculator": calculator}})
    assert not (tmp_path / "sign").exists()


@pytest.mark.thorough
def test_looking_at_a_study_of_somebody_else_makes_no_calculator(tmp_path):
    """One that reads a model file may run code from it.

    A class that cannot be made without arguments stands for it.
    """
    study = tmp_path / "study"
    study.mkdir()
    calculator = {"_target_": "mace.calculators.MACECalculator", "_partial_": True}
    engine = {"_target_": "palirs.engines.from_ase", "calculator": calculator}
    (study / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create({"engine": engine})))

    def run(task):
        command = [sys.executable, "run.py", f"task={task}", f"study={study}", "tracker=none"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

    done = run("check")
    assert done.returncode == 0, done.stderr
    assert "cannot be made with these arguments" in run("harmonic").stderr
