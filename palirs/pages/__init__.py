"""HTML pages that people read: the report of a study, a sweep, several studies beside each other."""
