"""Recipes of the models and their training; importing them needs neither torch nor mace."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from ase.data import chemical_symbols
from pydantic import Field

from palirs.recipes import Before, Count, Cutoff, Fraction, InStudy, Weight, recipe

LearningRate = Annotated[float, Field(gt=0, le=1)]
Device = Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu, cuda or cuda:N")]


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
        Order of the symmetric contraction of each layer; body order of a layer is ``correlation +
        1``.
    layers : int
        Number of interactions.
    cutoff : float
        Radial cutoff [Å].
    bessel : int
        Radial Bessel functions.
    radial_mlp : tuple of int
        Widths of the radial network.
    residual_first : bool
        Whether the first interaction has a residual connection too, as MACE's command builds it
        unless told otherwise.
    dtype : {"float32", "float64"}
        Precision of training and MD.
    """

    channels: Annotated[int, Field(ge=1, le=1024)] = 32
    max_L: Annotated[int, Field(ge=0, le=3)] = 1
    max_ell: Annotated[int, Field(ge=1, le=4)] = 3
    correlation: Annotated[int, Field(ge=1, le=4)] = 2
    layers: Annotated[int, Field(ge=2, le=4)] = 2
    cutoff: Cutoff = 5.0
    bessel: Annotated[int, Field(ge=1, le=32)] = 8
    radial_mlp: Annotated[tuple[Count, ...], Field(min_length=1)] = (64, 64, 64)
    residual_first: bool = False
    dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self):
        highest = self.max_ell * self.correlation
        if self.max_L > highest:
            raise ValueError(
                f"max_L = {self.max_L}: products of {self.correlation} harmonics of order "
                f"{self.max_ell} have no order above {highest}, and messages of a higher one would "
                f"be zero; give max_L={highest}, or more of max_ell or correlation"
            )
        if self.max_ell > 3 and self.correlation > 2 and find_spec("cuequivariance") is None:
            raise ValueError(
                f"max_ell = {self.max_ell}, correlation = {self.correlation}: MACE has no coupling "
                "coefficients for that without cuequivariance; give max_ell=3 or correlation=2, "
                "or pip install cuequivariance"
            )


@recipe
class SecondStage:
    """The last part of a training, with other weights in the loss (MACE's "stage two").

    Parameters
    ----------
    start : float
        Share of the updates after which it begins; sooner if the validation error has stopped
        improving.
    energy_weight, forces_weight : float
        See :class:`Training`.
    learning_rate : float or None
        Kept to the end; ``None`` goes on with the schedule.
    """

    start: Fraction = 0.75
    energy_weight: Weight = 100.0
    forces_weight: Weight = 10.0
    learning_rate: LearningRate | None = None

    def __post_init__(self):
        check_weights(self)


@recipe
class Training:
    """How a model is trained.

    Parameters
    ----------
    updates : int
        Optimiser steps at most, but one epoch at least; the number of epochs follows from the size
        of the data set, so the cost does not grow with it.
    shortest, gain : int, float
        Of ``schedule=doubling``: optimiser steps of the first length, and the least relative drop
        of the validation error that makes twice the length worth trying.
    batch_size : int
        Structures per step.
    optimiser : {"amsgrad", "adamw", "schedule_free"}
        Adam with AMSGrad (Reddi et al. 2018), AdamW (Loshchilov and Hutter 2019), or schedule-free
        AdamW (Defazio et al. 2024), which averages by itself: it needs ``schedule=constant`` and
        ignores ``ema_decay``.
    learning_rate : float
        Peak of the schedule.
    schedule : {"doubling", "one_cycle", "cosine", "plateau", "constant"}
        ``doubling``: as long as it pays, up to ``updates`` (1.4 times as many with all decays), see
        :mod:`palirs.mace.training.cycles`; ``patience`` is not used. ``one_cycle``: Smith and Topin
        2017, arXiv:1708.07120. ``plateau``: times 0.8 when the validation error has not improved
        for 5 % of the updates.
    weight_decay : float
        Decoupled, of all weights; not with ``amsgrad``.
    loss : {"l1l2", "mse", "huber"}
        ``l1l2``: mean of |ΔE|/atom [eV] and of the length of ΔF of an atom [eV/Å] (MACE's
        ``l1l2energyforces``); distorted frames with their large forces do not drown those near the
        optimum, which the harmonic frequencies depend on. ``mse``: mean squares of ΔE/atom and of
        the components of ΔF. ``huber``: the same up to ``huber_delta``, linear beyond. The dipole
        model uses the same norms of its own error.
    huber_delta : float
        [eV], [eV/Å], or the unit of the dipoles' scale.
    energy_weight, forces_weight : float
        Weights of the two terms; the dipole model has one term and needs none.
    derivatives : float
        So many frames the derivatives along the normal modes of a molecule (its Hessian and its
        atomic polar tensor, from the displaced calculations of the reference vibrations) count
        like in the loss; about one mode in five is not learnt, to test by. 0: they are not learnt,
        as published.
    second_stage : SecondStage or None
        Other weights towards the end; not for the dipole model.
    ema_decay : float
        Decay per step of the exponential moving average of the weights; the average is what is
        validated and kept.
    clip_gradient : float
        Largest norm of the gradient.
    patience : float
        Training ends when the validation error has not improved for this share of ``updates``.
    test_fraction : float
        Share of the frames set aside for the reported errors. A frame is assigned once, when it
        arrives; with ``learning.split=frames`` frames are drawn anew whenever the data set grows.
    validation_fraction : float
        Share of the rest that decides on early stopping and on the weights that are kept. 0: none,
        all are learnt to the end of the schedule, and its last weights are kept; for few labels, of
        which two or three decide by chance.
    atomic_energies : "fitted" or dict
        E0 of the elements, by symbol [eV]: fitted to the data by least squares, or given, as for
        isolated atoms calculated by the engine.
    start : str
        ``scratch``; ``previous``: the same member of the iteration before (the potential only); or
        a model file to go on from (fine-tuning), which then sets size, elements and scales.
    backend : {"auto", "native", "eager"}
        ``native``: compiled C code on the CPU. ``eager``: MACE's modules and autograd. ``auto``:
        native where possible, else eager, with a warning.
    device : str
        ``cpu``, ``cuda`` or ``cuda:1``; native runs on the CPU only.
    save_interval : float
        Seconds between the points that a killed training goes on from. 0: every epoch.
    """

    updates: Annotated[int, Field(ge=1, le=10**8)] = 5000
    shortest: Annotated[int, Field(ge=1, le=10**8)] = 4000
    gain: Fraction = 0.1
    batch_size: Annotated[int, Field(ge=1, le=10**5)] = 5
    optimiser: Literal["amsgrad", "adamw", "schedule_free"] = "amsgrad"
    learning_rate: LearningRate = 0.01
    schedule: Literal["doubling", "one_cycle", "cosine", "plateau", "constant"] = "one_cycle"
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    loss: Literal["l1l2", "mse", "huber"] = "l1l2"
    huber_delta: Annotated[float, Field(gt=0, le=100)] = 0.01
    energy_weight: Weight = 10.0
    forces_weight: Weight = 10.0
    derivatives: Annotated[Weight, Before(0.0)] = 50.0
    second_stage: SecondStage | None = None
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    clip_gradient: Annotated[float, Field(gt=0, le=1e6)] = 10.0
    patience: Annotated[float, Field(gt=0, le=1)] = 0.4
    test_fraction: Fraction = 0.2
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    atomic_energies: Literal["fitted"] | dict[str, float] = "fitted"
    start: str = "scratch"
    backend: Annotated[Literal["auto", "native", "eager"], InStudy.MAY_CHANGE] = "auto"
    device: Annotated[Device, InStudy.MAY_CHANGE] = "cpu"
    save_interval: Annotated[float, Field(ge=0, le=1e6), InStudy.MAY_CHANGE] = 10.0

    def __post_init__(self):
        if self.optimiser == "schedule_free" and self.schedule != "constant":
            raise ValueError(
                f"schedule = {self.schedule}: the optimiser schedule_free needs schedule=constant"
            )
        if self.schedule == "doubling" and self.second_stage is not None:
            raise ValueError(
                "second_stage: with schedule=doubling every length has an end of its own; give "
                "null, or another schedule"
            )
        if self.schedule == "doubling" and 2 * self.shortest > self.updates:
            raise ValueError(
                f"shortest = {self.shortest}: with schedule=doubling up to updates={self.updates} "
                f"no length is doubled; give at most {max(1, self.updates // 2)}, more updates, or "
                "another schedule"
            )
        if self.validation_fraction == 0 and self.schedule not in ("one_cycle", "cosine"):
            raise ValueError(
                "validation_fraction = 0 needs a schedule that ends, one_cycle or cosine: "
                f"schedule={self.schedule} needs validation_fraction=0.1"
            )
        if self.optimiser == "amsgrad" and self.weight_decay:
            raise ValueError(
                f"weight_decay = {self.weight_decay:g}: amsgrad has none; use optimiser=adamw or "
                "schedule_free"
            )
        if self.backend == "native" and self.device != "cpu":
            raise ValueError(
                f"backend = native runs on the CPU, not on device = {self.device}; use backend=auto"
            )
        if self.start not in ("scratch", "previous") and Path(self.start).suffix != ".safetensors":
            raise ValueError(
                f"start = {self.start!r}: scratch, previous, or a palirs model file "
                "(.safetensors); one of MACE becomes one by task=import_model file=... output=..."
            )
        if isinstance(self.atomic_energies, dict):
            unknown = sorted(set(self.atomic_energies) - set(chemical_symbols[1:]))
            if unknown:
                raise ValueError(
                    f"atomic_energies: {', '.join(unknown)} are not symbols of elements"
                )


@recipe
class Evaluation:
    """How a trained committee is evaluated in MD.

    Parameters
    ----------
    backend : {"auto", "native", "recorded", "eager"}
        ``native``: compiled C code on the CPU, needs a C compiler. ``recorded``: MACE's operations
        recorded once per batch and replayed, on a GPU fused by torch's compiler and, with the
        integrator, captured in a CUDA graph. ``eager``: MACE itself. ``auto``: native where
        possible, else recorded, with a warning.
    device : str
        ``cpu``, ``cuda`` or ``cuda:1``; native runs on the CPU only.
    radial : {"table", "network"}
        How native code gets the radial weights of potentials in MD: from a table made of the
        trained network (within 1e-6 of their largest value, 1e-9 in float64), or by the network
        itself, which takes 1.5 to 1.9 times as long at 16 channels. Dipoles always take the table.
    """

    backend: Literal["auto", "native", "recorded", "eager"] = "auto"
    device: Device = "cpu"
    radial: Literal["table", "network"] = "table"

    def __post_init__(self):
        if self.backend == "native" and self.device != "cpu":
            raise ValueError(
                f"backend = native runs on the CPU, not on device = {self.device}; use backend=auto"
            )
        native = self.backend in ("auto", "native") and self.device == "cpu"
        if self.radial != "table" and not native:
            raise ValueError(
                f"radial = {self.radial}: a choice of native code, which backend={self.backend} on "
                f"device={self.device} is not; give table, or backend=native device=cpu"
            )


def check_weights(stage: Training | SecondStage, where: str = "") -> None:
    """Raise :class:`ValueError` if both weights are zero; keys begin with ``where``."""
    if stage.energy_weight == 0 and stage.forces_weight == 0:
        what = f"{where}energy_weight = 0, {where}forces_weight = 0"
        raise ValueError(f"{what}: a potential would learn nothing; give 10 to one of them")
