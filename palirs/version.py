"""Which version this is."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("palirs")
except PackageNotFoundError:  # run from a checkout that is not installed
    VERSION = "0+unknown"
