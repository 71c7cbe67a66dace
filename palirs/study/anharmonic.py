"""Where a study keeps the anharmonic levels of its molecules."""

from pathlib import Path

from palirs.learning.completed import last_iteration


def directory_of(study: Path, molecule: str, by: str) -> Path:
    """Return the directory of a molecule's force fields and levels.

    Parameters
    ----------
    study : Path
        Directory of the study.
    molecule : str
        Name.
    by : {"committee", "engine"}
        Whose; the committee is that of the last iteration.
    """
    source = last_iteration(study).name if by == "committee" else by
    return study / "anharmonic" / f"{molecule}-{source}"
