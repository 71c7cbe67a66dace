"""Labels: frames × engine × executor -> labelled frames, each paid for once and kept."""

from palirs.labels.labeller import Labeller, attach
from palirs.labels.record import structure_key
from palirs.labels.store import LabelStore

__all__ = ["LabelStore", "Labeller", "attach", "structure_key"]
