"""The guarded import of mace and e3nn, and the parts of them that the project builds on.

Importing mace sets ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD``, which lets every later ``torch.load`` of
the process run code from a file. e3nn 0.4.4 needs that variable only because its constants contain
a ``slice``; allowing that one harmless type instead, and taking the variable back, keeps
``torch.load`` safe.
"""

import contextlib
import io
import logging
import os
import threading
import warnings
from collections.abc import Iterator

import torch
from ase.calculators.calculator import BaseCalculator, Calculator

_VARIABLE = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_before = os.environ.get(_VARIABLE)
torch.serialization.add_safe_globals([slice])
_builder = threading.RLock()

with (
    warnings.catch_warnings(),
    contextlib.redirect_stdout(io.StringIO()),
    contextlib.redirect_stderr(io.StringIO()),
):
    warnings.simplefilter("ignore")  # optional accelerators that are absent, and the variable above
    import e3nn
    from e3nn import o3
    from mace.modules import (
        RealAgnosticInteractionBlock,
        RealAgnosticResidualInteractionBlock,
        ScaleShiftMACE,
    )
    from mace.modules.blocks import (
        EquivariantProductBasisBlock,
        LinearNodeEmbeddingBlock,
        NonLinearReadoutBlock,
        RadialEmbeddingBlock,
    )
    from mace.tools.scripts_utils import extract_config_mace_model, remove_pt_head


def _restore(before: str | None) -> None:
    """Undo what importing mace does to the environment."""
    if before is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = before


_restore(_before)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Suppress what MACE prints and warns about."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def building(dtype: str) -> Iterator[None]:
    """Build modules in this precision, without compiling e3nn's generated code to TorchScript.

    Compiling takes longer than the rest of building a model, and the code runs no faster for it.
    Both are settings of the whole process, so one thread builds at a time.
    """
    with _builder:
        default = torch.get_default_dtype()
        scripted = e3nn.get_optimization_defaults()["jit_script_fx"]
        torch.set_default_dtype(getattr(torch, dtype))
        e3nn.set_optimization_defaults(jit_script_fx=False)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            torch.set_default_dtype(default)
            e3nn.set_optimization_defaults(jit_script_fx=scripted)


def mace_calculator(
    module: torch.nn.Module, kind: str, head: str, dtype: str, device: str
) -> Calculator:
    """Return MACE's own calculator of a model; ``kind``: what it calls the model's class."""
    before = os.environ.get(_VARIABLE)
    disabled = logging.root.manager.disable
    with quietly():
        from mace.calculators.mace import MACECalculator

        _restore(before)
        logging.disable(logging.INFO)  # which device and head, that were given
        shared = BaseCalculator.implemented_properties  # of all classes, and MACE's adds to it
        kept = list(shared)
        try:
            return MACECalculator(
                models=[module.to(getattr(torch, dtype)).eval()],
                model_type=kind,
                head=head,
                default_dtype=dtype,
                device=device,
            )
        finally:
            logging.disable(disabled)
            shared[:] = kept


__all__ = [
    "EquivariantProductBasisBlock",
    "LinearNodeEmbeddingBlock",
    "NonLinearReadoutBlock",
    "RadialEmbeddingBlock",
    "RealAgnosticInteractionBlock",
    "RealAgnosticResidualInteractionBlock",
    "ScaleShiftMACE",
    "building",
    "extract_config_mace_model",
    "mace_calculator",
    "o3",
    "quietly",
    "remove_pt_head",
]
