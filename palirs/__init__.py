"""Infrared spectra of molecules from actively learned machine-learned potentials."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("palirs")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0+unknown"
