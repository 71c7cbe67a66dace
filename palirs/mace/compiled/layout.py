"""From a MACE module to what the compiled code needs: tables that depend on the architecture (a C header), and one array of weights.

All of e3nn's normalisations are folded into the numbers here, so that the compiled code only
multiplies and adds. Every number is a parameter of the module times a constant, or comes from a few
products of matrices of such numbers; so what the compiled code finds as derivatives by the numbers
is easily carried back to the parameters.
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
from palirs.mace.compiled.weights import Place, Program, Writer


def program(module: Any) -> Program:
    """Lay a potential or a dipole network out for the compiled code.

    Raises
    ------
    UnsupportedError
        If it has parts that the compiled code does not know; the eager path then is the one to use.
    """
    embedding, radial = _embedding(module), _radial(module)
    interactions, products = list(module.interactions), list(module.products)
    _check(module, interactions, products, radial)
    first = interactions[0]
    channels, elements = (
        int(first.node_feats_irreps.count(o3.Irrep(0, 1))),
        int(first.node_attrs_irreps.dim),
    )
    ell = max(ir.l for _, ir in first.edge_attrs_irreps)
    dtype = next(module.parameters()).dtype
    sizes = Sizes(
        channels,
        elements,
        ell,
        first.radial_MLP,
        len(radial.bessel_fn.bessel_weights),
        vector_bytes() // dtype.itemsize,
    )
    tables, writer = Tables(), Writer()
    networks = [
        _layer(number, interaction, block, embedding, readouts, sizes, tables, writer)
        for number, (interaction, block, readouts) in enumerate(
            zip(interactions, products, _readouts(module), strict=True)
        )
    ]
    correlation = products[0].symmetric_contractions.contractions[0].correlation
    header = header_of(sizes, tables, correlation, dtype, float(radial.cutoff_fn.p))
    return Program(
        header=f"#define DIPOLE {int(is_dipole(module))}\n#define TURNED {writer.size}\n{header}{writer.header()}",
        factors=np.concatenate([*writer.parts, *writer.factors]),
        dtype=np.dtype(str(dtype).removeprefix("torch.")),
        products=writer.products,
        turned=np.concatenate(writer.turned),
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
) -> list[Place]:
    """Lay one layer out and return where its radial network is."""
    l_in = 0 if number == 0 else max(ir.l for _, ir in interaction.node_feats_irreps)
    l_out = max(ir.l for _, ir in block.linear.irreps_out)
    residual = type(interaction) is RealAgnosticResidualInteractionBlock
    shape: dict[str, Any] = {
        "l_in": l_in,
        "rows_in": (l_in + 1) ** 2,
        "l_out": l_out,
        "rows_out": (l_out + 1) ** 2,
    }
    shape["table"], shape["residual"] = 0, int(residual)

    up = gathering.mixing(interaction.linear_up, sizes, l_in + 1)
    if number == 0:
        gathering.first_features(embedding, up, interaction, sizes, shape, writer)
    else:
        shape["up"], shape["up_back"] = writer.put_both(up)
    order, count = paths(interaction.conv_tp, shape, tables)
    shape["row"] = [sum(count[k] * (2 * k + 1) for k in range(l3)) for l3 in range(sizes.ell + 1)]
    shape["count"], shape["middle"] = (
        count,
        sum(count[l3] * (2 * l3 + 1) for l3 in range(sizes.ell + 1)),
    )
    network = gathering.radial_network(interaction.conv_tp_weights, order, sizes, shape, writer)
    gathering.messages(interaction, count, sizes, shape, writer)
    mixed = contraction(block.symmetric_contractions, shape, sizes, tables)
    gathering.contraction(block.symmetric_contractions, mixed, sizes, shape, writer)
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
    tables.at_least(
        MIDDLE=shape["middle"],
        HIDDEN_ROWS=max(shape["rows_in"], shape["rows_out"]),
        PATHS=sum(count),
        TENSOR=shape["tensor"],
    )
    tables.at_least(READOUT=width)
    return network


def is_dipole(module: Any) -> bool:
    """Tell a dipole network from a potential."""
    return not hasattr(module, "readouts")


def _readouts(module: Any) -> list[tuple[Any, Any, float]]:
    """For each layer its linear and its hidden read-out, ``None`` where there is none, and the scale of what they give."""
    if is_dipole(module):
        return [
            (vector, charge, module.scale)
            for vector, charge in zip(module.vectors, module.charges, strict=True)
        ]
    *linear, last = module.readouts
    if not hasattr(last, "linear_1") or not all(hasattr(one, "linear") for one in linear):
        raise UnsupportedError(
            f"read-outs {', '.join(type(one).__name__ for one in module.readouts)}"
        )
    scale = float(module.scale_shift.scale)
    return [*((one.linear, None, scale) for one in linear), (None, last, scale)]


def _embedding(module: Any) -> Any:
    return (module.node_embedding if hasattr(module, "node_embedding") else module.embedding).linear


def _radial(module: Any) -> Any:
    return module.radial_embedding if hasattr(module, "radial_embedding") else module.radial


def _check(module: Any, interactions: list, products: list, radial: Any) -> None:
    """Refuse what is not written out in C."""
    wrong = []
    residual = type(interactions[0]) is RealAgnosticResidualInteractionBlock
    if not residual and type(interactions[0]) is not RealAgnosticInteractionBlock:
        wrong.append(f"first interaction {type(interactions[0]).__name__}")
    wrong += [
        f"interaction {type(i).__name__}"
        for i in interactions[1:]
        if type(i) is not RealAgnosticResidualInteractionBlock
    ]
    if (
        hasattr(radial, "distance_transform")
        or type(radial.bessel_fn).__name__ != "BesselBasis"
        or not getattr(radial, "apply_cutoff", True)
    ):
        wrong.append("radial basis")
    if hasattr(module, "pair_repulsion"):
        wrong.append("pair repulsion")
    if len(getattr(module, "heads", ["one"])) != 1:
        wrong.append("several heads")
    if float(getattr(getattr(module, "scale_shift", None), "shift", 0.0)) != 0.0:
        wrong.append("energy shift")
    if (
        products[0].use_sc != residual
        or any(p.use_agnostic_product for p in products)
        or len({_correlation(p) for p in products}) != 1
    ):
        wrong.append("product basis")
    if any(
        ir.p != (-1) ** ir.l
        for i in interactions
        for irreps in (i.node_feats_irreps, i.target_irreps)
        for _, ir in irreps
    ):
        wrong.append("features of unnatural parity")
    if max(ir.l for i in interactions for _, ir in i.target_irreps) > 4:
        wrong.append("harmonics above order 4")
    if wrong:
        raise UnsupportedError(", ".join(wrong))


def _correlation(block: Any) -> int:
    return block.symmetric_contractions.contractions[0].correlation
