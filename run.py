"""Run palirs: ``python run.py [group=option] [key=value] ...``; ``python run.py --help`` shows what can be chosen.

This is the only file that knows Hydra. It composes the configuration, builds and checks all of it,
opens the study and calls the task.
"""

import inspect
import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from palirs.engines import EngineFailure
from palirs.provenance import COMMAND_LINE, arguments
from palirs.recipes import PalirsError, explain
from palirs.settings import StudySettings, commandline, manual
from palirs.settings.commandline import Reading, check_files, flags_first, readable
from palirs.settings.existing import kept_groups
from palirs.settings.targets import check_targets
from palirs.tasks import declared

CONF = Path(__file__).parent / "conf"
GROUPS = tuple(
    key for key in inspect.signature(StudySettings).parameters if key not in ("temperature", "seed")
)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Build the configuration and run the task."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _stop)
    try:
        run(continued(settled(config)))
    except (PalirsError, EngineFailure) as error:
        sys.exit(f"palirs: {error}")
    except OmegaConfBaseException as error:  # an interpolation of what is not there
        sys.exit(f"palirs: {commandline.in_words(error, ())}")
    except KeyboardInterrupt as stop:
        print(
            f"palirs: stopped{stop}; what was done is kept, the same command goes on from there",
            file=sys.stderr,
        )
        sys.exit(143 if str(stop) else 130)


def _stop(number: int, frame: object) -> None:
    """Stop as by Ctrl-C when a scheduler says that time is up: workers end, MLflow is told."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt(" by SIGTERM")


def run(config: DictConfig) -> None:
    """Build every recipe, open the study, call the task."""
    directory = study_directory(config)
    if sweep_name() and config.labels.store is None and not os.path.exists(directory / "labels.db"):
        config.labels.store = str(
            directory.parent / "labels.db"
        )  # the studies of a sweep pay for a label once
    study = build(config)
    study.check_devices()
    name = str(config.task._target_).rpartition(".")[2]
    looking = made_before(config) is not None and not declared(name).engine
    molecules = study.checked_molecules(calculating=not looking)
    check_files(config.task)
    from palirs.study.session import open_session

    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"this directory cannot be made ({error.strerror})"
        raise PalirsError(f"study = {str(directory)!r}: {reason}") from error
    task = _instantiate(config.task, "task")
    logging.getLogger(__name__).info("study %s", directory)
    resolved, yaml = _plain(config), OmegaConf.to_yaml(config, resolve=True)
    with open_session(
        study, molecules, directory, resolved, yaml, declared(name), sweep=sweep_name()
    ) as session:
        task(session)
        if sweep := sweep_name():
            from palirs.tasks.sweeps import summarise_sweep

            summarise_sweep(session, sweep)


def _plain(config: DictConfig | ListConfig, resolve: bool = True) -> dict:
    plain = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(plain, dict)
    return plain


def continued(config: DictConfig) -> DictConfig:
    """Give a study named by ``study=<dir>`` the settings it was made with, where the command line says nothing else.

    ``group=option`` replaces a group, ``group.key=value`` one key of it; ``experiment=...``
    replaces everything.
    """
    given = [
        override.lstrip("+~").split("=", 1)[0] for override in HydraConfig.get().overrides.task
    ]
    file = made_before(config)
    if file is None or "experiment" in given:
        return config
    before = OmegaConf.load(file)
    assert isinstance(before, DictConfig)
    merged = config.copy()
    for group in set(kept_groups()) & set(before) - set(given):
        merged[group] = before[group]
        for key in given:
            if key.startswith(f"{group}."):
                OmegaConf.update(merged, key, OmegaConf.select(config, key), force_add=True)
    return merged


def made_before(config: DictConfig) -> Path | None:
    """Return the settings of the study that ``study=<dir>`` names, if it is there."""
    file = commandline.directory(config.study) / "config.yaml" if config.study is not None else None
    return file if file is not None and os.path.isfile(file) else None


def build(config: DictConfig) -> StudySettings:
    """Turn the configuration into checked recipes, before anything is computed."""
    check_targets(_plain(config))  # nothing that a file or the command line names is called before
    missing = OmegaConf.missing_keys(config)
    if missing:
        raise PalirsError(f"{', '.join(sorted(missing))}: needs a value, give it as key=value")
    parts = {group: _instantiate(config[group], group) for group in GROUPS}
    try:
        return StudySettings(**parts, temperature=config.temperature, seed=config.seed)
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


def settled(config: DictConfig) -> DictConfig:
    """Return settings with home directories for ``~``, and pairs that Hydra was given as texts."""
    plain = _plain(config, resolve=False)
    plain = commandline.with_homes(
        commandline.with_pairs(plain, commandline.kinds(plain, StudySettings))
    )
    created = OmegaConf.create(plain, flags={"struct": True})
    assert isinstance(created, DictConfig)
    return created


def study_directory(config: DictConfig) -> Path:
    """Return the directory of this study; the jobs of a multirun get one each, named by what differs."""
    if config.study is not None:
        base = commandline.directory(config.study)
    elif isinstance(config.task.get("frames"), str):
        base = (
            Path("studies")
            / f"{Path(str(config.task.frames)).stem}-{HydraConfig.get().runtime.choices.engine}"
        )
    else:
        molecules = (config.molecules.get(key) or [] for key in ("names", "smiles", "files"))
        name = commandline.usual_name(*molecules)
        base = Path("studies") / f"{name}-{HydraConfig.get().runtime.choices.engine}"
    swept, settings = swept_keys(), HydraConfig.get().overrides.task
    job = [text for text in settings if text.split("=")[0].lstrip("+~") in swept]
    return commandline.job_directory(base, job, _read) if job else base


def swept_keys() -> list[str]:
    """Return the keys that a multirun varies."""
    conf = HydraConfig.get()
    if conf.mode != RunMode.MULTIRUN:
        return []
    given = [text for text in arguments() if "=" in text and not text.startswith("-")]
    several = [text for text in given if (reading := _read(text)) is not None and reading.several]
    keys = [text.partition("=")[0].lstrip("+~") for text in several]
    return [*keys, *(conf.sweeper.get("params") or {})]


def sweep_name() -> str | None:
    """Return a name for the sweep that this job belongs to, the same for all its jobs."""
    conf = HydraConfig.get()
    if conf.mode != RunMode.MULTIRUN:
        return None
    prepared = "" if conf.job.config_name == "config" else f"{conf.job.config_name}: "
    return prepared + ", ".join(swept_keys())


def short_forms(arguments: list[str]) -> list[str]:
    """Translate what is shorter to type, see :func:`palirs.settings.commandline.short_forms`."""
    task = next(
        (argument.partition("=")[2] for argument in arguments if argument.startswith("task=")),
        "study",
    )
    file = CONF / "task" / f"{task}.yaml"
    takes = _plain(OmegaConf.load(file), resolve=False) if file.is_file() else {}
    options = {file.stem for file in (CONF / "molecules").glob("*.yaml")}
    return commandline.short_forms(arguments, takes, options)


def check_overrides(arguments: list[str], typed: Sequence[str] = ()) -> list[str]:
    """Compose once beforehand, each job of a sweep too, to explain a mistake before the first job.

    Return the arguments with quotes where Hydra needs them. ``typed``: as they were before
    :func:`short_forms`.
    """
    asked = get_args_parser().parse_args(arguments)
    if asked.hydra_help or asked.shell_completion:
        return arguments
    name, home, other, groups = commandline.places(asked, CONF)
    search = [f"hydra.searchpath=[file://{other}]"] if other else []
    takes: dict[str, commandline.Takes] = {}
    with hydra.initialize_config_dir(str(home), version_base="1.3"):
        try:
            framework = hydra.compose(name, overrides=search, return_hydra_config=True).hydra
            swept = asked.multirun or framework.mode == RunMode.MULTIRUN
            choices = [
                text for text in asked.overrides if re.split("[@=]", text.lstrip("+"))[0] in groups
            ]
            takes = _kinds(name, [*search, *choices])
            as_typed = dict(zip(arguments, typed, strict=False))
            overrides = readable(asked.overrides, as_typed, takes, groups, _read, swept)
            params = (framework.sweeper.get("params") or {}) if swept else {}
            params = commandline.checked_params(params, takes, groups, _read)
            jobs = _jobs([*params, *overrides]) if swept else [overrides]
            for job in [] if asked.help or asked.info else jobs:
                config = hydra.compose(name, overrides=[*search, *job], return_hydra_config=True)
                _check_framework(config.hydra)
                if swept and not asked.cfg and config.study is None:
                    own = [str(key) for key in config if key != "hydra"]
                    build(settled(OmegaConf.masked_copy(config, own))).checked_molecules()
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            if not takes and "Could not override" in str(error):
                takes = _kinds(name, search)
            raise PalirsError(commandline.in_words(error, takes)) from error
    readables = dict(zip(asked.overrides, overrides, strict=True))
    return [readables.get(text, text) for text in arguments]


def _kinds(name: str, choices: list[str]) -> dict[str, commandline.Takes]:
    """Return what each key takes where these options are chosen, with either of those swept."""
    options: list[list[str]] = []
    for override in filter(None, map(_parse, choices)):
        if override.is_discrete_sweep():
            key = override.get_key_element()
            options.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        elif override.value() not in ("", None):
            options.append([str(override.input_line)])
    takes: dict[str, commandline.Takes] = {}
    for chosen in commandline.each_once(options):
        config = _plain(hydra.compose(name, overrides=chosen), resolve=False)
        takes = commandline.kinds(config, StudySettings) | takes
    return takes


def _parse(text: str) -> Override | None:
    """Return what Hydra reads; ``None`` if it cannot."""
    framework = GlobalHydra.instance()
    loader = framework.config_loader() if framework.is_initialized() else None
    try:
        return OverridesParser.create(config_loader=loader).parse_overrides([text])[0]
    except HydraException:
        return None


def _read(text: str) -> Reading | None:
    override = _parse(text)
    if override is None:
        return None
    several = override.is_sweep_override()
    return Reading(None if several else override.value(), several)


def _jobs(overrides: list[str]) -> list[list[str]]:
    """Return the overrides of each job of a sweep."""
    parsed = [override for override in map(_parse, overrides) if override is not None]
    return [list(job) for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]


def _check_framework(node: DictConfig) -> None:
    """Refuse a launcher, sweeper or callback that is not Hydra's or a plug-in of it."""
    for part in (
        "launcher",
        "sweeper",
        *(f"callbacks.{name}" for name in node.get("callbacks") or {}),
    ):
        target = OmegaConf.select(node, f"{part}._target_")
        if target is not None and not str(target).startswith(
            ("hydra._internal.core_plugins.", "hydra_plugins.")
        ):
            raise PalirsError(
                f"hydra.{part}._target_ = {target!r}: it should be one of Hydra's own or of its plug-ins"
            )


def told(arguments: list[str]) -> tuple[dict[str, list[str]], list[manual.Entry]]:
    """Return the groups with their options, and the values that this command line chooses."""
    asked = get_args_parser().parse_args(arguments)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", overrides=asked.overrides)
    options: dict[str, list[str]] = {}
    for file in sorted(CONF.glob("*/*.yaml")):
        options.setdefault(file.parent.name, []).append(file.stem)
    return options, list(manual.entries(_plain(config), get_object, target=StudySettings))


if __name__ == "__main__":
    try:
        flags = {
            name: action.nargs is None
            for action in get_args_parser()._actions
            for name in action.option_strings
        }
        typed = flags_first(sys.argv[1:], flags, GROUPS)
        sys.argv[1:] = check_overrides(short_forms(typed), typed)
        if {"-h", "--help"} & set(sys.argv[1:]):
            print(manual.overview(*told(sys.argv[1:])))
            sys.exit()
        os.environ[COMMAND_LINE] = json.dumps(sys.argv[1:])
    except PalirsError as error:
        sys.exit(f"palirs: {error}")
    main()
