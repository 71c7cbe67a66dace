"""Recordings of computations on fixed shapes, replayed without Python or autograd.

Isolated molecules have static graphs, so the same few thousand small tensor operations run at every
step of MD where there is no compiled code (:mod:`palirs.mace.compiled`). On a CPU, dispatching them
through Python and building the autograd graph takes longer than the arithmetic. ``make_fx`` records
the plain operations, those of the backward passes too, and TorchScript replays them: the same
numbers to rounding, 1.7 to 3.6 times faster, for a few seconds of recording
(``docs/results/recording.md``).
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx


def record(
    function: Callable[..., Any], examples: Sequence[Tensor]
) -> Callable[..., tuple[Tensor, ...]]:
    """Record a function of tensors.

    Parameters
    ----------
    function : callable
        Takes tensors, returns a tuple of tensors. It may call :func:`torch.autograd.grad`. Which
        operations run may depend on shapes, not on values.
    examples : sequence of Tensor
        Arguments of the shapes and types that the recording will be replayed with.

    Returns
    -------
    callable
        Replays the recording; its results carry no gradient.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = make_fx(function)(*examples)
        plain.graph.eliminate_dead_code()
        plain.recompile()
        with torch.no_grad():
            detached = tuple(example.detach() for example in examples)
            replay = torch.jit.freeze(torch.jit.trace(plain, detached, check_trace=False).eval())

    def replayed(*arguments: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return replay(*arguments)

    return replayed
