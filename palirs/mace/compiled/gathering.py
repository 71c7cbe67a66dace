"""Collection of the weights of a module for the compiled code.

Each is a parameter times a constant, or an element of a product of matrices of such numbers.
"""

from typing import Any

import numpy as np

from palirs.mace.backend import RealAgnosticResidualInteractionBlock
from palirs.mace.compiled.tables import Sizes, numbers, orders, padded
from palirs.mace.compiled.weights import Place, Writer


class UnsupportedError(Exception):
    """The module has a part that the compiled code does not know."""


def mixing(linear: Any, sizes: Sizes, dims: int) -> np.ndarray:
    """Matrices ``[l, C, C]`` of an equivariant linear map of the first ``dims`` orders."""
    weights = {
        int(i.i_in): i.path_weight * numbers(w)
        for _, i, w in linear.weight_views(yield_instruction=True)
    }
    return sizes.pad(np.array([weights[order] for order in range(dims)]), 1, 2)


def radial_network(
    network: Any, order: list[int], sizes: Sizes, shape: dict, writer: Writer
) -> list[Place]:
    """Write the layers of the radial network and return where they are.

    The factor by which e3nn multiplies the activations of a layer goes into the next matrix.
    """
    places, gain = [], 1.0
    layers = list(network)
    for number, layer in enumerate(layers):
        last = number == len(layers) - 1
        variance = layer.h_in * layer.var_in / (layer.var_out if last else 1.0)
        weight = gain * numbers(layer.weight) / np.sqrt(variance)
        if last:
            paths = weight.reshape(len(weight), len(order), sizes.channels)
            weight = sizes.pad(paths, 2).reshape(len(weight), -1)
        else:
            gain = layer.act.cst * np.sqrt(layer.var_out)
        weight = padded(weight, [sizes.up(size) - size for size in weight.shape])
        places.append(writer.put(weight))
    shape["radial"] = [place.start for place in places]
    shape["radial_back"] = [writer.turn(place) for place in places]
    return places


def messages(interaction: Any, count: list[int], sizes: Sizes, shape: dict, writer: Writer) -> None:
    """Write the mixing of paths, times the matrices of the receivers' elements if not residual."""
    views = [
        (i.i_in, i.i_out, i.path_weight * numbers(w))
        for _, i, w in interaction.linear.weight_views(yield_instruction=True)
    ]
    out = interaction.linear.irreps_out
    shape["linear"], shape["linear_back"] = [], []
    residual = type(interaction) is RealAgnosticResidualInteractionBlock
    elements = None if residual else of_elements(interaction.skip_tp)
    for end in range(sizes.ell + 1):
        blocks = [
            sizes.pad(w, 0)
            for i_in, i_out, w in sorted(views, key=lambda v: v[0])
            if out[i_out].ir.l == end
        ]
        matrix = np.concatenate(blocks)[None] / float(interaction.avg_num_neighbors)
        if len(blocks) != count[end]:
            raise UnsupportedError("mixing of messages")
        matrix = sizes.pad(matrix, 2)
        if elements is None:
            place = writer.put(matrix)
        else:
            place = writer.put_product(
                writer.factor(matrix), writer.factor(sizes.pad(elements[:, end], 1, 2))
            )
        shape["linear"].append(place.start)
        shape["linear_back"].append(writer.turn(place))


def of_elements(skip: Any) -> np.ndarray:
    """Matrices ``[element, l, C, C]`` of the tensor product with the one-hot element."""
    matrices = []
    for _, instruction, weight in skip.weight_views(yield_instruction=True):
        order = skip.irreps_in1[instruction.i_in1].ir.l
        factor = instruction.path_weight / np.sqrt(2 * order + 1)
        matrices.append(factor * numbers(weight).transpose(1, 0, 2))
    return np.array(matrices).transpose(1, 0, 2, 3)


def first_features(
    embedding: Any, up: np.ndarray, interaction: Any, sizes: Sizes, shape: dict, writer: Writer
) -> None:
    """Write the features of each element, and what a residual connection adds to them."""
    (_, instruction, weight) = next(iter(embedding.weight_views(yield_instruction=True)))
    vectors = writer.factor(sizes.pad(instruction.path_weight * numbers(weight), 1)[None])
    place = writer.put_product(vectors, writer.factor(up))
    shape["up"], shape["up_back"] = place.start, writer.turn(place)
    if shape["residual"]:
        matrices = writer.factor(sizes.pad(of_elements(interaction.skip_tp)[:, 0], 1, 2))
        shape["table"] = writer.put_product(
            Place(vectors.start, (sizes.elements, 1, sizes.padded)), matrices
        ).start


def contraction(
    symmetric: Any, mixed: np.ndarray, sizes: Sizes, shape: dict, writer: Writer
) -> None:
    """Write the weights of the symmetric contraction.

    ``mixed`` is the matrix from :func:`palirs.mace.compiled.tables.contraction`.
    """
    stacked = [
        numbers(weight)
        for part in symmetric.contractions
        for nu, weight in orders(part)
        if bool(part.U_tensors(nu).any())
    ]
    factors = writer.factor(sizes.pad(np.concatenate(stacked, axis=1), 2))
    shape["poly"] = writer.put_product(Place(0, mixed.shape, mixed), factors).start


def linear_readout(linear: Any, scale: float, sizes: Sizes, shape: dict, writer: Writer) -> None:
    """Write a linear read-out to one scalar or vector; zeros for ``None``."""
    vector = np.zeros(sizes.padded)
    if linear is not None:
        (_, instruction, weight) = next(iter(linear.weight_views(yield_instruction=True)))
        vector[: sizes.channels] = scale * instruction.path_weight * numbers(weight)[:, 0]
    shape["readout"] = writer.put(vector).start


def hidden_readout(readout: Any, scale: float, sizes: Sizes, shape: dict, writer: Writer) -> int:
    """Write a read-out of scalars with a hidden layer, if any, and return its padded width."""
    shape["inner"] = shape["inner_back"] = shape["outer"] = 0
    if readout is None:
        return sizes.up(1)
    (_, first, inner), (_, second, outer) = (
        next(iter(linear.weight_views(yield_instruction=True)))
        for linear in (readout.linear_1, readout.linear_2)
    )
    width, gain = sizes.up(inner.shape[1]), float(readout.non_linearity.acts[0].cst)
    into, out = np.zeros((sizes.padded, width)), np.zeros(width)
    into[: sizes.channels, : inner.shape[1]] = first.path_weight * numbers(inner)
    out[: inner.shape[1]] = scale * gain * second.path_weight * numbers(outer)[:, 0]
    shape["inner"], shape["inner_back"] = writer.put_both(into)
    shape["outer"] = writer.put(out).start
    return width
