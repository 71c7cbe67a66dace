"""Hydra's callback at the start of a sweep: all studies are checked before the first starts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import hydra
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from palirs.cli.configuration import build, engine_failures, settled
from palirs.cli.mistakes import explained
from palirs.cli.overrides import jobs, parse, readable
from palirs.cli.sweeps import typed_settings
from palirs.provenance import arguments
from palirs.recipes import PalirsError


class CheckedJobs(Callback):
    """Composes and builds every study of a sweep before the first of them starts.

    Hydra's own way to be told of a sweep; ``conf/config.yaml`` names it. Hydra turns an exception
    of a callback into a warning, so a mistake ends the program here.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check all jobs; end the program with a sentence for the first mistake."""
        params = dict(config.hydra.sweeper.get("params") or {})
        with explained(arguments()):
            check_jobs(params, config.hydra.overrides.task, kwargs["config_name"], arguments())


def check_jobs(
    params: Mapping[str, Any], settings: Sequence[str], name: str, typed: Sequence[str]
) -> None:
    """Build every study of a sweep and its molecules, unless it goes on with one that is there.

    Parameters
    ----------
    params : mapping
        What a prepared sweep varies.
    settings : sequence of str
        Of the command line, as Hydra reads them.
    name : str
        Of the primary config.
    typed : sequence of str
        The command line as it was typed.

    Raises
    ------
    PalirsError
        For the first mistake.
    """
    varied = [f"{key}={value}" for key, value in params.items()]
    for setting in varied:
        if parse(setting) is None:
            key, _, value = readable(setting, swept=True).partition("=")
            line = f"{key}: {json.dumps(value, ensure_ascii=False)}"
            mistake = f"this cannot be read; write {line}"
            raise PalirsError(f"hydra.sweeper.params.{setting}: {mistake}")
    for job in jobs([*varied, *settings]):
        config = settled(hydra.compose(name, overrides=job), typed_settings(job, typed), "-m ")
        if config.study is None:
            with engine_failures():
                build(config).checked_molecules()
