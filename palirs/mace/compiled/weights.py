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
class Place:
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
        place = self.put(np.zeros((*np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), left.shape[-2], right.shape[-1])))
        self.products.append(Product(place, left, right))
        return place

    def factor(self, matrices: np.ndarray) -> Place:
        """Keep matrices that are only multiplied."""
        start = sum(len(part) for part in self.factors)
        self.factors.append(np.ascontiguousarray(matrices).ravel())
        return Place(start, matrices.shape)

    def turn(self, place: Place) -> str:
        """Put the transposed matrices, which the backward pass needs, behind everything else; return the C expression of where."""
        back, places = self.turned_size, (place.start + np.arange(math.prod(place.shape))).reshape(place.shape).swapaxes(-1, -2).ravel()
        self.turned.append(np.pad(places, (0, -len(places) % 16), constant_values=place.start))
        self.turned_size += len(self.turned[-1])
        return f"TURNED + {back}"

    def put_both(self, matrices: np.ndarray) -> tuple[int, str]:
        """Put matrices and their transposed copies."""
        place = self.put(matrices)
        return place.start, self.turn(place)
