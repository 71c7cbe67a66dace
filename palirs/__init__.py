"""Infrared spectra of molecules from actively learned machine-learned potentials."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("palirs")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0+unknown"


def __getattr__(name: str):
    """Give :func:`palirs.predict` when it is asked for: the models take seconds to import."""
    if name == "predict":
        from palirs.predictor import predict

        return predict
    raise AttributeError(f"module 'palirs' has no attribute {name!r}")
