"""Names of metrics as MLflow accepts them: it refuses commas, brackets and more."""

import hashlib
import re
from collections.abc import Iterable

REFUSED = re.compile(r"[^\w \-]")
"""What MLflow takes on some systems only (colons), or nowhere, within one part of a name; dots
separate parts."""
LONGEST = 80
"""Characters of a part; MLflow takes 250 for all parts of a name together."""


class Names:
    """The names of one run in MLflow: equal for equal names, different for different ones.

    ``spectrum.1,3-butadiene.pcc_ml_ref`` is ``spectrum.1_3-butadiene.pcc_ml_ref``. Where two
    molecules of a run would get one name, the second gets some digits more.

    Parameters
    ----------
    names : iterable of str
        To begin with; in the order in which they came, they are translated as they were before.
    """

    def __init__(self, names: Iterable[str] = ()):
        self._accepted: dict[str, str] = {}
        self._original: dict[str, str] = {}
        for name in names:
            self.accepted(name)

    def accepted(self, name: str) -> str:
        """Return the name in MLflow of a metric or parameter."""
        return ".".join(self._part(part) for part in name.split("."))

    def original(self, name: str) -> str:
        """Return what was given to :meth:`accepted`."""
        return ".".join(self._original.get(part, part) for part in name.split("."))

    @property
    def changed(self) -> dict[str, str]:
        """Parts of names in MLflow that differ from what they stand for, and that."""
        return {accepted: part for accepted, part in self._original.items() if accepted != part}

    def _part(self, part: str) -> str:
        if part not in self._accepted:
            plain = REFUSED.sub("_", part)[:LONGEST].strip() or "_"
            if self._original.get(plain, part) != part:
                plain = f"{plain}_{hashlib.sha256(part.encode()).hexdigest()[:8]}"
            self._accepted[part], self._original[plain] = plain, part
        return self._accepted[part]
