"""Settings composed beside a run: to explain them, or a mistake in them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from palirs.cli.arguments import CONF, Arguments, is_group
from palirs.cli.overrides import is_swept


def compose(
    settings: Sequence[str], name: str = "config", folder: Path | None = None
) -> DictConfig:
    """Return the composed settings of one study.

    Parameters
    ----------
    settings : sequence of str
        As Hydra reads them, without several values.
    name : str
        Of the primary config.
    folder : Path, optional
        Directory that is searched besides.
    """
    home, other = (
        (folder, CONF) if folder and not (CONF / f"{name}.yaml").is_file() else (CONF, folder)
    )
    search = [f"hydra.searchpath=[file://{other}]"] if other else []
    GlobalHydra.instance().clear()  # of a run that ends here with a mistake
    with hydra.initialize_config_dir(str(home), version_base="1.3"):
        return hydra.compose(name, overrides=[*search, *settings])


def plain(config: DictConfig, resolve: bool = True) -> dict[str, Any]:
    """Return composed settings as plain values."""
    values = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def known_keys(arguments: Arguments) -> list[str]:
    """Return the keys that there are with the options that a command line chooses."""
    chosen = [
        text
        for text in arguments.settings
        if is_group(re.split("[=@]", text.lstrip("+"))[0]) and not is_swept(text)
    ]
    try:
        config = compose(chosen, arguments.name, arguments.folder)
    except HydraException:  # one of them is not there
        config = compose([])
    return list(_keys(plain(config, resolve=False)))


def _keys(settings: Mapping[str, Any], parent: str = "") -> Iterator[str]:
    for key, value in settings.items():
        yield f"{parent}{key}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{parent}{key}.")


def groups() -> dict[str, list[str]]:
    """Return the groups with their options."""
    options: dict[str, list[str]] = {}
    for file in sorted(CONF.glob("*/*.yaml")):
        options.setdefault(file.parent.name, []).append(file.stem)
    return options
