"""Recipes of the models and their training; importing them needs neither torch nor mace."""

from typing import Annotated, Literal

from pydantic import Field

from palirs.recipes import Angstrom, Count, Fraction, NonNegative, Positive, recipe


@recipe
class Architecture:
    """Size of a MACE model (Batatia et al. 2022, arXiv:2206.07697).

    Parameters
    ----------
    channels : int
        Channels of every irreducible representation.
    max_L : int
        Highest order of the messages (hidden irreps).
    max_ell : int
        Highest order of the spherical harmonics of an edge.
    correlation : int
        Order of the symmetric contraction of each layer; body order of a layer is ``correlation + 1``.
    layers : int
        Number of interactions.
    cutoff : float
        Radial cutoff [Å].
    bessel : int
        Radial Bessel functions.
    radial_mlp : tuple of int
        Widths of the radial network.
    dtype : {"float32", "float64"}
        Precision of training and MD.
    """

    channels: Annotated[int, Field(ge=1, le=1024)] = 32
    max_L: Annotated[int, Field(ge=0, le=3)] = 1
    max_ell: Annotated[int, Field(ge=1, le=4)] = 3
    correlation: Annotated[int, Field(ge=1, le=4)] = 2
    layers: Annotated[int, Field(ge=2, le=4)] = 2
    cutoff: Angstrom = 5.0
    bessel: Annotated[int, Field(ge=1, le=32)] = 8
    radial_mlp: Annotated[tuple[Count, ...], Field(min_length=1)] = (64, 64, 64)
    dtype: Literal["float32", "float64"] = "float32"


@recipe
class Training:
    """How a model is trained.

    Parameters
    ----------
    updates : int
        Optimiser steps at most; the number of epochs follows from the size of the data set, so the cost does not grow with it.
    batch_size : int
        Structures per step.
    learning_rate : float
        Peak of the one-cycle schedule (Smith and Topin 2017, arXiv:1708.07120).
    loss : {"l1l2", "mse"}
        ``l1l2``: mean of |ΔE|/atom [eV] and of the length of ΔF of an atom [eV/Å] (MACE's ``l1l2energyforces``); distorted frames with
        their large forces do not drown those near the optimum, which the harmonic frequencies depend on. ``mse``: mean squares of
        ΔE/atom and of the components of ΔF. The dipole model uses the same norms of its own error.
    energy_weight, forces_weight : float
        Weights of the two terms.
    ema_decay : float
        Decay per step of the exponential moving average of the weights; the average is what is validated and kept.
    clip_gradient : float
        Largest norm of the gradient.
    patience : float
        Training ends when the validation error has not improved for this share of ``updates``.
    test_fraction : float
        Share of the frames set aside for the reported errors, drawn anew whenever the data set grows.
    validation_fraction : float
        Share of the rest that decides on early stopping and on the weights that are kept.
    """

    updates: Count = 5000
    batch_size: Count = 5
    learning_rate: Positive = 0.01
    loss: Literal["l1l2", "mse"] = "l1l2"
    energy_weight: NonNegative = 10.0
    forces_weight: NonNegative = 10.0
    ema_decay: Fraction = 0.99
    clip_gradient: Positive = 10.0
    patience: Annotated[float, Field(gt=0, le=1)] = 0.4
    test_fraction: Fraction = 0.2
    validation_fraction: Fraction = 0.1


@recipe
class Evaluation:
    """How a trained committee is evaluated in MD.

    Parameters
    ----------
    backend : {"auto", "native", "recorded", "eager"}
        ``native``: compiled C code on the CPU, needs a C compiler. ``recorded``: MACE's operations recorded once per batch and replayed.
        ``eager``: MACE itself. ``auto``: native where possible, else recorded, with a warning.
    device : str
        ``cpu``, ``cuda`` or ``cuda:1``; native runs on the CPU only.
    """

    backend: Literal["auto", "native", "recorded", "eager"] = "auto"
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")] = "cpu"

    def __post_init__(self):
        if self.backend == "native" and self.device != "cpu":
            raise ValueError(f"backend = native runs on the CPU, not on device = {self.device}; use backend=auto")
