"""HTML pages: the report of a study, and comparisons of several studies."""
