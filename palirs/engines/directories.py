"""Engines that are programs of their own: every calculation in a directory of its own."""

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
    """Return a short digest of the contents, and names, of files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update((file.name.encode() + b"\0" if names else b"") + file.read_bytes())
    return f"sha256:{digest.hexdigest()[:16]}"


@recipe
class DirectoryEngine(Engine):
    """An engine that reads and writes files.

    Parameters
    ----------
    directory : str or None
        Where the directories of the calculations are made; ``None`` for the system's temporary
        directory. On a cluster give a place that the nodes can write.
    keep : bool
        Keep the files of calculations that succeeded too. Those of failed ones are always kept, and
        named in the label store.
    """

    directory: str | None = None
    keep: bool = False

    @abstractmethod
    def calculator_in(self, directory: Path) -> Calculator:
        """Make the calculator that works in ``directory``."""

    def calculator(self) -> Calculator:
        """Make a calculator in a directory of its own, for use outside palirs."""
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
        """Tell from the files of a failed calculation whether it would fail again."""
        return False

    def _new_directory(self, name: str) -> Path:
        if self.directory is not None:
            Path(self.directory).mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.directory)).resolve()
