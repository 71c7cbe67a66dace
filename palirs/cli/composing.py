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
from palirs.recipes import PalirsError


def compose(
    settings: Sequence[str],
    name: str = "config",
    folder: Path | None = None,
    *,
    with_hydra: bool = False,
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
    with_hydra : bool
        Keep the settings of Hydra itself, under ``hydra``.
    """
    home, other = (
        (folder, CONF) if folder and not (CONF / f"{name}.yaml").is_file() else (CONF, folder)
    )
    search = [f"hydra.searchpath=[file://{other}]"] if other else []
    GlobalHydra.instance().clear()  # of a run that ends here with a mistake
    with hydra.initialize_config_dir(str(home), version_base="1.3"):
        return hydra.compose(name, overrides=[*search, *settings], return_hydra_config=with_hydra)


def check_plugins(arguments: Arguments) -> None:
    """Refuse a launcher, sweeper or callback that is not Hydra's, one of its plug-ins, or ours.

    Those that are typed one by one are checked as they are read; this looks at whole nodes, which
    come from a directory of settings or between braces.

    Raises
    ------
    PalirsError
        With the key.
    """
    nodes = [text for text in arguments.settings if text.lstrip("+").startswith("hydra")]
    if not arguments.folder and not any("{" in text for text in nodes):
        return
    chosen = [text for text in arguments.settings if not is_swept(text)]
    node = compose(chosen, arguments.name, arguments.folder, with_hydra=True).hydra
    callbacks = (f"callbacks.{name}" for name in node.get("callbacks") or {})
    for part in ("launcher", "sweeper", *callbacks):
        target = str(OmegaConf.select(node, f"{part}._target_") or "hydra.")
        if not target.startswith(("hydra.", "hydra_plugins.", "palirs.cli.")):
            allowed = "it should be one of Hydra's own or of its plug-ins"
            raise PalirsError(f"hydra.{part}._target_ = {target!r}: {allowed}")


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
