"""From a MACE module to what the compiled code needs: tables that depend on the architecture (a C header), and one array of weights.

All of e3nn's normalisations are folded into the numbers here, so that the compiled code only multiplies and adds. The numbers are
tensors: what the compiled code finds as the derivative by them goes back to the parameters of the module through them.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
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
    weights : Tensor
        One array, float64; differentiable by the parameters of the module unless under ``torch.no_grad``.
    dtype : numpy.dtype
        Precision of the model.
    cutoff : float
        [Å].
    channels : int
        Padded number of channels.
    rows : tuple of int
        Components per atom of the features after each layer.
    """

    header: str
    weights: Tensor
    dtype: np.dtype
    cutoff: float
    channels: int
    rows: tuple[int, ...]

    def layers(self, flat: np.ndarray, atoms: int) -> list[np.ndarray]:
        """Cut the features of all layers into ``[atoms, components, channels]`` of each."""
        parts = np.split(flat, np.cumsum([atoms * rows * self.channels for rows in self.rows])[:-1])
        return [part.reshape(atoms, rows, self.channels) for part, rows in zip(parts, self.rows, strict=True)]


@dataclass
class _Writer:
    """Collects weights one after the other and gives their offsets."""

    parts: list[Tensor] = field(default_factory=list)
    size: int = 0

    def put(self, values: Tensor) -> int:
        start, flat = self.size, values.reshape(-1)
        self.parts.append(_padded(flat, [-len(flat) % 16]))  # every matrix begins on a cache line
        self.size += len(self.parts[-1])
        return start


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
    return Program(header, torch.cat(writer.parts), np.dtype(str(dtype).removeprefix("torch.")), float(radial.bessel_fn.r_max), sizes.padded, tuple(rows))


@dataclass(frozen=True)
class _Sizes:
    channels: int
    padded: int
    elements: int
    ell: int
    widths: Sequence[int]
    basis: int

    def pad(self, matrix: Tensor, *axes: int) -> Tensor:
        """Pad channel axes with zeros."""
        missing = self.padded - self.channels
        return _padded(matrix, [missing if axis in axes else 0 for axis in range(matrix.ndim)])


def _padded(matrix: Tensor, more: Sequence[int]) -> Tensor:
    """Add zeros at the end of every axis."""
    return torch.nn.functional.pad(matrix, [width for extra in reversed(more) for width in (0, extra)]) if any(more) else matrix


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


def _mixing(linear: Any, sizes: _Sizes, dims: int) -> Tensor:
    """Matrices ``[l, C, C]`` of an equivariant linear map of the first ``dims`` orders."""
    weights = {int(i.i_in): i.path_weight * w.double() for _, i, w in linear.weight_views(yield_instruction=True)}
    return sizes.pad(torch.stack([weights[order] for order in range(dims)]), 1, 2)


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
        up = sizes.pad(instruction.path_weight * weight.double(), 1)[None] @ up
    shape["up"], shape["up_back"] = writer.put(up), writer.put(up.mT)

    order, count = _paths(interaction.conv_tp, shape, tables)
    shape["row"] = [sum(count[k] * (2 * k + 1) for k in range(l3)) for l3 in ends]
    shape["count"] = count
    shape["middle"] = sum(count[l3] * (2 * l3 + 1) for l3 in ends)
    _radial_network(interaction.conv_tp_weights, order, sizes, shape, writer)
    _messages(number, interaction, count, sizes, shape, writer)
    _contraction(block.symmetric_contractions, shape, sizes, tables, writer)

    mix = _mixing(block.linear, sizes, l_out + 1)
    shape["product"], shape["product_back"] = writer.put(mix), writer.put(mix.mT)
    skip = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    if number > 0:
        skip = sizes.pad(_of_elements(interaction.skip_tp)[:, : l_out + 1], 2, 3)
    shape["skip"], shape["skip_back"] = writer.put(skip), writer.put(skip.mT)
    vector = torch.zeros(padded, dtype=torch.float64)
    if readout is not None:
        if not hasattr(readout, "linear"):
            raise UnsupportedError(f"read-out {type(readout).__name__}")
        (_, instruction, weight) = next(iter(readout.linear.weight_views(yield_instruction=True)))
        vector = sizes.pad(scale * instruction.path_weight * weight.double()[:, 0], 0)
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
        coefficients = instruction.path_weight * _wigner(l1, l2, l3)
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
        weight = gain * layer.weight.double() / np.sqrt(layer.h_in * layer.var_in / (layer.var_out if last else 1.0))
        if last:
            paths = weight.reshape(len(weight), len(order), sizes.channels)
            weight = sizes.pad(paths, 2).reshape(len(weight), -1)
        else:
            gain = layer.act.cst * np.sqrt(layer.var_out)
        weight = _padded(weight, [-len(weight) % LANES, -weight.shape[1] % LANES])
        shape["radial"].append(writer.put(weight))
        shape["radial_back"].append(writer.put(weight.mT))


def _messages(number: int, interaction: Any, count: list[int], sizes: _Sizes, shape: dict, writer: _Writer) -> None:
    """Write the mixing of paths; in the first layer with the matrix of the receiver's element behind it."""
    views = [(i.i_in, i.i_out, i.path_weight * w.double()) for _, i, w in interaction.linear.weight_views(yield_instruction=True)]
    out = interaction.linear.irreps_out
    shape["linear"], shape["linear_back"] = [], []
    elements = _of_elements(interaction.skip_tp) if number == 0 else None
    for end in range(sizes.ell + 1):
        mine = [sizes.pad(w, 0) for i_in, i_out, w in sorted(views, key=lambda v: v[0]) if out[i_out].ir.l == end]
        matrix = torch.cat(mine)[None] / float(interaction.avg_num_neighbors)
        if len(mine) != count[end]:
            raise UnsupportedError("mixing of messages")
        if elements is not None:
            matrix = matrix @ elements[:, end]
        matrix = sizes.pad(matrix, 2)
        shape["linear"].append(writer.put(matrix))
        shape["linear_back"].append(writer.put(matrix.mT))


def _of_elements(skip: Any) -> Tensor:
    """Matrices ``[element, l, C, C]`` of the tensor product with the one-hot element."""
    found = []
    for _, instruction, weight in skip.weight_views(yield_instruction=True):
        order = skip.irreps_in1[instruction.i_in1].ir.l
        found.append(instruction.path_weight / np.sqrt(2 * order + 1) * weight.double().transpose(0, 1))
    return torch.stack(found, dim=1)


def _contraction(contraction: Any, shape: dict, sizes: _Sizes, tables: _Tables, writer: _Writer) -> None:
    """Write the symmetric contraction as a polynomial: monomials, the outputs each goes to, and their weights per element.

    Σ_ν Σ_k w_νk Σ U_ν[M, i.., k] x_i.. (Batatia et al. 2022, eq. 10), with equal monomials collected.
    """
    one, row = (sizes.ell + 1) ** 2, 0
    keys: list[tuple[tuple[int, ...], int]] = []
    terms: list[Tensor] = []
    for part in contraction.contractions:
        weights = [*part.weights, part.weights_max] if part.correlation > 1 else [part.weights_max]
        orders = [*range(part.correlation - 1, 0, -1), part.correlation]
        components = 1
        for nu, weight in zip(orders, weights, strict=True):
            u = part.U_tensors(nu).numpy().astype(np.float64)
            u = u if u.ndim == nu + 2 else u[None]
            if not u.any():  # nothing couples
                continue
            components = len(u)
            gathered: dict[tuple[tuple[int, ...], int], np.ndarray] = {}
            for place in np.argwhere(np.abs(u).sum(axis=-1) > 1e-12):
                key = (tuple(sorted(map(int, place[1:]))) + (one,) * (part.correlation - nu), row + int(place[0]))
                gathered[key] = gathered.get(key, 0) + u[tuple(place)]
            keys += gathered
            terms.append(torch.einsum("tk,ekc->etc", torch.tensor(np.array(list(gathered.values()))), weight.double()))
        row += components
    order = sorted(range(len(keys)), key=keys.__getitem__)
    shape["monomials"], shape["terms"] = len(tables.monomials), len(tables.terms)
    previous = None
    for factors, output in (keys[place] for place in order):
        if factors != previous:
            tables.monomials.append(f"{{{{{', '.join(map(str, factors))}}}, {len(tables.terms)}}}")
            previous = factors
        tables.terms.append(output)
    shape["monomials_end"], shape["terms_end"] = len(tables.monomials), len(tables.terms)
    shape["poly"] = writer.put(sizes.pad(torch.cat(terms, dim=1)[:, order], 2))


def _last_readout(readout: Any, scale: float, sizes: _Sizes, writer: _Writer) -> dict[str, int]:
    """Write the non-linear read-out of the last layer."""
    width = LANES
    into, out = torch.zeros(sizes.padded, width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
    if readout is not None:
        if not hasattr(readout, "linear_1"):
            raise UnsupportedError(f"read-out {type(readout).__name__}")
        (_, first, inner), (_, second, outer) = (
            next(iter(linear.weight_views(yield_instruction=True))) for linear in (readout.linear_1, readout.linear_2)
        )
        gain = float(readout.non_linearity.acts[0].cst)
        width = -(-inner.shape[1] // LANES) * LANES
        more = width - inner.shape[1]
        into = sizes.pad(_padded(first.path_weight * inner.double(), [0, more]), 0)
        out = _padded(scale * gain * second.path_weight * outer.double()[:, 0], [more])
    return {"READOUT": width, "READOUT_IN": writer.put(into), "READOUT_BACK": writer.put(into.T), "READOUT_OUT": writer.put(out)}


@lru_cache(maxsize=256)
def _wigner(l1: int, l2: int, l3: int) -> np.ndarray:
    return o3.wigner_3j(l1, l2, l3, dtype=torch.float64).numpy()


@lru_cache(maxsize=8)
def _ladder(ell: int) -> list[str]:
    """Harmonics of order l from those of orders 1 and l − 1: y_l = k Σ cg y_1 y_(l−1)."""
    direction = torch.tensor([[0.36, 0.48, 0.8]], dtype=torch.float64)
    entries = []
    for order in range(2, ell + 1):
        cg = torch.from_numpy(_wigner(1, order - 1, order))
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
