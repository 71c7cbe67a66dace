"""The identity of a study: settings and molecules that its results depend on, and its growth."""

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from palirs import keys
from palirs.engines.directories import digest
from palirs.labels import structure_key
from palirs.recipes import InStudy, PalirsError
from palirs.settings.existing import declaration, kept_groups
from palirs.settings.flat import flat

log = logging.getLogger(__name__)

FILE = "identity.json"
GROWN = "grown"
MOLECULE = "molecule "
"""Before the name of a molecule; its value is the start geometry."""
NUCLEI, BEADS = "sampler.nuclei", "sampler.beads"
CONTENT = " (content)"
"""After the key of a setting of an engine that names a model file; its value is a digest of it."""


def identity(resolved: dict, molecules: Sequence[Atoms]) -> dict[str, Any]:
    """Return what makes a study this one: flat settings, and each molecule by its start geometry.

    Parameters
    ----------
    resolved : dict
        The configuration as plain values.
    molecules : sequence of Atoms
        Start geometries.
    """
    settings = flat({name: resolved[name] for name in kept_groups() if name in resolved})
    own = {key: value for key, value in settings.items() if declaration(key).of_identity}
    starts = {
        f"{MOLECULE}{atoms.info[keys.MOLECULE]}": f"{atoms.symbols} {structure_key(atoms)}"
        for atoms in molecules
    }
    return own | starts | _contents(own)


def _contents(settings: dict[str, Any]) -> dict[str, str]:
    """Return digests of the model files of the engines, which may change under the same name."""
    return {
        f"{key}{CONTENT}": digest([Path(value)], names=False)
        for key, value in settings.items()
        if key.startswith(("engine.", "pretraining.engine."))
        and str(value).endswith(".model")
        and Path(value).is_file()
    }


def check_identity(
    directory: Path, identity: dict[str, Any], may_grow: bool, write: bool, iterations: int
) -> None:
    """Refuse to mix results of different settings in one directory; ``write`` the identity.

    A study may grow: more molecules, and more of the settings that are declared to grow. What was
    added, after how many iterations and when is written down under ``grown``.

    Raises
    ------
    PalirsError
        If settings differ otherwise, or the study would grow and may not.
    """
    file, grown, earlier = directory / FILE, [], {}
    if file.exists():
        earlier = json.loads(file.read_text())
        grown = earlier.pop(GROWN, [])
        changed = _changed(flat(earlier), identity)
        added = {key: now for key, (then, now) in changed.items() if _grows(key, then, now)}
        lines = [
            f"  {key}: {then} -> {now}" for key, (then, now) in changed.items() if key not in added
        ]
        if lines:
            raise PalirsError(
                f"study {directory} was made with other settings:\n" + "\n".join(lines) + "\n"
                "Give this one a directory of its own (study=<dir>), or go back to the old "
                "values to continue"
            )
        if added and not may_grow:
            raise PalirsError(
                f"study {directory} does not have {_words(added)}; run task=active_learning on "
                "it first to let it grow, or leave that out"
            )
        if added and write:
            log.info("study grows after %d iterations: %s", iterations, _words(added))
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            grown = [*grown, {"iterations": iterations, "time": now, **added}]
    if write:
        gone = {key: value for key, value in earlier.items() if key.endswith(CONTENT)}
        content = gone | identity | ({GROWN: grown} if grown else {})
        part = file.with_suffix(".part")
        part.write_text(json.dumps(content, indent=1, ensure_ascii=False))
        part.replace(file)


def growth(directory: Path) -> list[str]:
    """Say what was added to a study after it was begun, in order."""
    grown = json.loads((directory / FILE).read_text()).get(GROWN, [])
    return [f"{_words(entry)} after {entry['iterations']} iterations" for entry in grown]


def molecules_of(directory: Path) -> list[str]:
    """Return the names of the molecules of a study."""
    return _names(json.loads((directory / FILE).read_text()))


def _changed(earlier: dict[str, Any], identity: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the earlier and the present value of each setting of the identity that differs."""
    changed = {}
    for key in sorted({*earlier, *identity}):
        declared = declaration("molecule" if key.startswith(MOLECULE) else key)
        then, now = (values.get(key, declared.before) for values in (earlier, identity))
        if key.endswith(CONTENT) and None in (then, now):
            continue  # made before it was written down, or the file is not needed and not there
        if key == BEADS and earlier.get(NUCLEI, "classical") == "classical":
            continue  # nothing was done with them yet
        if then != now and declared.of_identity:
            changed[key] = (then, now)
    return changed


def _grows(key: str, then: Any, now: Any) -> bool:
    """Tell whether a setting only got more of what it had."""
    if key.startswith(MOLECULE):
        return then is None
    declared = declaration(key)
    if declared.meaning is not InStudy.GROWS or then is None or now is None:
        return False
    if isinstance(then, str):
        return then in declared.order[: declared.order.index(now)]
    return set(then) < set(now) if isinstance(then, list) else then < now


def _names(values: dict[str, Any]) -> list[str]:
    return [key.removeprefix(MOLECULE) for key in values if key.startswith(MOLECULE)]


def _words(added: dict[str, Any]) -> str:
    molecules = _names(added)
    settings = [
        f"{key}={value}"
        for key, value in added.items()
        if not key.startswith((MOLECULE, "iterations", "time"))
    ]
    return "; ".join([*([", ".join(molecules)] if molecules else []), *settings])
