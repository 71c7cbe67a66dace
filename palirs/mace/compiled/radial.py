"""Radial weights of a trained model as a table over the distance, for MD.

The radial network of a layer is a function of the distance alone. At equally spaced knots its
value, slope and curvature are tabulated; between them the compiled code takes the quintic
polynomial that has those at both ends. Energies then have two continuous derivatives, and forces
are their exact derivative.
"""

import logging

import numpy as np
from scipy.special import expit

from palirs.mace.compiled.weights import Program

log = logging.getLogger(__name__)

TOLERANCE = {"float32": 1e-6, "float64": 1e-9}
"""Largest error of a radial weight, relative to its largest value over all distances.

That of its slope is a hundred times this.
"""
KNOTS = (24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Numbers of intervals that are tried."""
BETWEEN = np.array([0.11, 0.3, 0.5, 0.75])
"""Fractions of an interval at which the table is compared with the network."""


def table(program: Program) -> tuple[np.ndarray, int]:
    """Return the table of radial weights, and its number of intervals.

    The table is flat, ``[layer][knots + 1][value, slope, curvature][radial weights]``, and has as
    few knots as :data:`TOLERANCE` allows. For a network that needs more than 1024 there is no
    table: the number is zero, and a warning is logged.
    """
    tolerance = TOLERANCE[program.dtype.name]
    for knots in KNOTS:
        width = program.cutoff / knots
        nodes = networks(program, np.arange(knots + 1) * width)
        scaled = [layer * np.array([1, width, width**2])[:, None, None] for layer in nodes]
        between = ((np.arange(knots)[:, None] + BETWEEN) * width).ravel()
        if all(
            _error(layer, exact[:2], width) < tolerance
            for layer, exact in zip(scaled, networks(program, between), strict=True)
        ):
            flat = np.concatenate([layer.transpose(1, 0, 2).ravel() for layer in scaled])
            return flat.astype(program.dtype), knots
    log.warning(
        "the radial network turns too sharply for a table of %d knots; MD takes the network, "
        "which is slower",
        KNOTS[-1],
    )
    return np.zeros(0, program.dtype), 0


def _error(nodes: np.ndarray, exact: np.ndarray, width: float) -> float:
    """Return the largest relative error of a layer's table between its knots.

    Of the values, and a hundredth of that of the slopes. ``nodes [3, knots + 1, n]`` are values,
    slopes times ``width`` and curvatures times ``width²``; ``exact [2, knots · len(BETWEEN), n]``
    the network's values and slopes.
    """
    ends = np.concatenate([nodes[:, :-1], nodes[:, 1:]])
    interpolated = np.einsum("stj,jkn->sktn", _hermite(BETWEEN), ends)
    interpolated = interpolated.reshape(2, -1, nodes.shape[2])
    interpolated = interpolated * np.array([1, 1 / width])[:, None, None]
    tolerated = np.array([1, 100])[:, None, None]
    size = np.abs(exact).max(axis=1, keepdims=True)
    return float((np.abs(interpolated - exact) / np.where(size > 0, tolerated * size, 1)).max())


def _hermite(t: np.ndarray) -> np.ndarray:
    """Return the basis of quintic Hermite interpolation at ``t [T]`` between 0 and 1.

    Shape ``[value or slope, T, 6]``: polynomials that belong to the value, slope and curvature at
    the left end, and at the right one.
    """
    polynomials = [[1, 0, 0, -10, 15, -6], [0, 1, 0, -6, 8, -3], [0, 0, 0.5, -1.5, 1.5, -0.5]]
    polynomials += [[0, 0, 0, 10, -15, 6], [0, 0, 0, -4, 7, -3], [0, 0, 0, 0.5, -1, 0.5]]
    both = [[np.polynomial.Polynomial(p), np.polynomial.Polynomial(p).deriv()] for p in polynomials]
    return np.array([[pair[order](t) for pair in both] for order in range(2)]).swapaxes(1, 2)


def networks(program: Program, distances: np.ndarray) -> list[np.ndarray]:
    """Return the radial weights of each layer and their first two derivatives by the distance.

    Shape ``[3, R, n]``, in double precision; distances [Å].
    """
    basis = _basis(program, distances)
    weights = []
    for matrices in program.radial:
        x = basis
        for number, matrix_slice in enumerate(matrices):
            matrix = matrix_slice.of(program.factors)
            x = x @ matrix if number else x @ matrix[: x.shape[2]]
            if number < len(matrices) - 1:
                x = _silu(x)
        weights.append(x)
    return weights


def _silu(z: np.ndarray) -> np.ndarray:
    """Return silu(z) = z / (1 + exp(−z)) of values and their first two derivatives, ``[3, ...]``.

    Shapes in and out are equal; derivatives are by the distance.
    """
    s = expit(z[0])
    first = s * (1 + z[0] * (1 - s))
    second = s * (1 - s) * (2 + z[0] * (1 - 2 * s))
    return np.stack([z[0] * s, first * z[1], second * z[1] ** 2 + first * z[2]])


def _basis(program: Program, r: np.ndarray) -> np.ndarray:
    """Return Bessel functions times the envelope with two derivatives, ``[3, R, basis]``.

    Gasteiger et al. 2020, arXiv:2003.03123 (DimeNet); distances ``r [R]`` [Å].
    """
    p = program.envelope
    x = r[:, None] / program.cutoff
    terms = [
        (0.0, 1.0),
        (p, -(p + 1) * (p + 2) / 2),
        (p + 1, p * (p + 2)),
        (p + 2, -p * (p + 1) / 2),
    ]
    u0 = sum(c * x**e for e, c in terms)
    u1 = sum(c * e * x ** (e - 1) for e, c in terms if e) / program.cutoff
    u2 = sum(c * e * (e - 1) * x ** (e - 2) for e, c in terms if e) / program.cutoff**2
    wavenumbers = np.pi / program.cutoff * np.arange(1, program.basis + 1)
    b0, b1, b2 = _bessel(wavenumbers, r[:, None]) * np.sqrt(2 / program.cutoff)
    return np.stack([b0 * u0, b1 * u0 + b0 * u1, b2 * u0 + 2 * b1 * u1 + b0 * u2])


def _bessel(k: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Return sin(kr)/r and its first two derivatives by r; by their series where kr is small."""
    far = np.where(k * r > 1, r, 1)
    s = np.sin(k * far)
    c = np.cos(k * far)
    value = s / far
    slope = (k * c - value) / far
    closed = [value, slope, (-(k**2) * s - 2 * slope) / far]
    near = np.where(k * r > 1, 0, r)
    series = [np.zeros_like(k * r) for _ in range(3)]
    coefficient = k * np.ones_like(r)
    for n in range(0, 26, 2):  # k (kr)ⁿ (−1)^(n/2) / (n+1)!
        series[0] = series[0] + coefficient * near**n
        if n:
            series[1] = series[1] + coefficient * n * near ** (n - 1)
            series[2] = series[2] + coefficient * n * (n - 1) * near ** (n - 2)
        coefficient = -coefficient * k**2 / ((n + 2) * (n + 3))
    return np.where(k * r > 1, np.stack(closed), np.stack(series))
