"""Tasks that turn model files into MACE's and back."""

from pathlib import Path

from palirs.learning.completed import complete_iterations
from palirs.learning.iterations import final_dipole_files
from palirs.mace.exchange import export_mace, import_mace
from palirs.mace.models.files import potential_files
from palirs.recipes import PalirsError
from palirs.study.session import Session
from palirs.study.task import task


@task(reads_only=True, engine=False)
def export_model(session: Session, weights: str | None, output: str) -> None:
    """Write models as ``.model`` files that MACE's calculator opens.

    Parameters
    ----------
    session : Session
        The study; its last committee and dipole models are taken unless a model is named.
    weights : str or None
        A palirs model file.
    output : str
        Directory, relative to the study directory.
    """
    directory = session.directory
    if weights is not None:
        files = [Path(weights)]
    elif not complete_iterations(directory):
        raise PalirsError(
            f"{directory}: no trained models here; run task=active_learning first, or give "
            "weights=<file>"
        )
    else:
        dipoles = final_dipole_files(directory, session.settings.committee.dipoles)
        files = [*potential_files(directory), *(file for file in dipoles if file.exists())]
    for file in files:
        written = directory / output / f"{file.stem}.model"
        export_mace(file, written)
        print(f"{file} -> {written}")


@task(lock=False, engine=False)
def import_model(session: Session, file: str, output: str, head: str | None) -> None:
    """Write a ``.model`` file of MACE as a palirs model file. This runs code from the file.

    Parameters
    ----------
    session : Session
        Not used but for its place.
    file : str
        The ``.model`` file.
    output : str
        File to write, ending in ``.safetensors``.
    head : str or None
        Which head of the model, if it has several.
    """
    if not output.endswith(".safetensors"):
        raise PalirsError(f"task.output = {output!r}: a palirs model file ends in .safetensors")
    shape = import_mace(file, output, head)
    print(f"{file} -> {output}: {shape.kind}, {shape.architecture}, elements {shape.elements}")
