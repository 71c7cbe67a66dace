"""The spectra of a study."""

from pathlib import Path

from palirs.learning.completed import last_iteration
from palirs.learning.iterations import final_dipole_files
from palirs.recipes import PalirsError
from palirs.report.comparison import Shelf
from palirs.study.session import Session


def spectra_of(session: Session, temperature: float) -> Shelf:
    """Return the spectra of a study at a temperature [K]."""
    return Shelf(session.directory, session.settings.spectrum, temperature, session.names)


def models_of(session: Session) -> tuple[Path, tuple[Path, ...]]:
    """Return the directory of the last iteration, and the files of its dipole models.

    Raises
    ------
    PalirsError
        If there are none.
    """
    last = last_iteration(session.directory)
    files = final_dipole_files(session.directory, session.settings.committee.dipoles)
    if not all(file.exists() for file in files):
        raise PalirsError(
            f"{session.directory}: no dipole model for iteration {last.name}; run task=dipole first"
        )
    return last, files
