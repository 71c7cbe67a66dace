"""The weights of the compiled code: multiples of parameters, a few products of matrices of them, and transposed copies."""

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
        Multiples of single parameters, float64; :meth:`weights` makes of them what the compiled
        code takes.
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
    basis : int
        Radial Bessel functions.
    envelope : float
        Order of the cutoff's polynomial.
    radial : list of lists of Place
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
    radial: "list[list[Place]]"

    def weights(self, factors: np.ndarray) -> np.ndarray:
        """Return the weights with their transposed copies, given factors like :attr:`factors`."""
        weights = factors[: self.size].copy()
        for product_ in self.products:
            left, right = (
                product_.left.of(factors[self.size :]),
                product_.right.of(factors[self.size :]),
            )
            product_.out.of(weights)[...] = left @ right
        return np.concatenate([weights, weights[self.turned]]).astype(self.dtype, copy=False)

    @property
    def room(self) -> int:
        """Numbers in the largest matrix that is multiplied."""
        return max((math.prod(one.right.shape[-2:]) for one in self.products), default=0)


@dataclass(frozen=True)
class Place:
    """Matrices in an array: offset and shape; or constant ones."""

    start: int
    shape: tuple[int, ...]
    constant: np.ndarray | None = None

    def of(self, array: np.ndarray) -> np.ndarray:
        """Return a view of them."""
        return (
            self.constant
            if self.constant is not None
            else array[self.start : self.start + math.prod(self.shape)].reshape(self.shape)
        )


@dataclass(frozen=True)
class Product:
    """Matrices among the weights that are products of others, which follow the weights among the factors."""

    out: Place
    left: Place
    right: Place


@dataclass
class Writer:
    """Collects weights one after the other and gives their offsets."""

    parts: list[np.ndarray] = field(default_factory=list)
    size: int = 0
    turned: list[np.ndarray] = field(default_factory=list)
    turned_size: int = 0
    turns: list[str] = field(default_factory=list)
    factors: list[np.ndarray] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)

    def put(self, values: np.ndarray) -> Place:
        """Put numbers, each a multiple of one parameter."""
        flat = np.ascontiguousarray(values, dtype=np.float64).ravel()
        place = Place(self.size, values.shape)
        self.parts.append(np.pad(flat, (0, -flat.size % 16)))  # every matrix begins on a cache line
        self.size += self.parts[-1].size
        return place

    def put_product(self, left: Place, right: Place) -> Place:
        """Put the product of matrices that are factors or constants."""
        place = self.put(
            np.zeros(
                (
                    *np.broadcast_shapes(left.shape[:-2], right.shape[:-2]),
                    left.shape[-2],
                    right.shape[-1],
                )
            )
        )
        self.products.append(Product(place, left, right))
        return place

    def factor(self, matrices: np.ndarray) -> Place:
        """Keep matrices that are only multiplied."""
        start = sum(len(part) for part in self.factors)
        self.factors.append(np.ascontiguousarray(matrices).ravel())
        return Place(start, matrices.shape)

    def turn(self, place: Place) -> str:
        """Put the transposed matrices, which the backward pass needs, behind everything else; return the C expression of where."""
        back, places = (
            self.turned_size,
            (place.start + np.arange(math.prod(place.shape)))
            .reshape(place.shape)
            .swapaxes(-1, -2)
            .ravel(),
        )
        self.turned.append(np.pad(places, (0, -len(places) % 16), constant_values=place.start))
        self.turned_size += len(self.turned[-1])
        *many, rows, columns = place.shape
        self.turns.append(f"{{{math.prod(many)}, {rows}, {columns}, {place.start}, {back}}}")
        return f"TURNED + {back}"

    def put_both(self, matrices: np.ndarray) -> tuple[int, str]:
        """Put matrices and their transposed copies."""
        place = self.put(matrices)
        return place.start, self.turn(place)

    def header(self) -> str:
        """Return the part of ``shape.h`` that training needs: which matrices are multiplied, and which are turned."""
        products, mixes = [], []
        for one in self.products:
            (batch, m, n), begin, steps = one.out.shape, len(mixes), []
            if one.left.constant is not None:
                rows, columns = np.nonzero(one.left.constant[0])
                mixes += [
                    f"{{{i}, {j}, {float(one.left.constant[0, i, j])!r}}}"
                    for i, j in zip(rows, columns, strict=True)
                ]
            for side in (one.left, one.right):
                steps.append(0 if side.shape[0] < batch else math.prod(side.shape[1:]))
            places = f"{one.out.start}, {one.left.start}, {one.right.start}, {steps[0]}, {steps[1]}"
            products.append(
                f"{{{batch}, {m}, {one.right.shape[1]}, {n}, {begin}, {len(mixes)}, {places}}}"
            )
        return (
            f"#define PRODUCTS {len(products)}\n#define TURNS {len(self.turns)}\n"
            "struct product { int batch, m, k, n, mix, mix_end; size_t out, left, right, left_step, right_step; };\n"
            f"static const struct product PRODUCT[] = {{{', '.join(products)}}};\n"
            f"static const struct {{ int row, column; REAL factor; }} MIX[] = {{{', '.join(mixes)}}};\n"
            f"static const struct {{ int batch, m, n; size_t from, to; }} TURN[] = {{{', '.join(self.turns)}}};\n"
        )
