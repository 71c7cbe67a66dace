"""What the command line does before anything is computed, without a process of its own."""

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

from palirs.cli.arguments import CONF, Arguments, read_arguments
from palirs.cli.callback import check_jobs
from palirs.cli.composing import compose
from palirs.cli.configuration import build, check_files, settled
from palirs.cli.mistakes import explained


def written(*arguments) -> list[str]:
    """Return the settings of a command line as Hydra reads them."""
    read = read_arguments(arguments)
    return read.written()[len(read.flags) :]


def composed(*arguments) -> DictConfig:
    """Return the settings that the recipes of a study are built from."""
    read = read_arguments(arguments)
    return settled(compose(written(*arguments), read.name, read.folder), read.settings)


def built(*arguments):
    return build(composed(*arguments))


def check_all(*arguments) -> None:
    """Check a command line as far as nothing is computed; a sweep, as its callback does."""
    read = read_arguments(arguments)
    if read.swept:
        check_sweep(read, written(*arguments))
        return
    config = composed(*arguments)
    study = build(config)
    study.check_devices()
    study.checked_molecules()
    check_files(config.task)


def check_sweep(read: Arguments, settings) -> None:
    folder = str(read.folder or CONF)
    search = [f"hydra.searchpath=[file://{CONF}]"]
    with hydra.initialize_config_dir(folder, version_base="1.3"):
        config = hydra.compose(read.name, overrides=search, return_hydra_config=True)
        params = OmegaConf.to_container(config.hydra.sweeper).get("params") or {}
        check_jobs(params, [*search, *settings], read.name, read.settings)


def mistake(*arguments) -> str:
    """Return what a user is told of a mistake."""
    with pytest.raises(SystemExit) as error, explained(arguments):
        check_all(*arguments)
    return str(error.value)
