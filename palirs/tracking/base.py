"""What a tracker is, and the one that keeps nothing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from palirs.recipes import recipe


class Tracker(Protocol):
    """Where metrics and files go."""

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log numbers; ``step`` is the iteration."""
        ...

    def series(self, values: Sequence[tuple[int, Mapping[str, float]]]) -> bool:
        """Log numbers of many steps at once; ``False``: not yet, offer them again."""
        ...

    def artifact(self, path: Path, folder: str = "") -> None:
        """Log a file or directory."""
        ...

    def model(self, place: Path, name: str, description: str) -> None:
        """Log the directory of a predictor as a model, and register it under a name."""
        ...

    def dataset(self, path: Path, name: str, context: str, profile: str) -> None:
        """Log what was learnt from (``context`` "training") or tested on ("testing"); the profile is a line about it."""
        ...

    def describe(self, text: str) -> None:
        """Set the description of the run, in Markdown; ``{run}`` stands for its id."""
        ...

    def sweep(self, files: Sequence[Path], text: str) -> None:
        """Log files of the sweep that the run belongs to, and its description."""
        ...


@recipe
class Off:
    """No tracking."""

    @contextmanager
    def open(
        self, study: Path, name: str, parameters: Mapping[str, Any], sweep: str | None
    ) -> Iterator[Tracker]:
        """Return a tracker that keeps nothing."""
        yield Silent()


class Silent:
    """A tracker that keeps nothing."""

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Keep nothing."""

    def series(self, values: Sequence[tuple[int, Mapping[str, float]]]) -> bool:
        """Keep nothing."""
        return True

    def artifact(self, path: Path, folder: str = "") -> None:
        """Keep nothing."""

    def model(self, place: Path, name: str, description: str) -> None:
        """Keep nothing."""

    def dataset(self, path: Path, name: str, context: str, profile: str) -> None:
        """Keep nothing."""

    def describe(self, text: str) -> None:
        """Keep nothing."""

    def sweep(self, files: Sequence[Path], text: str) -> None:
        """Keep nothing."""
