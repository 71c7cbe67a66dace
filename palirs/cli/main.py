"""The command: reads its arguments, lets Hydra compose, opens the study, runs the task."""

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig, OmegaConf

from palirs.cli.arguments import CONF, Arguments, read_arguments
from palirs.cli.composing import check_plugins, compose, groups, plain
from palirs.cli.mistakes import explained
from palirs.cli.overrides import is_swept
from palirs.provenance import COMMAND_LINE, arguments
from palirs.recipes import PalirsError
from palirs.tasks import declared

if TYPE_CHECKING:
    from palirs.settings import StudySettings
    from palirs.settings.manual import Entry

log = logging.getLogger(__name__)


def main() -> None:
    """Run the command line."""
    with explained(sys.argv[1:]):
        typed = read_arguments(sys.argv[1:])
        check_plugins(typed)
        sys.argv[1:] = typed.written()
        if typed.help:
            from palirs.settings.manual import overview

            print(overview(*explanations(typed)))
            return
        os.environ[COMMAND_LINE] = json.dumps([sys.argv[0], *typed.flags, *typed.settings])
        os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises instead of printing
        run()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def run(config: DictConfig) -> float | None:
    """Run the task of one study; return its headline error, for sweepers that optimise it.

    That is the mean absolute error of the harmonic frequencies after the last iteration [cm⁻¹].
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _stop)
    with explained(arguments()):
        return _run(config)


def _stop(number: int, frame: object) -> None:
    """Stop as by Ctrl-C when a scheduler says that time is up: workers end, MLflow is told."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt(" by SIGTERM")


def _run(config: DictConfig) -> float | None:
    """Build every recipe, open the study, run the task."""
    from palirs.cli.configuration import (
        build,
        continued,
        engine_failures,
        settled,
        study_directory,
    )
    from palirs.cli.sweeps import is_sweep, job_settings, sweep_name, typed_settings

    job = job_settings() if is_sweep() else None
    config = continued(settled(config, typed_settings(job, arguments()), "-m " if job else ""))
    directory, sweep = study_directory(config), sweep_name()
    if sweep and config.labels.store is None and not os.path.exists(directory / "labels.db"):
        config.labels.store = str(directory.parent / "labels.db")  # one for all studies of a sweep
    with engine_failures():
        _open_and_run(build(config), config, directory, sweep)
    return headline_error(directory)


def _open_and_run(
    study: "StudySettings", config: DictConfig, directory: Path, sweep: str | None
) -> None:
    """Check what a study needs, open it and run its task."""
    from palirs.cli.configuration import check_files, made, made_before

    name = str(config.task._target_).rpartition(".")[2]
    study.check_devices()
    reads_only = made_before(config) is not None and not declared(name).engine
    molecules = study.checked_molecules(calculating=not reads_only)
    check_files(config.task)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"this directory cannot be made ({error.strerror})"
        raise PalirsError(f"study = {str(directory)!r}: {reason}") from error
    from palirs.study.session import open_session  # after everything was checked

    task = made(config.task, "task")
    log.info("study %s", directory)
    resolved, yaml = plain(config), OmegaConf.to_yaml(config, resolve=True)
    with open_session(
        study, molecules, directory, resolved, yaml, declared(name), sweep=sweep
    ) as session:
        task(session)
        if sweep:
            from palirs.tasks.sweeps import summarise_sweep

            summarise_sweep(session, sweep)


def headline_error(directory: Path) -> float | None:
    """Return the error that a sweep may minimise, of the last iteration of a study [cm⁻¹]."""
    from palirs.learning.completed import complete_iterations

    iterations = complete_iterations(directory)
    if not iterations:
        return None
    record = json.loads((iterations[-1] / "metrics.json").read_text(encoding="utf-8"))
    return record["metrics"].get("harmonic.mae_cm1")


def explanations(typed: Arguments) -> "tuple[dict[str, list[str]], list[Entry]]":
    """Return the groups with their options, and the values that a command line chooses."""
    from palirs.cli.kinds import recipe_or_task
    from palirs.settings import StudySettings
    from palirs.settings.manual import entries

    settings = typed.written()[len(typed.flags) :]
    chosen = [text for text in settings if not is_swept(text)]
    config = compose(chosen, typed.name, typed.folder)
    return groups(), list(entries(plain(config), recipe_or_task, target=StudySettings))
