"""A study: whose directory it is, and its resources while it runs."""

from palirs.study.identity import growth, molecules_of
from palirs.study.session import Session, open_session

__all__ = ["Session", "growth", "molecules_of", "open_session"]
