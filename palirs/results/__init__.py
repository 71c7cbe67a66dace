"""Results of studies, computed for the report and for comparisons."""

from palirs.results.study import StudyResults

__all__ = ["StudyResults"]
