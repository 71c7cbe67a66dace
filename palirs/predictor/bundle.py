"""The files of a predictor: models, the molecules they learnt, and errors of the models.

Reading them runs no code.
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms

from palirs.mace.models.files import potential_files
from palirs.molecules import read_frames
from palirs.recipes import PalirsError
from palirs.version import VERSION

ABOUT, LEARNT = "predictor.json", "molecules.xyz"
FORMAT = 1


@dataclass(frozen=True)
class Predictor:
    """A predictor on the disk.

    Attributes
    ----------
    directory : Path
        With ``potential-K.safetensors``, ``dipole-K.safetensors``, ``predictor.json`` and
        ``molecules.xyz``.
    about : dict
        ``engine``, ``elements``, ``temperatures`` of the exploration [K], ``calibration`` (error
        over disagreement of the forces on frames that were not learnt), ``spectrum`` (time step,
        friction and so on), and errors of the models.
    """

    directory: Path
    about: dict[str, Any]

    @property
    def source(self) -> tuple[Path, tuple[Path, ...]]:
        """Committee and dipole models, for production MD."""
        return self.directory, self.dipole_files

    @property
    def dipole_files(self) -> tuple[Path, ...]:
        """Files of the dipole models."""
        return tuple(sorted(self.directory.glob("dipole-*.safetensors")))

    @property
    def learnt(self) -> list[Atoms]:
        """The molecules that were learnt, at their optima."""
        return read_frames(self.directory / LEARNT)


def write_predictor(
    directory: Path,
    potentials: Sequence[Path],
    dipoles: Sequence[Path],
    learnt: Sequence[Atoms],
    about: Mapping[str, object],
) -> Predictor:
    """Write a predictor to a directory atomically; an older one is replaced.

    Parameters
    ----------
    directory : Path
    potentials, dipoles : sequences of Path
        Model files.
    learnt : sequence of Atoms
        The molecules of the study at their optima.
    about : mapping
        See :class:`Predictor`.
    """
    part = directory.with_name(directory.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for kind, files in (("potential", potentials), ("dipole", dipoles)):
        for number, file in enumerate(files):
            shutil.copyfile(file, part / f"{kind}-{number}.safetensors")
    ase.io.write(part / LEARNT, list(learnt), format="extxyz")
    (part / ABOUT).write_text(
        json.dumps({"format": FORMAT, "palirs": VERSION, **about}, indent=1, ensure_ascii=False)
    )
    shutil.rmtree(directory, ignore_errors=True)
    part.rename(directory)
    return Predictor(directory, dict(about))


def open_predictor(where: str | Path) -> Predictor:
    """Open a predictor.

    Parameters
    ----------
    where : str or Path
        Its directory, a study that has one, or an MLflow model (``models:/name/1``,
        ``runs:/<id>/predictor``).

    Raises
    ------
    PalirsError
        If there is none, or one of another version of the format.
    """
    if isinstance(where, str) and re.match(r"(models|runs|mlflow-artifacts):/", where):
        from palirs.tracking import download  # MLflow takes seconds to import

        where = download(where)
    base = Path(where)
    candidates = (base, base / "predictor", base / "artifacts" / "predictor")
    directory = next((each for each in candidates if (each / ABOUT).is_file()), None)
    if directory is None:
        raise PalirsError(
            f"model = {str(where)!r}: there is no predictor; give a study that has run to its "
            "spectra, its directory predictor, or models:/<name>/<version>"
        )
    about = json.loads((directory / ABOUT).read_text())
    if about.get("format") != FORMAT:
        raise PalirsError(
            f"{directory}: written by palirs {about.get('palirs')}, which has another format of "
            f"predictors; this is {VERSION}"
        )
    potential_files(directory)
    return Predictor(directory, about)
