"""From composed settings to a checked study: types, home directories, what an older study says."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from palirs.cli.composing import plain
from palirs.cli.homes import with_homes
from palirs.cli.kinds import kinds
from palirs.cli.sweeps import job_directory, job_settings
from palirs.cli.values import with_types
from palirs.engines import EngineFailure
from palirs.recipes import PalirsError, explain
from palirs.settings import StudySettings
from palirs.settings.existing import kept_groups, values_before
from palirs.settings.targets import check_targets

SINGLE = ("temperature", "seed")
"""Settings of a study that are single values; the others are recipes."""
RECIPES = tuple(field.name for field in fields(StudySettings) if field.name not in SINGLE)
USUAL = "studies/<molecules>-<engine>"
"""Directory of a study that names none."""


def settled(config: DictConfig, typed: Iterable[str], flag: str = "") -> DictConfig:
    """Return composed settings with typed values as their keys take them, and homes for ``~``.

    Parameters
    ----------
    config : DictConfig
        Without the node ``hydra``.
    typed, flag
        As in :func:`palirs.cli.values.with_types`.
    """
    values = plain(config, resolve=False)
    values = with_homes(with_types(values, typed, kinds(values, StudySettings), flag))
    created = OmegaConf.create(values, flags={"struct": True})
    assert isinstance(created, DictConfig)
    return created


def build(config: DictConfig) -> StudySettings:
    """Turn settings into checked recipes, before anything is computed."""
    check_targets(plain(config))  # nothing that a file or the command line names is called before
    if left_out := [key for key in (*RECIPES, *SINGLE) if key not in config]:
        advice = f"choose another option, {left_out[0]}=…"
        raise PalirsError(f"~{left_out[0]}: a study cannot do without {left_out[0]}; {advice}")
    missing = OmegaConf.missing_keys(config)
    if missing:
        raise PalirsError(f"{', '.join(sorted(missing))}: needs a value, give it as key=value")
    recipes = {key: made(config[key], key) for key in RECIPES}
    try:
        return StudySettings(**recipes, **{key: config[key] for key in SINGLE})
    except ValidationError as error:
        raise PalirsError(explain(error, "")) from error


def made(node: DictConfig, place: str) -> Any:
    """Return what the ``_target_`` of a part of the settings makes.

    Raises
    ------
    PalirsError
        With the key, if a value is not allowed.
    """
    try:
        return instantiate(node, _convert_="object")
    except InstantiationException as error:
        full_key = re.search(r"full_key: (\S+)", str(error))
        key, cause = full_key.group(1) if full_key else place, error.__cause__
        if isinstance(cause, ValidationError):
            raise PalirsError(explain(cause, key)) from error
        if isinstance(cause, PalirsError):
            raise cause from error
        raise PalirsError(f"{key}: {cause or error}") from error


@contextmanager
def engine_failures() -> Iterator[None]:
    """Turn a failure of the engine into a mistake that the user is told of."""
    try:
        yield
    except EngineFailure as error:
        raise PalirsError(str(error)) from error


def continued(config: DictConfig) -> DictConfig:
    """Give ``study=<dir>`` the settings it was made with, where the command line has no others.

    ``group=option`` replaces a group, ``group.key=value`` one key of it; ``experiment=...``
    replaces everything.
    """
    given = [text.lstrip("+~").partition("=")[0] for text in job_settings()]
    file = made_before(config)
    if file is None or "experiment" in given:
        return config
    before = OmegaConf.load(file)
    assert isinstance(before, DictConfig)
    merged = config.copy()
    for group in (set(kept_groups()) - set(given)) & set(before):
        merged[group] = before[group]
        if isinstance(before[group], DictConfig):
            merged[group] = OmegaConf.merge(values_before(group), before[group])
        for key in given:
            if key.startswith(f"{group}."):
                OmegaConf.update(merged, key, OmegaConf.select(config, key), force_add=True)
    return merged


def made_before(config: DictConfig) -> Path | None:
    """Return the settings of the study that ``study=<dir>`` names, if it is there."""
    file = named_directory(config.study) / "config.yaml" if config.study is not None else None
    return file if file is not None and os.path.isfile(file) else None


def study_directory(config: DictConfig) -> Path:
    """Return the directory of this study; those of a sweep are named by what differs."""
    if config.study is not None:
        base = named_directory(config.study)
    else:
        engine = HydraConfig.get().runtime.choices["engine"]
        frames = config.task.get("frames")
        molecules = (config.molecules.get(key) or [] for key in ("names", "smiles", "files"))
        name = Path(frames).stem if isinstance(frames, str) else usual_name(*molecules)
        base = Path("studies") / f"{name}-{engine}"
    return job_directory(base)


def named_directory(study: Any) -> Path:
    """Return the directory that ``study=<dir>`` names.

    Raises
    ------
    PalirsError
        If it is no name.
    """
    name = str(study).strip()
    is_name = isinstance(study, str | int | float) and not re.search(r"[\x00-\x1f]", name)
    if not name or not is_name:
        raise PalirsError(f"study = {study!r}: it should name a directory; null for {USUAL}")
    if variable := re.match(r"\$(\w+)(?=/|\Z)", name):
        written = f"${{oc.env:{variable[1]}}}{name[variable.end() :]}"
        reason = f"a shell knows what ${variable[1]} is, outside of single quotes"
        raise PalirsError(f"study = {study!r}: {reason}; or write {written}")
    return Path(name.rstrip("/ ") or name)


def usual_name(names: Sequence[Any], smiles: Sequence[Any], files: Sequence[Any]) -> str:
    """Return a name for a study of these molecules, without the slashes that a SMILES has."""
    named = [str(text).partition(" ")[2] or str(text) for text in smiles]
    joined_names = "-".join(map(str, [*names, *named, *(Path(str(file)).stem for file in files)]))
    return re.sub(r"[^\w.,+=()#@\[\]-]", "_", joined_names.replace("\\", "-"))[:60]


def check_files(task: Mapping[str, Any]) -> None:
    """See that the file a task reads is there."""
    for key in ("frames", "file", "structures", "experiment"):
        path = task.get(key)
        if not isinstance(path, str | None):
            continue
        if path is None and key in task and key != "structures" and not task.get("check"):
            raise PalirsError(f"task.{key}: needs a value, the file to read")
        if path is not None and not os.path.isfile(path):
            raise PalirsError(f"task.{key} = {str(path)!r}: there is no such file")
