"""What stands on the command line, before Hydra parses it.

Slips that it explains badly or not at all, and values that it cannot read.
"""

from palirs.settings.commandline.arguments import (
    check_files,
    directory,
    flags_first,
    places,
    short_forms,
    usual_name,
)
from palirs.settings.commandline.homes import with_homes, with_pairs
from palirs.settings.commandline.kinds import Takes, each_once, kinds
from palirs.settings.commandline.mistakes import in_words
from palirs.settings.commandline.readable import checked_params, job_directory, readable
from palirs.settings.commandline.values import Reading

__all__ = [
    "Reading",
    "Takes",
    "check_files",
    "checked_params",
    "directory",
    "each_once",
    "flags_first",
    "in_words",
    "job_directory",
    "kinds",
    "places",
    "readable",
    "short_forms",
    "usual_name",
    "with_homes",
    "with_pairs",
]
