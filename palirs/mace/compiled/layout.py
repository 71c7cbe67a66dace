"""Translation of a MACE module for the compiled code: a C header and an array of weights.

The header depends on the architecture only. All of e3nn's normalisations are folded into the
weights, so that the compiled code only multiplies and adds. Every weight is a parameter of the
module times a constant, or an element of one of a few products of matrices of such multiples, so
that the chain rule from weights to parameters is simple.
"""

from typing import Any

import numpy as np

from palirs.mace.backend import (
    RealAgnosticInteractionBlock,
    RealAgnosticResidualInteractionBlock,
    o3,
)
from palirs.mace.compiled import gathering
from palirs.mace.compiled.compiler import vector_bytes
from palirs.mace.compiled.gathering import UnsupportedError
from palirs.mace.compiled.tables import Sizes, Tables, c, contraction, header_of, paths
from palirs.mace.compiled.weights import ArraySlice, Program, Writer


def program(module: Any) -> Program:
    """Translate a potential or a dipole network for the compiled code.

    Raises
    ------
    UnsupportedError
        If it has parts that the compiled code does not support.
    """
    embedding = _embedding(module)
    radial = _radial(module)
    interactions = list(module.interactions)
    products = list(module.products)
    _check(module, interactions, products, radial)
    first = interactions[0]
    dtype = next(module.parameters()).dtype
    sizes = Sizes(
        channels=int(first.node_feats_irreps.count(o3.Irrep(0, 1))),
        elements=int(first.node_attrs_irreps.dim),
        ell=max(ir.l for _, ir in first.edge_attrs_irreps),
        widths=first.radial_MLP,
        basis=len(radial.bessel_fn.bessel_weights),
        lanes=vector_bytes() // dtype.itemsize,
    )
    tables = Tables()
    writer = Writer()
    networks = [
        _layer(number, interaction, block, embedding, readouts, sizes, tables, writer)
        for number, (interaction, block, readouts) in enumerate(
            zip(interactions, products, _readouts(module), strict=True)
        )
    ]
    correlation = products[0].symmetric_contractions.contractions[0].correlation
    header = header_of(sizes, tables, correlation, dtype, float(radial.cutoff_fn.p))
    definitions = f"#define DIPOLE {int(is_dipole(module))}\n#define TURNED {writer.size}\n"
    return Program(
        header=definitions + header + writer.header(),
        factors=np.concatenate([*writer.parts, *writer.factors]),
        dtype=np.dtype(str(dtype).removeprefix("torch.")),
        products=writer.products,
        turned=np.concatenate(writer.transposed),
        size=writer.size,
        cutoff=float(radial.bessel_fn.r_max),
        basis=sizes.basis,
        envelope=float(radial.cutoff_fn.p),
        radial=networks,
    )


def _layer(
    number: int,
    interaction: Any,
    block: Any,
    embedding: Any,
    readouts: tuple,
    sizes: Sizes,
    tables: Tables,
    writer: Writer,
) -> list[ArraySlice]:
    """Translate one layer and return the matrices of its radial network.

    ``shape`` collects the members of the C ``struct shape``: sizes, and offsets in the tables and
    the weights.
    """
    l_in = 0 if number == 0 else max(ir.l for _, ir in interaction.node_feats_irreps)
    l_out = max(ir.l for _, ir in block.linear.irreps_out)
    residual = type(interaction) is RealAgnosticResidualInteractionBlock
    shape: dict[str, Any] = {
        "l_in": l_in,
        "rows_in": (l_in + 1) ** 2,
        "l_out": l_out,
        "rows_out": (l_out + 1) ** 2,
        "table": 0,
        "residual": int(residual),
    }
    up = gathering.mixing(interaction.linear_up, sizes, l_in + 1)
    if number == 0:
        gathering.first_features(embedding, up, interaction, sizes, shape, writer)
    else:
        shape["up"], shape["up_back"] = writer.put_both(up)
    instructions, counts = paths(interaction.conv_tp, shape, tables)
    rows = [counts[l3] * (2 * l3 + 1) for l3 in range(sizes.ell + 1)]
    shape["row"] = [sum(rows[:l3]) for l3 in range(sizes.ell + 1)]
    shape["count"] = counts
    shape["middle"] = sum(rows)
    network = gathering.radial_network(
        interaction.conv_tp_weights, instructions, sizes, shape, writer
    )
    gathering.messages(interaction, counts, sizes, shape, writer)
    coefficients = contraction(block.symmetric_contractions, shape, sizes, tables)
    gathering.contraction(block.symmetric_contractions, coefficients, sizes, shape, writer)
    shape["product"], shape["product_back"] = writer.put_both(
        gathering.mixing(block.linear, sizes, l_out + 1)
    )
    skip = np.zeros((1, 1, 1, 1))
    if number > 0:
        skip = sizes.pad(gathering.of_elements(interaction.skip_tp)[:, : l_out + 1], 2, 3)
    shape["skip"], shape["skip_back"] = writer.put_both(skip)
    linear, hidden, scale = readouts
    gathering.linear_readout(linear, scale, sizes, shape, writer)
    width = gathering.hidden_readout(hidden, scale, sizes, shape, writer)
    shape["groups"] = 1 if residual else sizes.elements

    tables.shapes.append(
        "{" + ", ".join(f".{key} = {c(value)}" for key, value in shape.items()) + "}"
    )
    tables.keep_largest(
        MIDDLE=shape["middle"],
        HIDDEN_ROWS=max(shape["rows_in"], shape["rows_out"]),
        PATHS=sum(counts),
        TENSOR=shape["tensor"],
        READOUT=width,
    )
    return network


def is_dipole(module: Any) -> bool:
    """Return whether a module is a dipole network, not a potential."""
    return not hasattr(module, "readouts")


def _readouts(module: Any) -> list[tuple[Any, Any, float]]:
    """Return linear read-out, read-out with a hidden layer, and scale of each layer.

    Either read-out may be ``None``.
    """
    if is_dipole(module):
        return [
            (vector, charge, module.scale)
            for vector, charge in zip(module.vectors, module.charges, strict=True)
        ]
    *linear, last = module.readouts
    if not hasattr(last, "linear_1") or not all(hasattr(block, "linear") for block in linear):
        names = [type(block).__name__ for block in module.readouts]
        raise UnsupportedError(f"read-outs {', '.join(names)}")
    scale = float(module.scale_shift.scale)
    return [*((block.linear, None, scale) for block in linear), (None, last, scale)]


def _embedding(module: Any) -> Any:
    """Return the linear map from one-hot elements to features."""
    return (module.node_embedding if hasattr(module, "node_embedding") else module.embedding).linear


def _radial(module: Any) -> Any:
    """Return the radial basis."""
    return module.radial_embedding if hasattr(module, "radial_embedding") else module.radial


def _check(module: Any, interactions: list, products: list, radial: Any) -> None:
    """Raise :class:`UnsupportedError` for parts that the compiled code does not support."""
    unsupported = []
    residual = type(interactions[0]) is RealAgnosticResidualInteractionBlock
    if not residual and type(interactions[0]) is not RealAgnosticInteractionBlock:
        unsupported.append(f"first interaction {type(interactions[0]).__name__}")
    unsupported += [
        f"interaction {type(i).__name__}"
        for i in interactions[1:]
        if type(i) is not RealAgnosticResidualInteractionBlock
    ]
    if (
        hasattr(radial, "distance_transform")
        or type(radial.bessel_fn).__name__ != "BesselBasis"
        or not getattr(radial, "apply_cutoff", True)
    ):
        unsupported.append("radial basis")
    if hasattr(module, "pair_repulsion"):
        unsupported.append("pair repulsion")
    if len(getattr(module, "heads", ["one"])) != 1:
        unsupported.append("several heads")
    if float(getattr(getattr(module, "scale_shift", None), "shift", 0.0)) != 0.0:
        unsupported.append("energy shift")
    if (
        products[0].use_sc != residual
        or any(p.use_agnostic_product for p in products)
        or len({_correlation(p) for p in products}) != 1
    ):
        unsupported.append("product basis")
    if any(
        ir.p != (-1) ** ir.l
        for i in interactions
        for irreps in (i.node_feats_irreps, i.target_irreps)
        for _, ir in irreps
    ):
        unsupported.append("features of unnatural parity")
    if max(ir.l for i in interactions for _, ir in i.target_irreps) > 4:
        unsupported.append("harmonics above order 4")
    if unsupported:
        raise UnsupportedError(", ".join(unsupported))


def _correlation(block: Any) -> int:
    return block.symmetric_contractions.contractions[0].correlation
