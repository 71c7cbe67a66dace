"""What a study came to, computed for its report and for comparisons with other studies."""

from palirs.results.study import Findings

__all__ = ["Findings"]
