"""From a MACE module to what the compiled code needs: tables that depend on the architecture (a C header), and one array of weights.

All of e3nn's normalisations are folded into the numbers here, so that the compiled code only multiplies and adds. Every number is a
parameter of the module times a constant, or comes from a few products of matrices of such numbers; so what the compiled code finds as
derivatives by the numbers is easily carried back to the parameters.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palirs.mace.backend import RealAgnosticInteractionBlock, RealAgnosticResidualInteractionBlock, o3
from palirs.mace.compiled.weights import Place, Program, Writer

LANES = 8
"""Channels are padded to a multiple of this, the floats in a vector register of 32 bytes."""


class UnsupportedError(Exception):
    """The module has a part that the compiled code does not know."""


@dataclass
class _Tables:
    """Tables of all layers, as lists of C initialisers."""

    paths: list[str] = field(default_factory=list)
    couplings: list[str] = field(default_factory=list)
    monomials: list[str] = field(default_factory=list)
    terms: list[int] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    triples: dict[tuple[int, int], int] = field(default_factory=dict)
    most: Counter = field(default_factory=Counter)

    def at_least(self, **sizes: int) -> None:
        for name, value in sizes.items():
            self.most[name] = max(self.most[name], value)


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
    channels, elements = int(first.node_feats_irreps.count(o3.Irrep(0, 1))), int(first.node_attrs_irreps.dim)
    ell = max(ir.l for _, ir in first.edge_attrs_irreps)
    dtype = next(module.parameters()).dtype
    sizes = _Sizes(channels, -(-channels // LANES) * LANES, elements, ell, first.radial_MLP, len(radial.bessel_fn.bessel_weights))
    tables, writer = _Tables(), Writer()
    readouts = list(getattr(module, "readouts", []))
    scale = float(module.scale_shift.scale) if readouts else 1.0
    rows = [
        _layer(
            number, interaction, block, embedding, readouts[number] if number < len(readouts) - 1 else None, scale, sizes, tables, writer
        )
        for number, (interaction, block) in enumerate(zip(interactions, products, strict=True))
    ]
    last = _last_readout(readouts[-1] if readouts else None, scale, sizes, writer)
    correlation = products[0].symmetric_contractions.contractions[0].correlation
    header = _header(sizes, tables, last, correlation, dtype, float(radial.cutoff_fn.p))
    return Program(
        header=f"#define TURNED {writer.size}\n{header}",
        factors=np.concatenate([*writer.parts, *writer.factors]),
        dtype=np.dtype(str(dtype).removeprefix("torch.")),
        products=writer.products,
        turned=np.concatenate(writer.turned),
        size=writer.size,
        cutoff=float(radial.bessel_fn.r_max),
        channels=sizes.padded,
        rows=tuple(rows),
    )


@dataclass(frozen=True)
class _Sizes:
    channels: int
    padded: int
    elements: int
    ell: int
    widths: Sequence[int]
    basis: int

    def pad(self, matrix: np.ndarray, *axes: int) -> np.ndarray:
        """Pad channel axes with zeros."""
        missing = self.padded - self.channels
        return _padded(matrix, [missing if axis in axes else 0 for axis in range(matrix.ndim)])


def _padded(matrix: np.ndarray, more: Sequence[int]) -> np.ndarray:
    """Add zeros at the end of every axis."""
    filled = np.zeros([size + extra for size, extra in zip(matrix.shape, more, strict=True)])
    filled[tuple(slice(size) for size in matrix.shape)] = matrix
    return filled


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
    wrong += [f"interaction {type(i).__name__}" for i in interactions[1:] if type(i) is not RealAgnosticResidualInteractionBlock]
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
    if products[0].use_sc != residual or any(p.use_agnostic_product for p in products) or len({_correlation(p) for p in products}) != 1:
        wrong.append("product basis")
    if any(ir.p != (-1) ** ir.l for i in interactions for irreps in (i.node_feats_irreps, i.target_irreps) for _, ir in irreps):
        wrong.append("features of unnatural parity")
    if max(ir.l for i in interactions for _, ir in i.target_irreps) > 4:
        wrong.append("harmonics above order 4")
    if wrong:
        raise UnsupportedError(", ".join(wrong))


def _correlation(block: Any) -> int:
    return block.symmetric_contractions.contractions[0].correlation


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()


def _mixing(linear: Any, sizes: _Sizes, dims: int) -> np.ndarray:
    """Matrices ``[l, C, C]`` of an equivariant linear map of the first ``dims`` orders."""
    weights = {int(i.i_in): i.path_weight * _numpy(w) for _, i, w in linear.weight_views(yield_instruction=True)}
    return sizes.pad(np.array([weights[order] for order in range(dims)]), 1, 2)


def _layer(number, interaction, block, embedding, readout, scale, sizes: _Sizes, tables: _Tables, writer: Writer) -> int:
    """Lay one layer out; return the components per atom that it gives."""
    padded, elements, ell = sizes.padded, sizes.elements, sizes.ell
    l_in = 0 if number == 0 else max(ir.l for _, ir in interaction.node_feats_irreps)
    l_out = max(ir.l for _, ir in block.linear.irreps_out)
    ends = range(ell + 1)
    shape: dict[str, Any] = {"l_in": l_in, "rows_in": (l_in + 1) ** 2, "l_out": l_out, "rows_out": (l_out + 1) ** 2}

    up = _mixing(interaction.linear_up, sizes, l_in + 1)
    residual = type(interaction) is RealAgnosticResidualInteractionBlock
    shape["table"], shape["residual"] = 0, int(residual)
    if number == 0:
        (_, instruction, weight) = next(iter(embedding.weight_views(yield_instruction=True)))
        vectors = writer.factor(sizes.pad(instruction.path_weight * _numpy(weight), 1)[None])  # of the elements
        place = writer.put_product(vectors, writer.factor(up))
        shape["up"], shape["up_back"] = place.start, writer.turn(place)
        if residual:  # what the skip connection adds is fixed by the element
            matrices = writer.factor(sizes.pad(_of_elements(interaction.skip_tp)[:, 0], 1, 2))
            shape["table"] = writer.put_product(Place(vectors.start, (elements, 1, padded)), matrices).start
    else:
        shape["up"], shape["up_back"] = writer.put_both(up)

    order, count = _paths(interaction.conv_tp, shape, tables)
    shape["row"] = [sum(count[k] * (2 * k + 1) for k in range(l3)) for l3 in ends]
    shape["count"] = count
    shape["middle"] = sum(count[l3] * (2 * l3 + 1) for l3 in ends)
    _radial_network(interaction.conv_tp_weights, order, sizes, shape, writer)
    _messages(interaction, count, sizes, shape, writer)
    _contraction(block.symmetric_contractions, shape, sizes, tables, writer)

    mix = _mixing(block.linear, sizes, l_out + 1)
    shape["product"], shape["product_back"] = writer.put_both(mix)
    skip = np.zeros((1, 1, 1, 1))
    if number > 0:
        skip = sizes.pad(_of_elements(interaction.skip_tp)[:, : l_out + 1], 2, 3)
    shape["skip"], shape["skip_back"] = writer.put_both(skip)
    vector = np.zeros(padded)
    if readout is not None:
        if not hasattr(readout, "linear"):
            raise UnsupportedError(f"read-out {type(readout).__name__}")
        (_, instruction, weight) = next(iter(readout.linear.weight_views(yield_instruction=True)))
        vector[: sizes.channels] = scale * instruction.path_weight * _numpy(weight)[:, 0]
    shape["readout"] = writer.put(vector).start
    shape["groups"] = 1 if residual else elements

    tables.shapes.append("{" + ", ".join(f".{key} = {_c(value)}" for key, value in shape.items()) + "}")
    tables.at_least(MIDDLE=shape["middle"], HIDDEN_ROWS=max(shape["rows_in"], shape["rows_out"]), PATHS=sum(count), TENSOR=shape["tensor"])
    return shape["rows_out"]


def _paths(product_: Any, shape: dict, tables: _Tables) -> tuple[list[int], list[int]]:
    """Write paths and couplings; return the instruction of each path, in our order, and the paths that end in each order."""
    instructions = list(enumerate(product_.instructions))
    ls = [
        (product_.irreps_in1[i.i_in1].ir.l, product_.irreps_in2[i.i_in2].ir.l, product_.irreps_out[i.i_out].ir.l) for _, i in instructions
    ]
    count = [sum(l3 == end for _, _, l3 in ls) for end in range(max(l3 for *_, l3 in ls) + 1)]
    shape["paths"], shape["couplings"], tensor = len(tables.paths), len(tables.couplings), 0
    seen: Counter = Counter()
    for (_, instruction), (l1, l2, l3) in zip(instructions, ls, strict=True):
        kind = tables.triples.setdefault((l1, l3), len(tables.triples))
        row = sum(count[k] * (2 * k + 1) for k in range(l3)) + seen[l3]
        tables.paths.append(f"{{{kind}, {l1}, {l2}, {tensor}, {row}, {count[l3]}}}")
        coefficients = instruction.path_weight * _numpy(o3.wigner_3j(l1, l2, l3, dtype=torch.float64))
        for m1, m2, m3 in product(*map(range, coefficients.shape)):
            if abs(coefficients[m1, m2, m3]) > 1e-12:
                place = tensor + m1 * (2 * l3 + 1) + m3
                tables.couplings.append(f"{{{place}, {l2 * l2 + m2}, {float(coefficients[m1, m2, m3])!r}}}")
        seen[l3] += 1
        tensor += (2 * l1 + 1) * (2 * l3 + 1)
    shape["paths_end"], shape["couplings_end"], shape["tensor"] = len(tables.paths), len(tables.couplings), tensor
    return [number for number, _ in instructions], count


def _radial_network(network: Any, order: list[int], sizes: _Sizes, shape: dict, writer: Writer) -> None:
    """Write the layers of the radial network; what e3nn multiplies activations with goes into the next matrix."""
    shape["radial"], shape["radial_back"], gain = [], [], 1.0
    layers = list(network)
    for number, layer in enumerate(layers):
        last = number == len(layers) - 1
        weight = gain * _numpy(layer.weight) / np.sqrt(layer.h_in * layer.var_in / (layer.var_out if last else 1.0))
        if last:
            paths = weight.reshape(len(weight), len(order), sizes.channels)
            weight = sizes.pad(paths, 2).reshape(len(weight), -1)
        else:
            gain = layer.act.cst * np.sqrt(layer.var_out)
        weight = _padded(weight, [-len(weight) % LANES, -weight.shape[1] % LANES])
        for key, place in zip(("radial", "radial_back"), writer.put_both(weight), strict=True):
            shape[key].append(place)


def _messages(interaction: Any, count: list[int], sizes: _Sizes, shape: dict, writer: Writer) -> None:
    """Write the mixing of paths; without a residual with the matrix of the receiver's element behind it."""
    views = [(i.i_in, i.i_out, i.path_weight * _numpy(w)) for _, i, w in interaction.linear.weight_views(yield_instruction=True)]
    out = interaction.linear.irreps_out
    shape["linear"], shape["linear_back"] = [], []
    elements = None if type(interaction) is RealAgnosticResidualInteractionBlock else _of_elements(interaction.skip_tp)
    for end in range(sizes.ell + 1):
        mine = [sizes.pad(w, 0) for i_in, i_out, w in sorted(views, key=lambda v: v[0]) if out[i_out].ir.l == end]
        matrix = np.concatenate(mine)[None] / float(interaction.avg_num_neighbors)
        if len(mine) != count[end]:
            raise UnsupportedError("mixing of messages")
        matrix = sizes.pad(matrix, 2)
        if elements is None:
            place = writer.put(matrix)
        else:
            place = writer.put_product(writer.factor(matrix), writer.factor(sizes.pad(elements[:, end], 1, 2)))
        shape["linear"].append(place.start)
        shape["linear_back"].append(writer.turn(place))


def _of_elements(skip: Any) -> np.ndarray:
    """Matrices ``[element, l, C, C]`` of the tensor product with the one-hot element."""
    found = []
    for _, instruction, weight in skip.weight_views(yield_instruction=True):
        order = skip.irreps_in1[instruction.i_in1].ir.l
        found.append(instruction.path_weight / np.sqrt(2 * order + 1) * _numpy(weight).transpose(1, 0, 2))
    return np.array(found).transpose(1, 0, 2, 3)


def _contraction(contraction: Any, shape: dict, sizes: _Sizes, tables: _Tables, writer: Writer) -> None:
    """Write the symmetric contraction as a polynomial: monomials, the outputs each goes to, and their weights per element.

    Σ_ν Σ_k w_νk Σ U_ν[M, i.., k] x_i.. (Batatia et al. 2022, eq. 10), with equal monomials collected.
    """
    one, row, column = (sizes.ell + 1) ** 2, 0, 0
    gathered: dict[tuple[tuple[int, ...], int], tuple[int, np.ndarray]] = {}
    stacked: list[np.ndarray] = []
    for part in contraction.contractions:
        weights = [*part.weights, part.weights_max] if part.correlation > 1 else [part.weights_max]
        orders = [*range(part.correlation - 1, 0, -1), part.correlation]
        components = 1
        for nu, weight in zip(orders, weights, strict=True):
            u = _numpy(part.U_tensors(nu))
            u = u if u.ndim == nu + 2 else u[None]
            if not u.any():  # nothing couples
                continue
            components = len(u)
            for place in np.argwhere(np.abs(u).sum(axis=-1) > 1e-12):
                key = (tuple(sorted(map(int, place[1:]))) + (one,) * (part.correlation - nu), row + int(place[0]))
                before = gathered.get(key, (column, 0))[1]
                gathered[key] = (column, before + u[tuple(place)])
            stacked.append(_numpy(weight))
            column += weight.shape[1]
        row += components
    keys = sorted(gathered)
    mixed = np.zeros((1, len(keys), column))  # [terms, weights of all parts and orders]
    for number, key in enumerate(keys):
        start, coefficients = gathered[key]
        mixed[0, number, start : start + len(coefficients)] = coefficients
    shape["monomials"], shape["terms"] = len(tables.monomials), len(tables.terms)
    previous = None
    for factors, output in keys:
        if factors != previous:
            tables.monomials.append(f"{{{{{', '.join(map(str, factors))}}}, {len(tables.terms)}}}")
            previous = factors
        tables.terms.append(output)
    shape["monomials_end"], shape["terms_end"] = len(tables.monomials), len(tables.terms)
    shape["poly"] = writer.put_product(Place(0, mixed.shape, mixed), writer.factor(sizes.pad(np.concatenate(stacked, axis=1), 2))).start


def _last_readout(readout: Any, scale: float, sizes: _Sizes, writer: Writer) -> dict[str, Any]:
    """Write the non-linear read-out of the last layer."""
    width = LANES
    into, out = np.zeros((sizes.padded, width)), np.zeros(width)
    if readout is not None:
        if not hasattr(readout, "linear_1"):
            raise UnsupportedError(f"read-out {type(readout).__name__}")
        (_, first, inner), (_, second, outer) = (
            next(iter(linear.weight_views(yield_instruction=True))) for linear in (readout.linear_1, readout.linear_2)
        )
        gain = float(readout.non_linearity.acts[0].cst)
        width = -(-inner.shape[1] // LANES) * LANES
        into, out = np.zeros((sizes.padded, width)), np.zeros(width)
        into[: sizes.channels, : inner.shape[1]] = first.path_weight * _numpy(inner)
        out[: inner.shape[1]] = scale * gain * second.path_weight * _numpy(outer)[:, 0]
    forth, back = writer.put_both(into)
    return {"READOUT": width, "READOUT_IN": forth, "READOUT_BACK": back, "READOUT_OUT": writer.put(out).start}


def _ladder(ell: int) -> list[str]:
    """Harmonics of order l from those of orders 1 and l − 1: y_l = k Σ cg y_1 y_(l−1)."""
    direction = torch.tensor([[0.36, 0.48, 0.8]], dtype=torch.float64)
    entries = []
    for order in range(2, ell + 1):
        cg = o3.wigner_3j(1, order - 1, order, dtype=torch.float64)
        low = o3.spherical_harmonics(order - 1, direction, normalize=True, normalization="component")[0]
        high = o3.spherical_harmonics(order, direction, normalize=True, normalization="component")[0]
        raw = torch.einsum("abm,a,b->m", cg, 3**0.5 * direction[0], low)
        factor = float((high @ raw) / (raw @ raw))
        for a, b, m in product(*map(range, cg.shape)):
            if abs(cg[a, b, m]) > 1e-12:
                entries.append(f"{{{order**2 + m}, {1 + a}, {(order - 1) ** 2 + b}, {factor * float(cg[a, b, m])!r}}}")
    return entries


def _header(sizes: _Sizes, tables: _Tables, last: dict[str, int], correlation: int, dtype: torch.dtype, envelope: float) -> str:
    single = dtype == torch.float32
    widths = [-(-width // LANES) * LANES for width in sizes.widths]
    ladder = _ladder(sizes.ell)
    numbers = {
        "C": sizes.padded,
        "LMAX": sizes.ell,
        "NY": (sizes.ell + 1) ** 2,
        "BASIS": sizes.basis,
        "BESSEL": -(-sizes.basis // LANES) * LANES,
        "LAYERS": len(tables.shapes),
        "SPECIES": sizes.elements,
        "CORRELATION": correlation,
        "DEPTH": len(widths),
        "WIDEST": max(*widths, LANES),
        "LADDERS": len(ladder),
        "ENVELOPE": envelope,
        **tables.most,
        **last,
        "REAL": "float" if single else "double",
        "BITS": "int" if single else "long long",
        "MANTISSA": 23 if single else 52,
        "ROUND": 1.5 * 2.0 ** (23 if single else 52),
    }
    many, ends = sizes.ell + 1, len(widths) + 1
    lines = [f"#define {name} {value}" for name, value in numbers.items()]
    lines += [
        f"static const int WIDTH[] = {_c(widths)};",
        "static const struct { int m, a, b; double factor; } LADDER[] = {" + ", ".join(ladder or ["{0, 0, 0, 0}"]) + "};",
        "struct path { int kind, l1, l2, t, row, stride; };",
        "static const struct path PATH[] = {" + ", ".join(tables.paths) + "};",
        "static const struct { int t, y; REAL factor; } COUPLING[] = {" + ", ".join(tables.couplings) + "};",
        "static const struct { int factor[CORRELATION], terms; } MONOMIAL[] = {"
        + ", ".join([*tables.monomials, f"{{{{{', '.join(['0'] * correlation)}}}, {len(tables.terms)}}}"])
        + "};",
        f"static const int TERM[] = {_c(tables.terms)};",
        "#define FOR_TRIPLES(X) " + " ".join(f"X({kind}, {l1}, {l3})" for (l1, l3), kind in tables.triples.items()),
        "struct shape { int l_in, rows_in, l_out, rows_out, paths, paths_end, couplings, couplings_end, tensor, middle, monomials, "
        f"monomials_end, terms, terms_end, groups, residual, row[{many}], count[{many}]; size_t up, up_back, "
        f"linear[{many}], linear_back[{many}], "
        f"radial[{ends}], radial_back[{ends}], poly, product, product_back, skip, skip_back, readout, table; }};",
        "static const struct shape SHAPE[] = {" + ", ".join(tables.shapes) + "};",
    ]
    return "\n".join(lines) + "\n"


def _c(value: Any) -> str:
    return "{" + ", ".join(map(str, value)) + "}" if isinstance(value, list) else str(value)
