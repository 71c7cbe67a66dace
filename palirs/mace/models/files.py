"""Model files: weights in safetensors, everything else as JSON in the header of the same file.

Reading one runs no code.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from palirs.mace.models.committee import Committee
from palirs.mace.models.dipole import DipoleModel, DipoleNetwork, DipoleShape
from palirs.mace.models.learnt import ELECTRONS
from palirs.mace.models.potential import PotentialShape
from palirs.mace.models.shape import Shape
from palirs.recipes import PalirsError

FORMAT = "palirs-1"
_SHAPES: dict[str, type[Shape]] = {"potential": PotentialShape, "dipole": DipoleShape}


def save(
    path: Path, shape: Shape, module: torch.nn.Module, learnt: Mapping[str, Any] | None = None
) -> None:
    """Write a module atomically: the file is complete or absent.

    Parameters
    ----------
    path : Path
        File to write.
    shape : Shape
        What describes the module.
    module : torch.nn.Module
        Its weights are written.
    learnt : mapping, optional
        What :func:`~palirs.mace.models.learnt.stated` says of the frames that it has learnt, for
        the header.
    """
    weights = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in module.state_dict().items()
    }
    part = path.with_name(path.name + ".part")
    about = shape.as_dict() | dict(learnt or {})
    # one key, so that equal models are equal files
    save_file(weights, part, metadata={FORMAT: json.dumps(about)})
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


def read(path: Path) -> tuple[Shape, torch.nn.Module]:
    """Return shape and module of one model file.

    Raises
    ------
    PalirsError
        If the file is missing, is not a palirs model file, or its weights do not fit its own
        description.
    """
    description, weights = _contents(path)
    description.pop(ELECTRONS, None)
    shape = _SHAPES[description["kind"]].from_dict(description)
    module = shape.unfilled()
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise PalirsError(
            f"model file {path}: the weights do not fit the architecture in its header: {error}"
        ) from error
    return shape, module


def header(path: Path) -> dict[str, Any]:
    """Return what a model file says of itself; errors as of :func:`read`."""
    return _contents(path, weights=False)[0]


def _contents(path: Path, weights: bool = True) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return header and weights of a model file."""
    if not path.is_file():
        raise PalirsError(f"model file {path}: there is no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = list(file.keys()) if weights else []
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise PalirsError(f"model file {path}: not a safetensors file ({error})") from error
    if FORMAT not in metadata:
        raise PalirsError(
            f"model file {path}: its header has no {FORMAT!r}, only {sorted(metadata)}; "
            "it was not written by palirs"
        )
    return json.loads(metadata[FORMAT]), tensors


def load_committee(path: str | Path) -> Committee:
    """Load a committee.

    Parameters
    ----------
    path : path
        The file of one member; or a directory: an iteration with ``potential-*.safetensors``, or a
        study, whose last complete iteration is taken.

    Raises
    ------
    PalirsError
        If there is none.
    """
    files = potential_files(Path(path)) if Path(path).is_dir() else [Path(path)]
    members = []
    for file in files:
        shape, module = read(file)
        if not isinstance(shape, PotentialShape):
            raise PalirsError(f"{file}: a {shape.kind} model, not a potential")
        members.append((shape, module))
    return Committee.of(members)


def load_dipole_model(paths: str | Path | Sequence[Path]) -> DipoleModel:
    """Load a dipole model, or several that differ by seed as one.

    Raises
    ------
    PalirsError
        If a file holds something else.
    """
    files = [Path(paths)] if isinstance(paths, (str, Path)) else paths
    members = []
    for file in files:
        shape, module = read(file)
        if not (isinstance(shape, DipoleShape) and isinstance(module, DipoleNetwork)):
            raise PalirsError(f"{file}: not a dipole model; remove the file to train one")
        members.append((shape, module))
    return DipoleModel(*members)


def load(path: str | Path) -> Committee | DipoleModel:
    """Load a committee or a dipole model, whichever is there."""
    path = Path(path)
    if path.is_file() and read(path)[0].kind == DipoleShape.kind:
        return load_dipole_model(path)
    return load_committee(path)


def dipole_files(directory: Path, count: int) -> tuple[Path, ...]:
    """Return the paths of ``count`` dipole models in an iteration directory."""
    return tuple(directory / f"dipole-{member}.safetensors" for member in range(count))


def potential_files(directory: Path) -> list[Path]:
    """Return the potentials in an iteration directory or of the last iteration of a study.

    Raises
    ------
    PalirsError
        If there are none.
    """
    iterations = sorted(
        child for child in (directory / "iterations").glob("*") if re.fullmatch(r"\d+", child.name)
    )
    folder = iterations[-1] if iterations else directory
    files = sorted(
        folder.glob("potential-*.safetensors"), key=lambda file: int(file.stem.rpartition("-")[2])
    )
    if not files:
        raise PalirsError(
            f"{directory}: no trained committee here (potential-0.safetensors, ...); "
            "run task=active_learning first"
        )
    return files
