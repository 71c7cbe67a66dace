"""Infrared spectra of molecules from actively learned machine-learned potentials."""

from palirs.version import VERSION

__version__ = VERSION

__all__ = ["__version__", "predict"]


def __getattr__(name: str):
    """Give :func:`palirs.predict` when it is asked for: the models take seconds to import."""
    if name == "predict":
        from palirs.predictor import predict

        return predict
    raise AttributeError(f"module 'palirs' has no attribute {name!r}")
