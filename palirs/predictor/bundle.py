"""The files of a predictor: model files, what they learnt from, and how far they can be trusted.

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
    place : Path
        Directory with ``potential-K.safetensors``, ``dipole-K.safetensors``, ``predictor.json`` and
        ``molecules.xyz``.
    about : dict
        ``engine``, ``elements``, ``temperatures`` of the exploration [K], ``calibration`` (error
        over disagreement of the forces on frames that were not learnt), ``spectrum`` (time step,
        friction and so on), and errors of the models.
    """

    place: Path
    about: dict[str, Any]

    @property
    def source(self) -> tuple[Path, tuple[Path, ...]]:
        """What production MD takes its forces and dipoles from."""
        return self.place, tuple(sorted(self.place.glob("dipole-*.safetensors")))

    @property
    def learnt(self) -> list[Atoms]:
        """The molecules that were learnt, at their optima."""
        return read_frames(self.place / LEARNT)


def write_predictor(
    place: Path,
    potentials: Sequence[Path],
    dipoles: Sequence[Path],
    learnt: Sequence[Atoms],
    about: Mapping[str, Any],
) -> Predictor:
    """Write a predictor to a directory, which appears as a whole; one that was there is replaced.

    Parameters
    ----------
    place : Path
        Directory.
    potentials, dipoles : sequences of Path
        Model files.
    learnt : sequence of Atoms
        The molecules of the study at their optima.
    about : mapping
        See :class:`Predictor`.
    """
    part = place.with_name(place.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for kind, files in (("potential", potentials), ("dipole", dipoles)):
        for number, file in enumerate(files):
            shutil.copyfile(file, part / f"{kind}-{number}.safetensors")
    ase.io.write(part / LEARNT, list(learnt), format="extxyz")
    (part / ABOUT).write_text(
        json.dumps({"format": FORMAT, "palirs": VERSION, **about}, indent=1, ensure_ascii=False)
    )
    shutil.rmtree(place, ignore_errors=True)
    part.rename(place)
    return Predictor(place, dict(about))


def open_predictor(where: str | Path) -> Predictor:
    """Open a predictor: its directory, a study that has one, or an MLflow model (``models:/name/1``, ``runs:/<id>/predictor``).

    Raises
    ------
    PalirsError
        If there is none, or one of another version of the format.
    """
    if isinstance(where, str) and re.match(r"(models|runs|mlflow-artifacts):/", where):
        from palirs.tracking import download  # MLflow takes seconds to import

        where = download(where)
    places = [Path(where), Path(where) / "predictor", Path(where) / "artifacts" / "predictor"]
    place = next((one for one in places if (one / ABOUT).is_file()), None)
    if place is None:
        raise PalirsError(
            f"model = {str(where)!r}: there is no predictor; give a study that has run to its spectra, its directory predictor, or "
            f"models:/<name>/<version>"
        )
    about = json.loads((place / ABOUT).read_text())
    if about.get("format") != FORMAT:
        raise PalirsError(
            f"{place}: written by palirs {about.get('palirs')}, which has another format of predictors; this is {VERSION}"
        )
    potential_files(place)
    return Predictor(place, about)
