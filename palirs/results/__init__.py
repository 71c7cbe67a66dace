"""Results of studies, computed for the report and for comparisons."""

from palirs.results.study import Findings

__all__ = ["Findings"]
