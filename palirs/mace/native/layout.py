"""From a MACE module to what the compiled code needs: tables that depend on the architecture (a C header), and one array of weights.

All of e3nn's normalisations are folded into the numbers here, so that the compiled code only multiplies and adds. Every number is a
parameter of the module times a constant, or comes from a few products of matrices of such numbers; so what the compiled code finds as
derivatives by the numbers is easily carried back to the parameters.
"""

from collections import Counter
from collections.abc import Sequence
import math
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palirs.mace.backend import RealAgnosticInteractionBlock, RealAgnosticResidualInteractionBlock, o3

LANES = 8
"""Channels are padded to a multiple of this, the floats in a vector register of 32 bytes."""


class UnsupportedError(Exception):
    """The module has a part that the compiled code does not know."""


@dataclass
class Program:
    """Header, weights and sizes of one model.

    Attributes
    ----------
    header : str
        ``shape.h``; the same for all models of one architecture.
    factors : numpy.ndarray
        Multiples of single parameters, float64; :meth:`weights` makes of them what the compiled code takes.
    dtype : numpy.dtype
        Precision of the model.
    products : list of Product
        What is multiplied.
    turned : numpy.ndarray
        Where in the weights the transposed copies are, that follow them.
    size : int
        Of the weights without the transposed copies.
    cutoff : float
        [Å].
    channels : int
        Padded number of channels.
    rows : tuple of int
        Components per atom of the features after each layer.
    """

    header: str
    factors: np.ndarray
    dtype: np.dtype
    products: "list[Product]"
    turned: np.ndarray
    size: int
    cutoff: float
    channels: int
    rows: tuple[int, ...]

    def weights(self, factors: np.ndarray) -> np.ndarray:
        """Return the weights with their transposed copies, given factors like :attr:`factors`."""
        weights = factors[: self.size].copy()
        for product_ in self.products:
            left, right = product_.left.of(factors[self.size :]), product_.right.of(factors[self.size :])
            product_.out.of(weights)[...] = left @ right
        return np.concatenate([weights, weights[self.turned]]).astype(self.dtype, copy=False)

    def by_factors(self, factors: np.ndarray, by_weights: np.ndarray) -> np.ndarray:
        """Return derivatives by the factors, given them and the derivatives by the weights; the transposed copies have none."""
        found = np.zeros(len(factors), factors.dtype)
        found[: self.size] = by_weights
        for product_ in self.products:
            left, right = product_.left.of(factors[self.size :]), product_.right.of(factors[self.size :])
            out = product_.out.of(by_weights)
            product_.left.add(found[self.size :], out @ right.swapaxes(-1, -2))
            product_.right.add(found[self.size :], left.swapaxes(-1, -2) @ out)
        return found

    def layers(self, flat: np.ndarray, atoms: int) -> list[np.ndarray]:
        """Cut the features of all layers into ``[atoms, components, channels]`` of each."""
        parts = np.split(flat, np.cumsum([atoms * rows * self.channels for rows in self.rows])[:-1])
        return [part.reshape(atoms, rows, self.channels) for part, rows in zip(parts, self.rows, strict=True)]


@dataclass(frozen=True)
class _Place:
    """Matrices in an array: offset and shape; or constant ones."""

    start: int
    shape: tuple[int, ...]
    constant: np.ndarray | None = None

    def of(self, array: np.ndarray) -> np.ndarray:
        """Return a view of them."""
        return self.constant if self.constant is not None else array[self.start : self.start + math.prod(self.shape)].reshape(self.shape)

    def add(self, array: np.ndarray, values: np.ndarray) -> None:
        """Add to them, after summing over leading axes that they do not have; constants need nothing."""
        if self.constant is None:
            broadcast = tuple(axis for axis, (size, mine) in enumerate(zip(values.shape, self.shape, strict=True)) if size != mine)
            self.of(array)[...] += values.sum(axis=broadcast, keepdims=True)


@dataclass(frozen=True)
class Product:
    """Matrices among the weights that are products of others, which follow the weights among the factors."""

    out: _Place
    left: _Place
    right: _Place


@dataclass
class _Writer:
    """Collects weights one after the other and gives their offsets."""

    parts: list[np.ndarray] = field(default_factory=list)
    size: int = 0
    turned: list[np.ndarray] = field(default_factory=list)
    turned_size: int = 0
    factors: list[np.ndarray] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)

    def put(self, values: np.ndarray) -> int:
        start, flat = self.size, np.ascontiguousarray(values, dtype=np.float64).ravel()
        self.parts.append(np.pad(flat, (0, -flat.size % 16)))  # every matrix begins on a cache line
        self.size += self.parts[-1].size
        return start

    def put_both(self, matrices: np.ndarray) -> tuple[int, str]:
        """Put matrices, and their transposed copies, which the backward pass needs, behind everything else; a C expression says where."""
        start = self.put(matrices)
        return start, self._turn(start, matrices.shape)

    def put_product(self, left: np.ndarray, right: np.ndarray, constant: bool = False) -> tuple[int, str]:
        """As :meth:`put_both` for ``left @ right``; ``left`` may be constant."""
        shape = (*np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), left.shape[-2], right.shape[-1])
        start = self.put(np.zeros(shape))
        one = _Place(0, left.shape, left) if constant else self._factor(left)
        self.products.append(Product(_Place(start, shape), one, self._factor(right)))
        return start, self._turn(start, shape)

    def _factor(self, matrices: np.ndarray) -> _Place:
        start = sum(len(part) for part in self.factors)
        self.factors.append(np.ascontiguousarray(matrices).ravel())
        return _Place(start, matrices.shape)

    def _turn(self, start: int, shape: tuple[int, ...]) -> str:
        back, places = self.turned_size, (start + np.arange(math.prod(shape))).reshape(shape).swapaxes(-1, -2).ravel()
        self.turned.append(np.pad(places, (0, -len(places) % 16), constant_values=start))
        self.turned_size += len(self.turned[-1])
        return f"TURNED + {back}"


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
    tables, writer = _Tables(), _Writer()
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
    if type(interactions[0]) is not RealAgnosticInteractionBlock:
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
    if products[0].use_sc or any(p.use_agnostic_product for p in products) or len({_correlation(p) for p in products}) != 1:
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


def _layer(number, interaction, block, embedding, readout, scale, sizes: _Sizes, tables: _Tables, writer: _Writer) -> int:
    """Lay one layer out; return the components per atom that it gives."""
    padded, elements, ell = sizes.padded, sizes.elements, sizes.ell
    l_in = 0 if number == 0 else max(ir.l for _, ir in interaction.node_feats_irreps)
    l_out = max(ir.l for _, ir in block.linear.irreps_out)
    ends = range(ell + 1)
    shape: dict[str, Any] = {"l_in": l_in, "rows_in": (l_in + 1) ** 2, "l_out": l_out, "rows_out": (l_out + 1) ** 2}

    up = _mixing(interaction.linear_up, sizes, l_in + 1)
    if number == 0:
        (_, instruction, weight) = next(iter(embedding.weight_views(yield_instruction=True)))
        shape["up"], shape["up_back"] = writer.put_product(sizes.pad(instruction.path_weight * _numpy(weight), 1)[None], up)
    else:
        shape["up"], shape["up_back"] = writer.put_both(up)

    order, count = _paths(interaction.conv_tp, shape, tables)
    shape["row"] = [sum(count[k] * (2 * k + 1) for k in range(l3)) for l3 in ends]
    shape["count"] = count
    shape["middle"] = sum(count[l3] * (2 * l3 + 1) for l3 in ends)
    _radial_network(interaction.conv_tp_weights, order, sizes, shape, writer)
    _messages(number, interaction, count, sizes, shape, writer)
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
    shape["readout"] = writer.put(vector)
    shape["groups"] = elements if number == 0 else 1

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


def _radial_network(network: Any, order: list[int], sizes: _Sizes, shape: dict, writer: _Writer) -> None:
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


def _messages(number: int, interaction: Any, count: list[int], sizes: _Sizes, shape: dict, writer: _Writer) -> None:
    """Write the mixing of paths; in the first layer with the matrix of the receiver's element behind it."""
    views = [(i.i_in, i.i_out, i.path_weight * _numpy(w)) for _, i, w in interaction.linear.weight_views(yield_instruction=True)]
    out = interaction.linear.irreps_out
    shape["linear"], shape["linear_back"] = [], []
    elements = _of_elements(interaction.skip_tp) if number == 0 else None
    for end in range(sizes.ell + 1):
        mine = [sizes.pad(w, 0) for i_in, i_out, w in sorted(views, key=lambda v: v[0]) if out[i_out].ir.l == end]
        matrix = np.concatenate(mine)[None] / float(interaction.avg_num_neighbors)
        if len(mine) != count[end]:
            raise UnsupportedError("mixing of messages")
        matrix = sizes.pad(matrix, 2)
        places = writer.put_both(matrix) if elements is None else writer.put_product(matrix, sizes.pad(elements[:, end], 1, 2))
        for key, place in zip(("linear", "linear_back"), places, strict=True):
            shape[key].append(place)


def _of_elements(skip: Any) -> np.ndarray:
    """Matrices ``[element, l, C, C]`` of the tensor product with the one-hot element."""
    found = []
    for _, instruction, weight in skip.weight_views(yield_instruction=True):
        order = skip.irreps_in1[instruction.i_in1].ir.l
        found.append(instruction.path_weight / np.sqrt(2 * order + 1) * _numpy(weight).transpose(1, 0, 2))
    return np.array(found).transpose(1, 0, 2, 3)


def _contraction(contraction: Any, shape: dict, sizes: _Sizes, tables: _Tables, writer: _Writer) -> None:
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
    shape["poly"] = writer.put_product(mixed, sizes.pad(np.concatenate(stacked, axis=1), 2), constant=True)[0]


def _last_readout(readout: Any, scale: float, sizes: _Sizes, writer: _Writer) -> dict[str, int]:
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
    return {"READOUT": width, "READOUT_IN": forth, "READOUT_BACK": back, "READOUT_OUT": writer.put(out)}


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
        f"monomials_end, terms, terms_end, groups, row[{many}], count[{many}]; size_t up, up_back, linear[{many}], linear_back[{many}], "
        f"radial[{ends}], radial_back[{ends}], poly, product, product_back, skip, skip_back, readout; }};",
        "static const struct shape SHAPE[] = {" + ", ".join(tables.shapes) + "};",
    ]
    return "\n".join(lines) + "\n"


def _c(value: Any) -> str:
    return "{" + ", ".join(map(str, value)) + "}" if isinstance(value, list) else str(value)
