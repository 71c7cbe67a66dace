"""Weights of the compiled code, computed from the parameters of a model.

A weight is a parameter times a constant, an element of a product of matrices of such multiples, or
a transposed copy of another weight.
"""

import math
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Program:
    """Header, weights and sizes of one model.

    Attributes
    ----------
    header : str
        ``shape.h``; the same for all models of one architecture.
    factors : numpy.ndarray
        Multiples of single parameters, float64: weights first, then the factors of
        :attr:`products`. :meth:`weights` computes from them what the compiled code takes.
    dtype : numpy.dtype
        Precision of the model.
    products : list of Product
        Weights that are matrix products.
    turned : numpy.ndarray
        Indices of the weights whose copies follow the weights, as transposed matrices.
    size : int
        Number of weights without the transposed copies.
    cutoff : float
        [Å].
    basis : int
        Number of radial Bessel functions.
    envelope : float
        Order of the cutoff polynomial.
    radial : list of lists of ArraySlice
        Matrices of the radial network of each layer.
    """

    header: str
    factors: np.ndarray
    dtype: np.dtype
    products: "list[Product]"
    turned: np.ndarray
    size: int
    cutoff: float
    basis: int
    envelope: float
    radial: "list[list[ArraySlice]]"

    def weights(self, factors: np.ndarray) -> np.ndarray:
        """Return the weights and their transposed copies for factors like :attr:`factors`."""
        weights = factors[: self.size].copy()
        multiplied = factors[self.size :]
        for product_ in self.products:
            left = product_.left.of(multiplied)
            right = product_.right.of(multiplied)
            product_.out.of(weights)[...] = left @ right
        return np.concatenate([weights, weights[self.turned]]).astype(self.dtype, copy=False)

    @property
    def room(self) -> int:
        """Numbers in the largest right factor of a matrix product."""
        return max((math.prod(one.right.shape[-2:]) for one in self.products), default=0)


@dataclass(frozen=True)
class ArraySlice:
    """Stacked matrices: offset and shape in a flat array, or constants outside of it."""

    start: int
    shape: tuple[int, ...]
    constant: np.ndarray | None = None

    def of(self, array: np.ndarray) -> np.ndarray:
        """Return the matrices as a view of the array; the constants if there are any."""
        if self.constant is not None:
            return self.constant
        return array[self.start : self.start + math.prod(self.shape)].reshape(self.shape)


@dataclass(frozen=True)
class Product:
    """Weights that are a matrix product: ``out = left @ right``.

    ``left`` and ``right`` are among the factors that follow the weights in :attr:`Program.factors`;
    their offsets count from there.
    """

    out: ArraySlice
    left: ArraySlice
    right: ArraySlice


@dataclass
class Writer:
    """Collects the weights of a model and gives the offset of each matrix.

    Attributes
    ----------
    parts : list of numpy.ndarray
        Weights, flat; zeros for those that are matrix products.
    size : int
        Number of weights.
    transposed : list of numpy.ndarray
        Indices of the weights of the transposed copies.
    transposed_size : int
        Number of weights in the transposed copies.
    transposes : list of str
        C initialisers of ``TURN``, one for each transposed copy.
    factors : list of numpy.ndarray
        Matrices that only occur in products, flat.
    products : list of Product
        Weights that are matrix products.
    """

    parts: list[np.ndarray] = field(default_factory=list)
    size: int = 0
    transposed: list[np.ndarray] = field(default_factory=list)
    transposed_size: int = 0
    transposes: list[str] = field(default_factory=list)
    factors: list[np.ndarray] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)

    def put(self, values: np.ndarray) -> ArraySlice:
        """Add weights, each a multiple of one parameter."""
        flat = np.ascontiguousarray(values, dtype=np.float64).ravel()
        matrices = ArraySlice(self.size, values.shape)
        self.parts.append(np.pad(flat, (0, -flat.size % 16)))  # every matrix begins on a cache line
        self.size += self.parts[-1].size
        return matrices

    def put_product(self, left: ArraySlice, right: ArraySlice) -> ArraySlice:
        """Add the product of matrices from :meth:`factor`; ``left`` may be constant instead."""
        stacked = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        out = self.put(np.zeros((*stacked, left.shape[-2], right.shape[-1])))
        self.products.append(Product(out, left, right))
        return out

    def factor(self, matrices: np.ndarray) -> ArraySlice:
        """Add matrices that only occur as factors of products."""
        start = sum(len(part) for part in self.factors)
        self.factors.append(np.ascontiguousarray(matrices).ravel())
        return ArraySlice(start, matrices.shape)

    def put_transposed(self, matrices: ArraySlice) -> str:
        """Add transposed copies, which the backward pass needs, and return their offset in C.

        All of them follow the weights.
        """
        offset = self.transposed_size
        indices = matrices.start + np.arange(math.prod(matrices.shape))
        indices = indices.reshape(matrices.shape).swapaxes(-1, -2).ravel()
        padding = (0, -len(indices) % 16)
        self.transposed.append(np.pad(indices, padding, constant_values=matrices.start))
        self.transposed_size += len(self.transposed[-1])
        *stacked, rows, columns = matrices.shape
        self.transposes.append(
            f"{{{math.prod(stacked)}, {rows}, {columns}, {matrices.start}, {offset}}}"
        )
        return f"TURNED + {offset}"

    def put_both(self, matrices: np.ndarray) -> tuple[int, str]:
        """Add matrices and transposed copies of them, and return the offsets of both in C."""
        weights = self.put(matrices)
        return weights.start, self.put_transposed(weights)

    def header(self) -> str:
        """Return the part of ``shape.h`` that training needs: products and transposed copies.

        Constant left factors are sparse: ``MIX`` lists their non-zero elements.
        """
        products: list[str] = []
        nonzero: list[str] = []
        for product_ in self.products:
            left, right = product_.left, product_.right
            batch, m, n = product_.out.shape
            begin = len(nonzero)
            if left.constant is not None:
                matrix = left.constant[0]
                nonzero += [
                    f"{{{i}, {j}, {float(matrix[i, j])!r}}}"
                    for i, j in zip(*np.nonzero(matrix), strict=True)
                ]
            # a single matrix is a factor of all products of the batch
            strides = [
                0 if factor.shape[0] < batch else math.prod(factor.shape[1:])
                for factor in (left, right)
            ]
            offsets = f"{product_.out.start}, {left.start}, {right.start}"
            products.append(
                f"{{{batch}, {m}, {right.shape[1]}, {n}, {begin}, {len(nonzero)}, "
                f"{offsets}, {strides[0]}, {strides[1]}}}"
            )
        return (
            f"#define PRODUCTS {len(products)}\n#define TURNS {len(self.transposes)}\n"
            "struct product { int batch, m, k, n, mix, mix_end; "
            "size_t out, left, right, left_step, right_step; };\n"
            f"static const struct product PRODUCT[] = {{{', '.join(products)}}};\n"
            "static const struct { int row, column; REAL factor; } "
            f"MIX[] = {{{', '.join(nonzero)}}};\n"
            "static const struct { int batch, m, n; size_t from, to; } "
            f"TURN[] = {{{', '.join(self.transposes)}}};\n"
        )
