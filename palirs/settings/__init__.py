"""Recipes of a study: what its configuration may say, with types, ranges and units.

Importing them needs neither torch nor mace, so a mistake in the configuration is found in a second.
Recipes of engines, executors, selectors, trackers and models stand beside what they make.
"""

from palirs.settings.learning import CommitteeSize, Labels, Learning, Models, Pretraining, Trainings
from palirs.settings.md import MD, Sampler
from palirs.settings.spectroscopy import Spectroscopy
from palirs.settings.study import Executors, StudySettings

__all__ = [
    "MD",
    "CommitteeSize",
    "Executors",
    "Labels",
    "Learning",
    "Models",
    "Pretraining",
    "Sampler",
    "Spectroscopy",
    "StudySettings",
    "Trainings",
]
