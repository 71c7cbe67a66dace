"""Tables of an architecture: what the C header says, and nothing that training changes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palirs.mace.backend import o3


@dataclass(frozen=True)
class Sizes:
    """Channels, elements, highest order of the harmonics, widths and inputs of the radial network; numbers in a vector of the machine."""

    channels: int
    elements: int
    ell: int
    widths: Sequence[int]
    basis: int
    lanes: int

    def up(self, size: int) -> int:
        """Return the next multiple of the numbers in a vector; matrices have whole vectors, and products four rows at a time."""
        return -(-size // max(self.lanes, 4)) * max(self.lanes, 4)

    @property
    def padded(self) -> int:
        """Channels with padding."""
        return self.up(self.channels)

    def pad(self, matrix: np.ndarray, *axes: int) -> np.ndarray:
        """Pad channel axes with zeros."""
        missing = self.padded - self.channels
        return padded(matrix, [missing if axis in axes else 0 for axis in range(matrix.ndim)])


@dataclass
class Tables:
    """Tables of all layers, as lists of C initialisers."""

    paths: list[str] = field(default_factory=list)
    couplings: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    monomials: list[str] = field(default_factory=list)
    terms: list[int] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    triples: dict[tuple[int, int], int] = field(default_factory=dict)
    most: Counter = field(default_factory=Counter)

    def at_least(self, **sizes: int) -> None:
        """Keep the largest of each size over the layers."""
        for name, value in sizes.items():
            self.most[name] = max(self.most[name], value)


def paths(product_: Any, shape: dict, tables: Tables) -> tuple[list[int], list[int]]:
    """Write paths and couplings; return the instruction of each path, in our order, and the paths that end in each order."""
    instructions = list(enumerate(product_.instructions))
    ls = [
        (
            product_.irreps_in1[i.i_in1].ir.l,
            product_.irreps_in2[i.i_in2].ir.l,
            product_.irreps_out[i.i_out].ir.l,
        )
        for _, i in instructions
    ]
    count = [sum(l3 == end for _, _, l3 in ls) for end in range(max(l3 for *_, l3 in ls) + 1)]
    shape["paths"], shape["couplings"], tensor = len(tables.paths), len(tables.couplings), 0
    seen: Counter = Counter()
    for (_, instruction), (l1, l2, l3) in zip(instructions, ls, strict=True):
        kind = tables.triples.setdefault((l1, l3), len(tables.triples))
        row = sum(count[k] * (2 * k + 1) for k in range(l3)) + seen[l3]
        tables.paths.append(f"{{{kind}, {l1}, {l2}, {tensor}, {row}, {count[l3]}}}")
        coefficients = instruction.path_weight * numbers(
            o3.wigner_3j(l1, l2, l3, dtype=torch.float64)
        )
        for m1, m2, m3 in product(*map(range, coefficients.shape)):
            if abs(coefficients[m1, m2, m3]) > 1e-12:
                place = tensor + m1 * (2 * l3 + 1) + m3
                tables.couplings.append(
                    f"{{{place}, {l2 * l2 + m2}, {float(coefficients[m1, m2, m3])!r}}}"
                )
        seen[l3] += 1
        tensor += (2 * l1 + 1) * (2 * l3 + 1)
    shape["paths_end"], shape["couplings_end"], shape["tensor"] = (
        len(tables.paths),
        len(tables.couplings),
        tensor,
    )
    return [number for number, _ in instructions], count


def contraction(symmetric: Any, shape: dict, sizes: Sizes, tables: Tables) -> np.ndarray:
    """Write the symmetric contraction as a polynomial: monomials, and the outputs each goes to.

    Σ_ν Σ_k w_νk Σ U_ν[M, i.., k] x_i.. (Batatia et al. 2022, eq. 10), with equal monomials
    collected. Return the matrix ``[1, terms, weights of all parts and orders]`` that makes the
    weights of the terms of those of the module.
    """
    gathered, columns = _terms(symmetric, (sizes.ell + 1) ** 2)
    keys = sorted(gathered)
    mixed = np.zeros((1, len(keys), columns))
    for number, key in enumerate(keys):
        start, coefficients = gathered[key]
        mixed[0, number, start : start + len(coefficients)] = coefficients
    shape["heads"], shape["terms"] = len(tables.heads), len(tables.terms)
    previous: tuple[int, ...] | None = None
    for factors, output in keys:
        if previous is None or factors[:-1] != previous[:-1]:
            tables.heads.append(
                f"{{{{{', '.join(map(str, factors[:-1])) or '0'}}}, {len(tables.monomials)}}}"
            )
        if factors != previous:
            tables.monomials.append(f"{{{factors[-1]}, {len(tables.terms)}}}")
        previous = factors
        tables.terms.append(output)
    shape["heads_end"], shape["terms_end"] = len(tables.heads), len(tables.terms)
    return mixed


Terms = dict[tuple[tuple[int, ...], int], tuple[int, np.ndarray]]


def _terms(symmetric: Any, one: int) -> tuple[Terms, int]:
    """Collect the coefficients of each monomial and output, and the number of weights; ``one`` is the factor that is no factor."""
    row, column = 0, 0
    gathered: Terms = {}
    for part in symmetric.contractions:
        components = 1
        for nu, weight in orders(part):
            u = numbers(part.U_tensors(nu))
            u = u if u.ndim == nu + 2 else u[None]
            if not u.any():  # nothing couples
                continue
            components = len(u)
            for place in np.argwhere(np.abs(u).sum(axis=-1) > 1e-12):
                key = (
                    tuple(sorted(map(int, place[1:]))) + (one,) * (part.correlation - nu),
                    row + int(place[0]),
                )
                before = gathered.get(key, (column, 0))[1]
                gathered[key] = (column, before + u[tuple(place)])
            column += weight.shape[1]
        row += components
    return gathered, column


def orders(part: Any) -> list[tuple[int, Tensor]]:
    """Return the orders of a part of the symmetric contraction with their weights, as MACE keeps them."""
    weights = [*part.weights, part.weights_max] if part.correlation > 1 else [part.weights_max]
    return list(zip([*range(part.correlation - 1, 0, -1), part.correlation], weights, strict=True))


def _ladder(ell: int) -> list[str]:
    """Harmonics of order l from those of orders 1 and l − 1: y_l = k Σ cg y_1 y_(l−1)."""
    direction = torch.tensor([[0.36, 0.48, 0.8]], dtype=torch.float64)
    entries = []
    for order in range(2, ell + 1):
        cg = o3.wigner_3j(1, order - 1, order, dtype=torch.float64)
        low = o3.spherical_harmonics(
            order - 1, direction, normalize=True, normalization="component"
        )[0]
        high = o3.spherical_harmonics(order, direction, normalize=True, normalization="component")[
            0
        ]
        raw = torch.einsum("abm,a,b->m", cg, 3**0.5 * direction[0], low)
        factor = float((high @ raw) / (raw @ raw))
        for a, b, m in product(*map(range, cg.shape)):
            if abs(cg[a, b, m]) > 1e-12:
                entries.append(
                    f"{{{order**2 + m}, {1 + a}, {(order - 1) ** 2 + b}, {factor * float(cg[a, b, m])!r}}}"
                )
    return entries


def header_of(
    sizes: Sizes, tables: Tables, correlation: int, dtype: torch.dtype, envelope: float
) -> str:
    """Return ``shape.h`` but for what the :class:`Writer` says; ``envelope`` is the order of the cutoff's polynomial."""
    single = dtype == torch.float32
    widths = [sizes.up(width) for width in sizes.widths]
    ladder = _ladder(sizes.ell)
    values = {
        "C": sizes.padded,
        "LMAX": sizes.ell,
        "NY": (sizes.ell + 1) ** 2,
        "BASIS": sizes.basis,
        "BESSEL": sizes.up(sizes.basis),
        "LAYERS": len(tables.shapes),
        "SPECIES": sizes.elements,
        "CORRELATION": correlation,
        "DEPTH": len(widths),
        "WIDEST": max(*widths, sizes.up(1)),
        "LADDERS": len(ladder),
        "ENVELOPE": envelope,
        **tables.most,
        "BYTES": sizes.lanes * (4 if single else 8),
        "REAL": "float" if single else "double",
        "BITS": "int" if single else "long long",
        "MANTISSA": 23 if single else 52,
        "ROUND": 1.5 * 2.0 ** (23 if single else 52),
    }
    many, ends = sizes.ell + 1, len(widths) + 1
    lines = [f"#define {name} {value}" for name, value in values.items()]
    lines += [
        f"static const int WIDTH[] = {c(widths)};",
        "static const struct { int m, a, b; double factor; } LADDER[] = {"
        + ", ".join(ladder or ["{0, 0, 0, 0}"])
        + "};",
        "struct path { int kind, l1, l2, t, row, stride; };",
        "static const struct path PATH[] = {" + ", ".join(tables.paths) + "};",
        "static const struct { int t, y; REAL factor; } COUPLING[] = {"
        + ", ".join(tables.couplings)
        + "};",
        "static const struct { int factor[CORRELATION > 1 ? CORRELATION - 1 : 1], monomials; } HEAD[] = {"
        + ", ".join([*tables.heads, f"{{{{0}}, {len(tables.monomials)}}}"])
        + "};",
        "static const struct { int last, terms; } MONOMIAL[] = {"
        + ", ".join([*tables.monomials, f"{{0, {len(tables.terms)}}}"])
        + "};",
        f"static const int TERM[] = {c(tables.terms)};",
        "#define FOR_TRIPLES(X) "
        + " ".join(f"X({kind}, {l1}, {l3})" for (l1, l3), kind in tables.triples.items()),
        "struct shape { int l_in, rows_in, l_out, rows_out, paths, paths_end, couplings, couplings_end, tensor, middle, heads, "
        f"heads_end, terms, terms_end, groups, residual, row[{many}], count[{many}]; size_t up, up_back, "
        f"linear[{many}], linear_back[{many}], "
        f"radial[{ends}], radial_back[{ends}], poly, product, product_back, skip, skip_back, readout, inner, inner_back, outer, table; }};",
        "static const struct shape SHAPE[] = {" + ", ".join(tables.shapes) + "};",
    ]
    return "\n".join(lines) + "\n"


def c(value: Any) -> str:
    """Return a C initialiser."""
    return "{" + ", ".join(map(str, value)) + "}" if isinstance(value, list) else str(value)


def numbers(tensor: Tensor) -> np.ndarray:
    """Return the numbers of a tensor in double precision."""
    return tensor.detach().double().cpu().numpy()


def padded(matrix: np.ndarray, more: Sequence[int]) -> np.ndarray:
    """Add zeros at the end of every axis."""
    filled = np.zeros([size + extra for size, extra in zip(matrix.shape, more, strict=True)])
    filled[tuple(slice(size) for size in matrix.shape)] = matrix
    return filled
