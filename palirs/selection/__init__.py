"""Which frames of an exploration are labelled. Pure functions and small recipes on arrays."""

from palirs.selection.candidates import Candidates
from palirs.selection.choices import Choice, Distant, MostUncertain, RandomFrames
from palirs.selection.selector import Selector

__all__ = ["Candidates", "Choice", "Distant", "MostUncertain", "RandomFrames", "Selector"]
