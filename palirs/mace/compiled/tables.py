"""Tables of the C header ``shape.h``: what an architecture fixes, without trained weights."""

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
    """Sizes of an architecture, and of the vectors of this machine.

    Attributes
    ----------
    channels : int
        Feature channels, without padding.
    elements : int
        Chemical elements.
    ell : int
        Highest order of the spherical harmonics.
    widths : sequence of int
        Widths of the hidden layers of the radial network.
    basis : int
        Radial basis functions, the inputs of the radial network.
    lanes : int
        Numbers in a vector register.
    """

    channels: int
    elements: int
    ell: int
    widths: Sequence[int]
    basis: int
    lanes: int

    def round_up(self, size: int) -> int:
        """Return the smallest multiple of ``max(lanes, 4)`` that is not below ``size``.

        Rows of matrices are whole vectors, and matrix products take four rows at a time.
        """
        multiple = max(self.lanes, 4)
        return -(-size // multiple) * multiple

    @property
    def padded(self) -> int:
        """Number of channels with padding."""
        return self.round_up(self.channels)

    def pad(self, matrix: np.ndarray, *axes: int) -> np.ndarray:
        """Pad the given axes, which are channels, with zeros."""
        extra = self.padded - self.channels
        return padded(matrix, [extra if axis in axes else 0 for axis in range(matrix.ndim)])


@dataclass
class Tables:
    """Tables of all layers, as lists of C initialisers.

    Attributes
    ----------
    paths : list of str
        Paths of the tensor products of features and harmonics: ``struct path``.
    couplings : list of str
        Non-zero coupling coefficients of the paths: ``COUPLING``.
    heads : list of str
        Monomials of the symmetric contraction without their last factor: ``HEAD``.
    monomials : list of str
        Last factors of the monomials: ``MONOMIAL``.
    terms : list of int
        Component of the output to which each term is added: ``TERM``.
    shapes : list of str
        Sizes and offsets of each layer: ``struct shape``.
    triples : dict
        Number of each pair (l1, l3) of orders of features and messages that occurs in a path.
    largest : Counter
        Largest value over the layers of each size that memory is reserved for.
    """

    paths: list[str] = field(default_factory=list)
    couplings: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    monomials: list[str] = field(default_factory=list)
    terms: list[int] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    triples: dict[tuple[int, int], int] = field(default_factory=dict)
    largest: Counter = field(default_factory=Counter)

    def keep_largest(self, **sizes: int) -> None:
        """Update :attr:`largest` with the sizes of a layer."""
        for name, value in sizes.items():
            self.largest[name] = max(self.largest[name], value)


def paths(product_: Any, shape: dict, tables: Tables) -> tuple[list[int], list[int]]:
    """Write the paths of a tensor product of features and harmonics with their couplings.

    A path couples features of order l1 and harmonics of order l2 to messages of order l3.

    Returns
    -------
    instructions : list of int
        e3nn's instruction of each path, in the order in which the paths are written.
    counts : list of int
        Number of paths to each order l3.
    """
    instructions = list(enumerate(product_.instructions))
    orders_ = [
        (
            product_.irreps_in1[i.i_in1].ir.l,
            product_.irreps_in2[i.i_in2].ir.l,
            product_.irreps_out[i.i_out].ir.l,
        )
        for _, i in instructions
    ]
    highest = max(l3 for *_, l3 in orders_)
    counts = [sum(l3 == order for _, _, l3 in orders_) for order in range(highest + 1)]
    shape["paths"] = len(tables.paths)
    shape["couplings"] = len(tables.couplings)
    offset = 0  # of the path in the array of coupled harmonics
    written: Counter = Counter()  # paths of each l3
    for (_, instruction), (l1, l2, l3) in zip(instructions, orders_, strict=True):
        kind = tables.triples.setdefault((l1, l3), len(tables.triples))
        row = sum(counts[k] * (2 * k + 1) for k in range(l3)) + written[l3]
        tables.paths.append(f"{{{kind}, {l1}, {l2}, {offset}, {row}, {counts[l3]}}}")
        coefficients = instruction.path_weight * numbers(
            o3.wigner_3j(l1, l2, l3, dtype=torch.float64)
        )
        for m1, m2, m3 in product(*map(range, coefficients.shape)):
            coefficient = float(coefficients[m1, m2, m3])
            if abs(coefficient) > 1e-12:
                element = offset + m1 * (2 * l3 + 1) + m3
                tables.couplings.append(f"{{{element}, {l2 * l2 + m2}, {coefficient!r}}}")
        written[l3] += 1
        offset += (2 * l1 + 1) * (2 * l3 + 1)
    shape["paths_end"] = len(tables.paths)
    shape["couplings_end"] = len(tables.couplings)
    shape["tensor"] = offset
    return [number for number, _ in instructions], counts


def contraction(symmetric: Any, shape: dict, sizes: Sizes, tables: Tables) -> np.ndarray:
    """Write the symmetric contraction as a polynomial: its monomials, and the outputs of each.

    Σ_ν Σ_k w_νk Σ U_ν[M, i.., k] x_i.. (Batatia et al. 2022, eq. 10), with equal monomials
    collected. Return the matrix ``[1, terms, weights of all parts and orders]`` by which the
    weights of the module are multiplied to give those of the terms.
    """
    coefficients_of, columns = _terms(symmetric, (sizes.ell + 1) ** 2)
    keys = sorted(coefficients_of)
    matrix = np.zeros((1, len(keys), columns))
    for number, key in enumerate(keys):
        start, coefficients = coefficients_of[key]
        matrix[0, number, start : start + len(coefficients)] = coefficients
    shape["heads"] = len(tables.heads)
    shape["terms"] = len(tables.terms)
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
    shape["heads_end"] = len(tables.heads)
    shape["terms_end"] = len(tables.terms)
    return matrix


Terms = dict[tuple[tuple[int, ...], int], tuple[int, np.ndarray]]
"""(factors of the monomial, component of the output) -> (first weight, coefficients of weights)."""


def _terms(symmetric: Any, one: int) -> tuple[Terms, int]:
    """Return the terms of the symmetric contraction, and the number of its weights.

    Monomials of lower degree are filled up with the index ``one``, of a factor that is 1.
    """
    row = 0  # first component of the output of a part
    column = 0  # first weight of an order of a part
    terms: Terms = {}
    for part in symmetric.contractions:
        components = 1
        for nu, weight in orders(part):
            u = numbers(part.U_tensors(nu))
            u = u if u.ndim == nu + 2 else u[None]
            if not u.any():  # nothing couples
                continue
            components = len(u)
            for index in np.argwhere(np.abs(u).sum(axis=-1) > 1e-12):
                factors = tuple(sorted(map(int, index[1:])))
                key = (factors + (one,) * (part.correlation - nu), row + int(index[0]))
                previous = terms.get(key, (column, 0))[1]
                terms[key] = (column, previous + u[tuple(index)])
            column += weight.shape[1]
        row += components
    return terms, column


def orders(part: Any) -> list[tuple[int, Tensor]]:
    """Return the correlation orders of a part of the symmetric contraction with their weights.

    In the order in which MACE keeps the weights: descending, but with the highest order last.
    """
    weights = [*part.weights, part.weights_max] if part.correlation > 1 else [part.weights_max]
    return list(zip([*range(part.correlation - 1, 0, -1), part.correlation], weights, strict=True))


def _harmonics_recursion(ell: int) -> list[str]:
    """Return C initialisers of the recursion y_l = k Σ cg y_1 y_(l−1) of spherical harmonics.

    cg are Wigner 3j coefficients; k follows from the harmonics of one direction.
    """
    direction = torch.tensor([[0.36, 0.48, 0.8]], dtype=torch.float64)
    entries = []
    for order in range(2, ell + 1):
        cg = o3.wigner_3j(1, order - 1, order, dtype=torch.float64)
        lower = _harmonics(order - 1, direction)
        harmonics = _harmonics(order, direction)
        unscaled = torch.einsum("abm,a,b->m", cg, 3**0.5 * direction[0], lower)
        factor = float((harmonics @ unscaled) / (unscaled @ unscaled))
        for a, b, m in product(*map(range, cg.shape)):
            if abs(cg[a, b, m]) > 1e-12:
                coefficient = factor * float(cg[a, b, m])
                entries.append(
                    f"{{{order**2 + m}, {1 + a}, {(order - 1) ** 2 + b}, {coefficient!r}}}"
                )
    return entries


def _harmonics(order: int, direction: Tensor) -> Tensor:
    """Return the spherical harmonics ``[2 order + 1]`` of a direction ``[1, 3]``, as MACE does."""
    return o3.spherical_harmonics(order, direction, normalize=True, normalization="component")[0]


def header_of(
    sizes: Sizes, tables: Tables, correlation: int, dtype: torch.dtype, envelope: float
) -> str:
    """Return ``shape.h`` without the part of :meth:`palirs.mace.compiled.weights.Writer.header`.

    ``envelope`` is the order of the cutoff polynomial.
    """
    single = dtype == torch.float32
    widths = [sizes.round_up(width) for width in sizes.widths]
    recursion = _harmonics_recursion(sizes.ell)
    values = {
        "C": sizes.padded,
        "LMAX": sizes.ell,
        "NY": (sizes.ell + 1) ** 2,
        "BASIS": sizes.basis,
        "BESSEL": sizes.round_up(sizes.basis),
        "LAYERS": len(tables.shapes),
        "SPECIES": sizes.elements,
        "CORRELATION": correlation,
        "DEPTH": len(widths),
        "WIDEST": max(*widths, sizes.round_up(1)),
        "LADDERS": len(recursion),
        "ENVELOPE": envelope,
        **tables.largest,
        "BYTES": sizes.lanes * (4 if single else 8),
        "REAL": "float" if single else "double",
        "BITS": "int" if single else "long long",
        "MANTISSA": 23 if single else 52,
        "ROUND": 1.5 * 2.0 ** (23 if single else 52),
    }
    orders_ = sizes.ell + 1
    matrices = len(widths) + 1  # of the radial network
    lines = [f"#define {name} {value}" for name, value in values.items()]
    lines += [
        f"static const int WIDTH[] = {c(widths)};",
        "static const struct { int m, a, b; double factor; } LADDER[] = {"
        + ", ".join(recursion or ["{0, 0, 0, 0}"])
        + "};",
        "struct path { int kind, l1, l2, t, row, stride; };",
        "static const struct path PATH[] = {" + ", ".join(tables.paths) + "};",
        "static const struct { int t, y; REAL factor; } COUPLING[] = {"
        + ", ".join(tables.couplings)
        + "};",
        "static const struct { int factor[CORRELATION > 1 ? CORRELATION - 1 : 1], monomials; } "
        "HEAD[] = {" + ", ".join([*tables.heads, f"{{{{0}}, {len(tables.monomials)}}}"]) + "};",
        "static const struct { int last, terms; } MONOMIAL[] = {"
        + ", ".join([*tables.monomials, f"{{0, {len(tables.terms)}}}"])
        + "};",
        f"static const int TERM[] = {c(tables.terms)};",
        "#define FOR_TRIPLES(X) "
        + " ".join(f"X({kind}, {l1}, {l3})" for (l1, l3), kind in tables.triples.items()),
        "struct shape { int l_in, rows_in, l_out, rows_out, paths, paths_end, "
        "couplings, couplings_end, tensor, middle, heads, "
        f"heads_end, terms, terms_end, groups, residual, row[{orders_}], count[{orders_}]; "
        "size_t up, up_back, "
        f"linear[{orders_}], linear_back[{orders_}], radial[{matrices}], radial_back[{matrices}], "
        "poly, product, product_back, skip, skip_back, readout, inner, inner_back, outer, table; "
        "};",
        "static const struct shape SHAPE[] = {" + ", ".join(tables.shapes) + "};",
    ]
    return "\n".join(lines) + "\n"


def c(value: Any) -> str:
    """Return a number, expression or list of them as a C initialiser."""
    return "{" + ", ".join(map(str, value)) + "}" if isinstance(value, list) else str(value)


def numbers(tensor: Tensor) -> np.ndarray:
    """Return a tensor as an array in double precision."""
    return tensor.detach().double().cpu().numpy()


def padded(matrix: np.ndarray, extra: Sequence[int]) -> np.ndarray:
    """Add ``extra[axis]`` zeros at the end of each axis."""
    result = np.zeros([size + more for size, more in zip(matrix.shape, extra, strict=True)])
    result[tuple(slice(size) for size in matrix.shape)] = matrix
    return result
