"""The checkpoint of a training: one file beside its log."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from palirs import keys
from palirs.mace.settings import Training
from palirs.mace.training.optimisers import Optimiser

_log = logging.getLogger(__name__)


@dataclass
class Progress:
    """Counters of a training after an epoch, written as JSON beside tensors and optimiser.

    With ``schedule=doubling``: which length it is at, epochs on the trunk, epochs left of a decay,
    the best validation error when the length before was over, and optimiser and random state where
    the branch began.
    """

    epoch: int = 0
    best: float = float("inf")
    since: int = 0
    late: bool = False
    seconds: float = 0.0
    random: Any = None
    cycle: int = 0
    trunk: int = 0
    decaying: int = 0
    before: float = float("inf")
    branch: Any = None


class ResumeFile:
    """The checkpoint of a training, with the suffix ``.resume`` beside its log.

    It is read only if it belongs to the same model, data, settings and number of threads; the
    caller removes it when the model is written.
    """

    def __init__(
        self,
        log: Path,
        model: torch.nn.Module,
        data: Sequence[Sequence[Atoms]],
        training: Training,
        seed: int,
    ):
        self._log, self._file = log, log.with_suffix(".resume")
        settings = replace(training, save_interval=0.0)
        digest = sha256(repr((settings, seed, torch.get_num_threads(), torch.__version__)).encode())
        for value in model.state_dict().values():
            digest.update(value.detach().cpu().numpy().tobytes())
        for frames in data:
            for atoms in frames:
                for values in (
                    atoms.numbers,
                    atoms.positions,
                    atoms.info.get(keys.ENERGY),
                    atoms.arrays.get(keys.FORCES),
                ):
                    digest.update(np.asarray(values, dtype=float).tobytes())
                digest.update(np.asarray(atoms.info.get(keys.DIPOLE, 0.0), dtype=float).tobytes())
        self._identity = digest.hexdigest()

    def write(self, tensors: dict[str, Tensor], at: Progress, optimiser: Optimiser) -> None:
        """Write atomically."""
        state, settings = optimiser.state()
        part = self._file.with_name(self._file.name + ".part")
        values = {
            name: value.detach().cpu().contiguous() for name, value in {**tensors, **state}.items()
        }
        metadata = {
            "identity": self._identity,
            "progress": json.dumps(at.__dict__),
            "optimiser": settings,
        }
        save_file(values, part, metadata=metadata)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(self._file)

    def read(self) -> tuple[dict[str, Tensor], Progress, str] | None:
        """Return tensors, progress and optimiser state, or ``None`` without a valid checkpoint."""
        if not self._file.exists():
            self._log.unlink(missing_ok=True)
            return None
        with safe_open(self._file, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("identity") != self._identity:
                _log.warning(
                    "%s belongs to another model, data, settings or number of threads; "
                    "training starts anew",
                    self._file,
                )
                self._log.unlink(missing_ok=True)
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        return tensors, Progress(**json.loads(metadata["progress"])), metadata["optimiser"]

    def log(self, entry: dict[str, float]) -> None:
        """Add an epoch to the log."""
        with self._log.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def history(self, epochs: int) -> list[dict[str, float]]:
        """Return the log of the first ``epochs`` epochs, and remove what came after them."""
        lines = self._log.read_text().splitlines()[:epochs]
        part = self._log.with_name(self._log.name + ".part")
        part.write_text("".join(line + "\n" for line in lines))
        part.replace(self._log)
        return [json.loads(line) for line in lines]
