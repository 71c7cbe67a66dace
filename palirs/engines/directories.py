"""Engines that read and write files, with a directory for each calculation."""

import hashlib
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path

from ase import Atoms
from ase.calculators.calculator import Calculator

from palirs.engines.base import Engine, EngineFailure, Properties
from palirs.recipes import recipe


def digest(files: Iterable[Path], names: bool = True) -> str:
    """Return a short digest of the contents, and optionally names, of files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update((file.name.encode() + b"\0" if names else b"") + file.read_bytes())
    return f"sha256:{digest.hexdigest()[:16]}"


@recipe
class DirectoryEngine(Engine):
    """An engine that reads and writes files in a directory for each calculation.

    Parameters
    ----------
    directory : str or None
        Parent of the directories of the calculations; ``None`` for the temporary directory of the
        system. On a cluster give one that the nodes can write to.
    keep : bool
        Keep the files of successful calculations too. Those of failed ones are always kept; the
        label store has their path.
    """

    directory: str | None = None
    keep: bool = False

    @abstractmethod
    def calculator_in(self, directory: Path) -> Calculator:
        """Make the calculator that works in ``directory``."""

    def calculator(self) -> Calculator:
        """Make a calculator in a new directory, for use outside palirs."""
        return self.calculator_in(self._new_directory("calculator"))

    def start(self) -> None:
        """Return nothing: each frame gets its own calculator."""

    def run(self, calculator: Calculator | None, atoms: Atoms) -> Properties:
        """Calculate one frame in a new directory; ``calculator`` is not used."""
        directory = self._new_directory(atoms.get_chemical_formula())
        try:
            properties = super().run(self.calculator_in(directory), atoms)
        except EngineFailure as failure:
            raise EngineFailure(
                f"{failure}; files in {directory}", failure.final or self.final(directory)
            ) from failure
        if not self.keep:
            shutil.rmtree(directory, ignore_errors=True)
        return properties

    def final(self, directory: Path) -> bool:
        """Tell from the files of a failed calculation whether a retry would fail."""
        return False

    def _new_directory(self, name: str) -> Path:
        if self.directory is not None:
            Path(self.directory).mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.directory)).resolve()
