"""What a tracker is, and the one that keeps nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from palirs.recipes import recipe


class Tracker(Protocol):
    """Shows a study elsewhere: its metrics and what lies in its directory."""

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log numbers; ``step`` is the iteration."""
        ...

    def describe(self, text: str) -> None:
        """Set the description of the study, in Markdown; ``{run}`` stands for the run's id."""
        ...

    def stage_ended(self, stage: str, done: Mapping[str, float]) -> None:
        """Look for new files: a listener of :class:`palirs.journal.Journal`."""
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

    def describe(self, text: str) -> None:
        """Keep nothing."""

    def stage_ended(self, stage: str, done: Mapping[str, float]) -> None:
        """Look for nothing."""
