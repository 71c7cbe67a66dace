"""Weights of the parts of a module, with e3nn's normalisations, in the layout of the compiled code.

Each is a parameter times a constant, or an element of a product of matrices of such multiples.
``shape`` receives the offsets of the weights: members of the C ``struct shape``.
"""

from typing import Any

import numpy as np

from palirs.mace.backend import RealAgnosticResidualInteractionBlock
from palirs.mace.compiled.tables import Sizes, numbers, orders, padded
from palirs.mace.compiled.weights import ArraySlice, Writer


class UnsupportedError(Exception):
    """The module has a part that the compiled code does not support."""


def mixing(linear: Any, sizes: Sizes, orders: int) -> np.ndarray:
    """Return the matrices ``[l, C, C]`` of an equivariant linear map, of the first ``orders`` l."""
    weights = {
        int(i.i_in): i.path_weight * numbers(w)
        for _, i, w in linear.weight_views(yield_instruction=True)
    }
    return sizes.pad(np.array([weights[order] for order in range(orders)]), 1, 2)


def radial_network(
    network: Any, instructions: list[int], sizes: Sizes, shape: dict, writer: Writer
) -> list[ArraySlice]:
    """Write the matrices of the radial network and return them.

    ``instructions`` are those of the paths, in order. The factor by which e3nn multiplies the
    activations of a layer goes into the next matrix.
    """
    matrices: list[ArraySlice] = []
    gain = 1.0
    layers = list(network)
    for number, layer in enumerate(layers):
        last = number == len(layers) - 1
        variance = layer.h_in * layer.var_in / (layer.var_out if last else 1.0)
        weight = gain * numbers(layer.weight) / np.sqrt(variance)
        if last:
            paths = weight.reshape(len(weight), len(instructions), sizes.channels)
            weight = sizes.pad(paths, 2).reshape(len(weight), -1)
        else:
            gain = layer.act.cst * np.sqrt(layer.var_out)
        weight = padded(weight, [sizes.round_up(size) - size for size in weight.shape])
        matrices.append(writer.put(weight))
    shape["radial"] = [matrix.start for matrix in matrices]
    shape["radial_back"] = [writer.put_transposed(matrix) for matrix in matrices]
    return matrices


def messages(
    interaction: Any, counts: list[int], sizes: Sizes, shape: dict, writer: Writer
) -> None:
    """Write the linear maps of the messages of each order, ``counts[l3]`` paths to C channels.

    Without a residual connection they are multiplied by the matrices of the receiver's element.
    """
    views = [
        (i.i_in, i.i_out, i.path_weight * numbers(w))
        for _, i, w in interaction.linear.weight_views(yield_instruction=True)
    ]
    out = interaction.linear.irreps_out
    shape["linear"] = []
    shape["linear_back"] = []
    residual = type(interaction) is RealAgnosticResidualInteractionBlock
    elements = None if residual else of_elements(interaction.skip_tp)
    for order in range(sizes.ell + 1):
        blocks = [
            sizes.pad(w, 0)
            for i_in, i_out, w in sorted(views, key=lambda view: view[0])
            if out[i_out].ir.l == order
        ]
        matrix = np.concatenate(blocks)[None] / float(interaction.avg_num_neighbors)
        if len(blocks) != counts[order]:
            raise UnsupportedError("mixing of messages")
        matrix = sizes.pad(matrix, 2)
        if elements is None:
            weights = writer.put(matrix)
        else:
            weights = writer.put_product(
                writer.factor(matrix), writer.factor(sizes.pad(elements[:, order], 1, 2))
            )
        shape["linear"].append(weights.start)
        shape["linear_back"].append(writer.put_transposed(weights))


def of_elements(skip: Any) -> np.ndarray:
    """Return the matrices ``[element, l, C, C]`` of the tensor product with one-hot elements."""
    matrices = []
    for _, instruction, weight in skip.weight_views(yield_instruction=True):
        order = skip.irreps_in1[instruction.i_in1].ir.l
        factor = instruction.path_weight / np.sqrt(2 * order + 1)
        matrices.append(factor * numbers(weight).transpose(1, 0, 2))
    return np.array(matrices).transpose(1, 0, 2, 3)


def first_features(
    embedding: Any, up: np.ndarray, interaction: Any, sizes: Sizes, shape: dict, writer: Writer
) -> None:
    """Write the initial features of each element, after the first linear map ``up``.

    And those that a residual connection adds.
    """
    (_, instruction, weight) = next(iter(embedding.weight_views(yield_instruction=True)))
    vectors = writer.factor(sizes.pad(instruction.path_weight * numbers(weight), 1)[None])
    features = writer.put_product(vectors, writer.factor(up))
    shape["up"] = features.start
    shape["up_back"] = writer.put_transposed(features)
    if shape["residual"]:
        matrices = writer.factor(sizes.pad(of_elements(interaction.skip_tp)[:, 0], 1, 2))
        shape["table"] = writer.put_product(
            ArraySlice(vectors.start, (sizes.elements, 1, sizes.padded)), matrices
        ).start


def contraction(
    symmetric: Any, coefficients: np.ndarray, sizes: Sizes, shape: dict, writer: Writer
) -> None:
    """Write the weights of the terms of the symmetric contraction.

    ``coefficients`` is the matrix from :func:`palirs.mace.compiled.tables.contraction`.
    """
    stacked = [
        numbers(weight)
        for part in symmetric.contractions
        for nu, weight in orders(part)
        if bool(part.U_tensors(nu).any())
    ]
    factors = writer.factor(sizes.pad(np.concatenate(stacked, axis=1), 2))
    matrix = ArraySlice(0, coefficients.shape, coefficients)
    shape["poly"] = writer.put_product(matrix, factors).start


def linear_readout(linear: Any, scale: float, sizes: Sizes, shape: dict, writer: Writer) -> None:
    """Write a linear read-out to one scalar or vector; zeros for ``None``."""
    vector = np.zeros(sizes.padded)
    if linear is not None:
        (_, instruction, weight) = next(iter(linear.weight_views(yield_instruction=True)))
        vector[: sizes.channels] = scale * instruction.path_weight * numbers(weight)[:, 0]
    shape["readout"] = writer.put(vector).start


def hidden_readout(readout: Any, scale: float, sizes: Sizes, shape: dict, writer: Writer) -> int:
    """Write a read-out of scalars with a hidden layer, and return its padded width.

    Nothing is written for ``None``.
    """
    shape["inner"] = shape["inner_back"] = shape["outer"] = 0
    if readout is None:
        return sizes.round_up(1)
    (_, first, inner) = next(iter(readout.linear_1.weight_views(yield_instruction=True)))
    (_, second, outer) = next(iter(readout.linear_2.weight_views(yield_instruction=True)))
    hidden = inner.shape[1]
    width = sizes.round_up(hidden)
    gain = float(readout.non_linearity.acts[0].cst)  # e3nn's normalisation of the activation
    matrix = np.zeros((sizes.padded, width))
    matrix[: sizes.channels, :hidden] = first.path_weight * numbers(inner)
    vector = np.zeros(width)
    vector[:hidden] = scale * gain * second.path_weight * numbers(outer)[:, 0]
    shape["inner"], shape["inner_back"] = writer.put_both(matrix)
    shape["outer"] = writer.put(vector).start
    return width
