"""Run palirs: ``python run.py [group=option] [key=value] ...``; ``python run.py --help`` shows what can be chosen.

This is the only file that knows Hydra. It composes the configuration, builds and checks all of it, opens the study and calls the task.
"""

import difflib
import json
import logging
import os
import re
import signal
import sys
import threading
from pathlib import Path

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from palirs.engines import EngineFailure
from palirs.provenance import COMMAND_LINE, arguments
from palirs.recipes import PalirsError, explain
from palirs.settings import Study, manual
from palirs.settings.commandline import check_files, check_single, flags_first, is_sweep, quoted
from palirs.settings.targets import check_targets

CONF = Path(__file__).parent / "conf"
GROUPS = (
    "molecules",
    "engine",
    "model",
    "training",
    "pretraining",
    "initial",
    "sampler",
    "selector",
    "spectrum",
    "executor",
    "tracker",
    "committee",
    "evaluation",
    "labels",
    "learning",
)
LOOKING = ("check", "analyse", "export_model", "export_labels", "import_model")
"""Tasks that calculate nothing: on a study that is there, whose settings somebody else may have written, they start no engine (``check``
does with ``measure=true``, which has to be asked for)."""
CONTINUED = (*GROUPS[:9], "committee", "labels", "learning", "seed")


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Build the configuration and run the task."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _stop)
    try:
        run(continued(config))
    except (PalirsError, EngineFailure) as error:
        sys.exit(f"palirs: {error}")
    except KeyboardInterrupt as stop:
        print(f"palirs: stopped{stop}; what was done is kept, the same command goes on from there", file=sys.stderr)
        sys.exit(143 if str(stop) else 130)


def _stop(number: int, frame: object) -> None:
    """Stop as by Ctrl-C when a scheduler says that time is up: workers end, MLflow is told."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt(" by SIGTERM")


def run(config: DictConfig) -> None:
    """Build every recipe, open the study, call the task."""
    directory = study_directory(config)
    if sweep_name() and config.labels.store is None and not (directory / "labels.db").exists():
        config.labels.store = str(directory.parent / "labels.db")  # the studies of a sweep pay for a label once
    study = build(config)
    study.check_devices()
    name = str(config.task._target_).rpartition(".")[2]
    existing = config.study is not None and (Path(str(config.study)) / "config.yaml").is_file()
    molecules = study.checked_molecules(calculating=not (existing and name in LOOKING))
    check_files(config.task)
    from palirs.study import open_session  # torch and mace, which take seconds, only after everything was checked

    task = _instantiate(config.task, "task")
    logging.getLogger(__name__).info("study %s", directory)
    resolved, yaml = _plain(config), OmegaConf.to_yaml(config, resolve=True)
    with open_session(study, molecules, directory, resolved, yaml, name, directory.name, sweep_name()) as session:
        task(session)
        if sweep := sweep_name():
            from palirs.tasks.sweeps import summarise_sweep

            summarise_sweep(session, sweep)


def _plain(config: DictConfig) -> dict:
    resolved = OmegaConf.to_container(config, resolve=True)
    assert isinstance(resolved, dict)
    return resolved


def continued(config: DictConfig) -> DictConfig:
    """Give a study named by ``study=<dir>`` the settings it was made with, where the command line says nothing else.

    ``group=option`` replaces a group, ``group.key=value`` one key of it; ``experiment=...`` replaces everything.
    """
    given = [override.lstrip("+~").split("=", 1)[0] for override in HydraConfig.get().overrides.task]
    file = Path(str(config.study)) / "config.yaml"
    if config.study is None or "experiment" in given or not file.is_file():
        return config
    before = OmegaConf.load(file)
    assert isinstance(before, DictConfig)
    merged = config.copy()
    for group in set(CONTINUED) & set(before) - set(given):
        merged[group] = before[group]
        for key in given:
            if key.startswith(f"{group}."):
                OmegaConf.update(merged, key, OmegaConf.select(config, key), force_add=True)
    return merged


def build(config: DictConfig) -> Study:
    """Turn the configuration into checked recipes, before anything is computed."""
    check_targets(_plain(config))  # nothing that a file or the command line names is called before
    missing = OmegaConf.missing_keys(config)
    if missing:
        raise PalirsError(f"{', '.join(sorted(missing))}: needs a value, give it as key=value")
    parts = {group: _instantiate(config[group], group) for group in GROUPS}
    try:
        return Study(**parts, temperature=config.temperature, seed=config.seed)
    except ValidationError as error:
        raise PalirsError(explain(error, "")) from error


def _instantiate(node: DictConfig, where: str):
    try:
        return instantiate(node, _convert_="object")
    except InstantiationException as error:
        key = re.search(r"full_key: (\S+)", str(error))
        place = key.group(1) if key else where
        cause = error.__cause__
        if isinstance(cause, ValidationError):
            raise PalirsError(explain(cause, place)) from error
        if isinstance(cause, PalirsError):
            raise cause from error
        raise PalirsError(f"{place}: {cause or error}") from error


def study_directory(config: DictConfig) -> Path:
    """Return the directory of this study; the jobs of a multirun get one each, named by what differs."""
    if config.study is not None:
        base = Path(str(config.study))
    elif isinstance(config.task.get("frames"), str):
        base = Path("studies") / f"{Path(str(config.task.frames)).stem}-{HydraConfig.get().runtime.choices.engine}"
    else:
        smiles = [str(text).partition(" ")[2] or str(text) for text in config.molecules.get("smiles") or []]
        names = [*config.molecules.names, *smiles, *(Path(file).stem for file in config.molecules.files)]
        plain = re.sub(r"[^\w.,+=()#@\[\]-]", "_", "-".join(map(str, names)).replace("\\", "-"))[:60]  # a SMILES may have slashes
        base = Path("studies") / f"{plain}-{HydraConfig.get().runtime.choices.engine}"
    swept = [
        override.replace("/", "_") for override in HydraConfig.get().overrides.task if override.split("=")[0].lstrip("+~") in swept_keys()
    ]
    return base / ",".join(swept) if swept else base


def swept_keys() -> list[str]:
    """Return the keys that a multirun varies."""
    conf = HydraConfig.get()
    if conf.mode != RunMode.MULTIRUN:
        return []
    given = [override.split("=", 1) for override in arguments() if "=" in override and not override.startswith("-")]
    return [*(key.lstrip("+~") for key, value in given if is_sweep(value)), *(conf.sweeper.get("params") or {})]


def sweep_name() -> str | None:
    """Return a name for the sweep that this job belongs to, the same for all its jobs."""
    conf = HydraConfig.get()
    if conf.mode != RunMode.MULTIRUN:
        return None
    return f"{conf.job.config_name}: {', '.join(swept_keys())}" if conf.job.config_name != "config" else ", ".join(swept_keys())


def short_forms(arguments: list[str]) -> list[str]:
    """Translate what is shorter to type.

    ``molecules=ethanol`` means ``molecules.names=[ethanol]`` where there is no option of that name, ``frames=x.xyz`` after ``task=label``
    means ``task.frames=x.xyz``, and the arguments of an ASE calculator need no ``+``.
    """
    translated = []
    task = next((argument.partition("=")[2] for argument in arguments if argument.startswith("task=")), "study")
    file = CONF / "task" / f"{task}.yaml"
    own = {str(key) for key in OmegaConf.load(file)} if file.is_file() else set()
    for argument in arguments:
        key, _, value = argument.partition("=")
        options = {file.stem for file in (CONF / "molecules").glob("*.yaml")}
        if key == "molecules" and value and not set(value.split(",")) <= options and not value.startswith("{"):
            together = re.fullmatch(r"\[([^][]*,[^][]*|[a-z_]{3,})\]", value)  # a list; else a bracket is that of an atom, [2H]O[2H]
            parts = [f"'{name.strip()}'" for name in (together.group(1) if together else value).split(",")]
            argument = f"molecules.names=[{','.join(parts)}]" if together else "molecules.names=" + ",".join(f"[{part}]" for part in parts)
        elif key in ("studies", "task.studies") and "studies" in own:
            argument = f"task.studies={quoted(value)}"
        elif key in own - {"_target_", "_partial_"} or (key.split(".")[0] == "units" and "units" in own):
            argument = f"task.{argument}"
        elif key.startswith("engine.calculator."):
            argument = f"++{argument}"
        translated.append(argument)
    return translated


def check_overrides(arguments: list[str]) -> None:
    """Compose once beforehand, each job of a sweep too, to explain a mistake better than the framework does, and before the first job."""
    asked = get_args_parser().parse_args(arguments)
    if asked.help or asked.hydra_help or asked.shell_completion or asked.info:
        return
    name = asked.config_name or "config"
    if asked.config_path:
        raise PalirsError("-cp replaces the settings of palirs; -cd <directory> adds to them")
    if asked.config_dir and not Path(asked.config_dir).is_dir():
        raise PalirsError(f"-cd {asked.config_dir}: there is no such directory")
    own = bool(asked.config_dir) and not (CONF / f"{name}.yaml").is_file()
    home = (Path(asked.config_dir) if own else CONF).resolve()
    if not (home / f"{name}.yaml").is_file():
        raise PalirsError(
            f"-cn {name}: there is no such file in {home}; there are {', '.join(sorted(f.stem for f in home.glob('*.yaml')))}"
        )
    other = CONF if own else asked.config_dir
    search = [f"hydra.searchpath=[file://{Path(other).resolve()}]"] if asked.config_dir else []
    with hydra.initialize_config_dir(str(home), version_base="1.3"):
        try:
            framework = hydra.compose(name, overrides=search, return_hydra_config=True).hydra
            swept = asked.multirun or framework.mode == RunMode.MULTIRUN
            if not swept:
                check_single(asked.overrides)
            jobs = _jobs(framework, asked.overrides) if swept else [asked.overrides]
            for job in jobs:
                config = hydra.compose(name, overrides=[*search, *job], return_hydra_config=True)
                _check_framework(config.hydra)
                if swept and not asked.cfg and config.study is None:
                    build(OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])).checked_molecules()
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise PalirsError(_explain_composition(str(error), name, search)) from error


def _jobs(framework: DictConfig, overrides: list[str]) -> list[list[str]]:
    """Return the overrides of each job of a sweep."""
    given = [f"{key}={value}" for key, value in (framework.sweeper.get("params") or {}).items()]
    batches = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides([*given, *overrides]), None)
    return [list(job) for batch in batches for job in batch]


def _check_framework(node: DictConfig) -> None:
    """Refuse a launcher, sweeper or callback that is not Hydra's or a plug-in of it."""
    for part in ("launcher", "sweeper", *(f"callbacks.{name}" for name in node.get("callbacks") or {})):
        target = OmegaConf.select(node, f"{part}._target_")
        if target is not None and not str(target).startswith(("hydra._internal.core_plugins.", "hydra_plugins.")):
            raise PalirsError(f"hydra.{part}._target_ = {target!r}: it should be one of Hydra's own or of its plug-ins")


def told(arguments: list[str]) -> tuple[dict[str, list[str]], list[manual.Entry]]:
    """Return the groups with their options, and the values that this command line chooses."""
    asked = get_args_parser().parse_args(arguments)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", overrides=asked.overrides)
    options: dict[str, list[str]] = {}
    for file in sorted(CONF.glob("*/*.yaml")):
        options.setdefault(file.parent.name, []).append(file.stem)
    return options, list(manual.entries(_plain(config), get_object, target=Study))


def _explain_composition(text: str, name: str, search: list[str]) -> str:
    key = re.search(r"Could not override '([^']+)'", text)
    known = _keys(hydra.compose(name, overrides=search))
    wanted = key.group(1) if key else ""
    if wanted and wanted not in known:
        parent = wanted.rpartition(".")[0] if wanted.rpartition(".")[0] in known else ""
        depth = parent.count(".") + 1 if parent else 0
        siblings = [
            name.split(".")[depth] for name in known if name.startswith(f"{parent}." if parent else "") and name.count(".") == depth
        ]
        close = difflib.get_close_matches(wanted, known, n=3)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        return f"{wanted}: there is no such key.{hint} Allowed{' in ' + parent if parent else ''}: {', '.join(sorted(siblings))}"
    return text


def _keys(config: DictConfig) -> list[str]:
    found: list[str] = []
    for key in config:
        if key == "_target_":
            continue
        found.append(str(key))
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
            found += [f"{key}.{child}" for child in _keys(node)]
    return found


if __name__ == "__main__":
    try:
        flags = {name: action.nargs is None for action in get_args_parser()._actions for name in action.option_strings}
        sys.argv[1:] = short_forms(flags_first(sys.argv[1:], flags, GROUPS))
        check_overrides(sys.argv[1:])
        if {"-h", "--help"} & set(sys.argv[1:]):
            print(manual.overview(*told(sys.argv[1:])))
            sys.exit()
        os.environ[COMMAND_LINE] = json.dumps(sys.argv[1:])
    except PalirsError as error:
        sys.exit(f"palirs: {error}")
    main()
