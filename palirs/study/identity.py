"""Whose study a directory is: the settings that its results depend on, written down when it is made, and what came to it later."""

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from palirs import keys
from palirs.labels import structure_key
from palirs.recipes import PalirsError
from palirs.settings.flat import flat

log = logging.getLogger(__name__)

SETTINGS = (
    "engine",
    "model",
    "training",
    "pretraining",
    "initial",
    "sampler",
    "selector",
    "committee",
    "seed",
)
"""Settings that the results of a study directory depend on: they may not change between runs on it.
The length of the loop, spectra, temperature, executor and tracker may."""
FREE = (".backend", ".device", ".save_interval")
"""Endings of keys of trainings that may change between runs of a study: they say where and how
fast, not what."""
NEWER = {"molecules.complexes": False, "learning.split": "frames"}
"""Settings that did not exist when some studies were made, and what they were then."""
GROWING = ("active_learning", "study")
"""Tasks that take more molecules, temperatures or replicas into a study."""
GROWN = "grown"


def identity(resolved: dict, molecules: Sequence[Atoms]) -> dict[str, Any]:
    """Return what makes a study this one: flat settings, and each molecule by its start geometry.

    Parameters
    ----------
    resolved : dict
        The configuration as plain values.
    molecules : sequence of Atoms
        Start geometries.
    """
    told = {
        f"{group}.{name}": value
        for group in ("molecules", "learning")
        for name, value in resolved[group].items()
    }
    mine = flat({key: resolved[key] for key in SETTINGS}) | {
        key: told.get(key, usual) for key, usual in NEWER.items()
    }
    return mine | {
        f"molecule {atoms.info[keys.MOLECULE]}": f"{atoms.symbols} {structure_key(atoms)}"
        for atoms in molecules
    }


def claim(directory: Path, mine: dict[str, Any], task: str, write: bool, iterations: int) -> None:
    """Refuse to mix results of different settings in one directory; with ``write`` say whose it is.

    A study may grow: more molecules, more temperatures or replicas of the exploration. What came,
    after how many iterations and when is written down under ``grown``.

    Raises
    ------
    PalirsError
        If settings differ otherwise, or a task other than :data:`GROWING` is given more than the
        study has.
    """
    file, grown = directory / "identity.json", []
    if file.exists():
        theirs = NEWER | json.loads(file.read_text())
        grown = theirs.pop(GROWN, [])
        changed = {
            key: (theirs.get(key), mine.get(key))
            for key in sorted({*mine, *theirs})
            if mine.get(key) != theirs.get(key)
        }
        changed = {key: pair for key, pair in changed.items() if not _free(key)}
        more = {key: mine[key] for key, pair in changed.items() if _more(key, *pair)}
        if set(more) != set(changed):
            lines = "\n".join(
                f"  {key}: {then} -> {now}"
                for key, (then, now) in changed.items()
                if key not in more
            )
            raise PalirsError(
                f"study {directory} was made with other settings:\n{lines}\n"
                f"Give this one a directory of its own (study=<dir>), or go back to the old values to continue"
            )
        if more and task not in GROWING:
            raise PalirsError(
                f"study {directory} does not have {_words(more)}; run task=active_learning on it first to let it grow, or leave that out"
            )
        if more and write:
            log.info("study grows after %d iterations: %s", iterations, _words(more))
            grown = [
                *grown,
                {"iterations": iterations, "time": time.strftime("%Y-%m-%d %H:%M:%S"), **more},
            ]
    if write:
        part = file.with_suffix(".part")
        part.write_text(
            json.dumps(mine | ({GROWN: grown} if grown else {}), indent=1, ensure_ascii=False)
        )
        part.replace(file)


def growth(directory: Path) -> list[str]:
    """Say what came to a study after it was begun, in the order in which it came."""
    grown = json.loads((directory / "identity.json").read_text()).get(GROWN, [])
    return [f"{_words(entry)} after {entry['iterations']} iterations" for entry in grown]


def molecules_of(directory: Path) -> list[str]:
    """Return the names of the molecules of a study."""
    known = json.loads((directory / "identity.json").read_text())
    return [key.partition(" ")[2] for key in known if key.startswith("molecule ")]


def _more(key: str, then: Any, now: Any) -> bool:
    """Tell whether a setting only got more of what it had."""
    if key.startswith("molecule "):
        return then is None
    if key == "sampler.temperatures":
        return set(then) < set(now)
    return key == "sampler.replicas" and then < now


def _words(more: dict[str, Any]) -> str:
    molecules = [key.partition(" ")[2] for key in more if key.startswith("molecule ")]
    return "; ".join(
        [
            *([", ".join(molecules)] if molecules else []),
            *(f"{k}={v}" for k, v in more.items() if k.startswith("sampler.")),
        ]
    )


def _free(key: str) -> bool:
    return key.startswith(("training.", "pretraining.training.")) and key.endswith(FREE)
