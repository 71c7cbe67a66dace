"""MACE's operations on a static graph, compiled for a GPU by PyTorch's own compiler.

Called one by one, the operations of a molecule's forces start thousands of kernels that are done
sooner than Python has started the next. Here they are recorded, rewritten (:mod:`.rewriting`) and
fused by ``torch.compile``; weights are arguments, so one compilation serves all members, and,
through torch's cache on disk, the members that are trained next. Members run side by side where
they are too small to fill the device. :mod:`palirs.dynamics.device` captures all of it, with the
integrator, in one CUDA graph.
"""

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from palirs.mace.forces.rewriting import apart, in_fixed_order, without_small_products

log = logging.getLogger(__name__)

SIDE_BY_SIDE = 2000
"""Atoms up to which members run at the same time: more fill the device, and take its memory."""

_ready: dict[Hashable, tuple[Any, Callable[..., tuple[Tensor, Tensor]]]] = {}
"""What this process has compiled: a committee that was trained anew needs no other."""

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]


def together(members: Sequence[Any], batch: Any, example: Tensor) -> Evaluate:
    """Return what evaluates all members on one batch.

    Parameters
    ----------
    members : sequence of modules
        Potentials of one architecture, on the device.
    batch : Graph
        The static graph.
    example : Tensor
        Positions, ``[N, 3]``, as later ones in number, precision and device.

    Returns
    -------
    callable
        Takes positions, returns interaction energies ``[members, B]`` and forces
        ``[members, N, 3]``.
    """
    functions = fused(members, batch, example)
    if example.device.type != "cuda" or len(example) > SIDE_BY_SIDE:
        return lambda x: _stacked([function(x) for function in functions])
    streams = [torch.cuda.Stream(example.device) for _ in functions]

    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
        here, results = torch.cuda.current_stream(), []
        for stream, function in zip(streams, functions, strict=True):
            stream.wait_stream(here)
            with torch.cuda.stream(stream):
                results.append(function(x))
        for stream in streams:
            here.wait_stream(stream)
        for result in results:
            for tensor in result:
                tensor.record_stream(here)
        return _stacked(results)

    return evaluate


def fused(members: Sequence[Any], batch: Any, example: Tensor) -> list[Evaluate]:
    """Return one compiled function per member.

    One compilation serves members of one architecture.
    """
    graph = tuple(batch.species.tolist()), batch.counts, batch.one_hot.shape[1]
    functions = []
    for member in members:
        weights = [*member.parameters(), *member.buffers()]
        shapes = tuple((tensor.shape, tensor.dtype) for tensor in weights)
        key = graph, example.device, example.dtype, shapes, _numbers(member)
        if key not in _ready:
            constants, rest = recorded(member, batch, example)
            _ready[key] = constants, _compiled(rest)
        constants, rest = _ready[key]
        with torch.no_grad():
            fixed = constants(*(tensor.detach() for tensor in weights))
        functions.append(_bound(rest, fixed))
    return functions


def recorded(member: Any, batch: Any, example: Tensor) -> tuple[Any, Any]:
    """Record a member's interaction energies and forces, and rewrite them.

    Returns
    -------
    constants, rest : GraphModule
        See :func:`palirs.mace.forces.rewriting.apart`.
    """
    named = {**dict(member.named_parameters()), **dict(member.named_buffers())}

    def function(x: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        inputs = batch.inputs(x.detach().requires_grad_(True))
        given = dict(zip(named, weights, strict=True))
        out = torch.func.functional_call(member, given, (inputs,))
        return out["interaction_energy"].detach(), out["forces"].detach()

    module = make_fx(function)(example, *(tensor.detach() for tensor in named.values()))
    module.graph.eliminate_dead_code()
    in_fixed_order(module)
    constants, rest = apart(module)
    without_small_products(rest)
    return constants, rest


def _compiled(module: Any) -> Callable[..., tuple[Tensor, Tensor]]:
    fast, works = torch.compile(module, dynamic=False, fullgraph=True), False

    def call(*arguments: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal fast, works
        try:
            result = fast(*arguments)
        except Exception as problem:
            if works or isinstance(problem, torch.OutOfMemoryError):
                raise
            log.warning(
                "MD takes a slower path on the GPU: torch cannot compile MACE's operations "
                "here (%s: %s); it needs Triton and a C compiler",
                type(problem).__name__,
                str(problem).splitlines()[0] if str(problem) else "",
            )
            fast = module
            result = fast(*arguments)
        works = True
        return result

    return call


def _bound(function: Callable[..., tuple[Tensor, Tensor]], fixed: Sequence[Tensor]) -> Evaluate:
    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return function(x, *fixed)

    return evaluate


def _numbers(member: Any) -> tuple[tuple[str, float], ...]:
    """Return the numbers of a module that are no tensors, which a recording has for ever."""
    return tuple(
        (f"{name}.{key}", value)
        for name, module in member.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    )


def _stacked(results: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    energies, forces = zip(*results, strict=True)
    return torch.stack(energies), torch.stack(forces)
