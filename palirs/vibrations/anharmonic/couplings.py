"""Matrix elements between harmonic levels: cubic terms, quartic terms, Coriolis coupling.

A level is a vector of quanta n. With dimensionless coordinates q = (a + a†)/√2 the cubic terms
change three quanta or one, the quartic terms and the squares of the vibrational angular momentum
π_α = Σ ζ_ij (ω_j/ω_i)^½ q_i p_j four, two or none. All energies are in cm⁻¹.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product

import numpy as np
from scipy.sparse import csr_array

from palirs.vibrations.anharmonic.force_field import ForceField

QUANTA = np.arange(16)
_Q = np.diag(np.sqrt(QUANTA[1:] / 2), 1) + np.diag(np.sqrt(QUANTA[1:] / 2), -1)
POWERS = np.array([np.linalg.matrix_power(_Q, power)[:12, :12] for power in range(5)])
"""⟨n|qᵖ|m⟩ for p from 0 to 4, ``[5, n, m]``, exact for n and m up to 11."""


@dataclass(frozen=True)
class Transitions:
    """Changes of quanta by a sum of products of ladder operators, for any level at once.

    Attributes
    ----------
    modes : numpy.ndarray
        Shape ``[T, w]``: the modes of each product.
    changes : numpy.ndarray
        Shape ``[T, w]``: by how many quanta.
    """

    modes: np.ndarray
    changes: np.ndarray

    def total(self, values: np.ndarray) -> np.ndarray:
        """Return Σ change · value of the modes of each product, ``[T]``."""
        return (self.changes * values[self.modes]).sum(axis=1)


@dataclass(frozen=True)
class Couplings:
    """Matrix elements of a force field between harmonic levels.

    Parameters
    ----------
    force_field : ForceField
        Of a molecule.
    fermi : tuple
        Resonances (i, j, k), ω_i ≈ ω_j + ω_k: their terms of the cubic field are left out of
        second-order sums and couple levels directly.
    """

    force_field: ForceField
    fermi: tuple[tuple[int, int, int], ...] = ()

    @cached_property
    def _labels(self) -> np.ndarray:
        """Random numbers whose sums, weighted by quanta, tell levels apart, ``[M]``."""
        return np.random.default_rng(0).integers(1, 2**58, len(self.force_field.wavenumbers))

    @cached_property
    def _cubic(self) -> Transitions:
        """Every change of quanta by the cubic field, ``[T, 3]``; of one quantum, those last."""
        count = len(self.force_field.wavenumbers)
        rows: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        signs = (1, -1)
        for triple in combinations(range(count), 3):
            rows += [(triple, change) for change in product(signs, repeat=3)]
        for i, j in product(range(count), repeat=2):
            if i != j:
                rows += [((i, j, j), (2 * s, t, 0)) for s in signs for t in signs]
        for i in range(count):
            rows += [((i, i, i), (3 * s, 0, 0)) for s in signs]
        for i in range(count):
            rows += [((i, i, i), (s, 0, 0)) for s in signs]
        return Transitions(np.array([row[0] for row in rows]), np.array([row[1] for row in rows]))

    @cached_property
    def _excluded(self) -> np.ndarray:
        """Which changes are those of a Fermi resonance, ``[T]``."""
        resonant = set()
        for i, j, k in self.fermi:
            resonant.add(_sparse({i: 1}, {j: -1}, {k: -1}))
            resonant.add(_sparse({i: -1}, {j: 1}, {k: 1}))
        if not resonant:
            return np.zeros(len(self._cubic.modes), dtype=bool)
        rows = zip(self._cubic.modes.tolist(), self._cubic.changes.tolist(), strict=True)
        return np.array(
            [_sparse(*({m: c} for m, c in zip(*row, strict=True))) in resonant for row in rows]
        )

    @cached_property
    def _steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Change of the harmonic energy [cm⁻¹] and of the label by each change of quanta."""
        return (
            self._cubic.total(self.force_field.wavenumbers),
            self._cubic.total(self._labels),
        )

    def label(self, level: Sequence[int]) -> int:
        """Return the number that tells a level from others."""
        return int(np.array(level) @ self._labels)

    def cubic_elements(self, level: Sequence[int]) -> np.ndarray:
        """Return ⟨n + change|cubic terms|n⟩ for each change of quanta, ``[T]``."""
        n, phi = np.array(level), self.force_field.cubic
        modes, changes = self._cubic.modes, self._cubic.changes
        count = len(n)
        own = np.arange(count)
        values = np.empty(len(modes))
        singles = len(modes) - 2 * count
        triples = singles - 2 * count - 4 * count * (count - 1)
        i, j, k = modes.T
        before, after = n[modes], n[modes] + changes
        possible = (after >= 0).all(axis=1)
        after = np.where(after < 0, before, after)
        t, d = slice(0, triples), slice(triples, singles - 2 * count)
        values[t] = phi[i[t], j[t], k[t]] * POWERS[1][before[t], after[t]].prod(axis=1)
        squares = POWERS[2][before[d, 0], after[d, 0]] * POWERS[1][before[d, 1], after[d, 1]]
        values[d] = 0.5 * phi[i[d], i[d], j[d]] * squares
        cubes = slice(singles - 2 * count, len(modes))
        own_cubic = phi[own, own, own][i[cubes]]
        values[cubes] = own_cubic / 6 * POWERS[3][before[cubes, 0], after[cubes, 0]]
        mean = 0.5 * np.einsum("iij->ij", phi) * (n + 0.5)[:, None]
        np.fill_diagonal(mean, 0.0)
        one = slice(singles, len(modes))
        values[one] += mean.sum(axis=0)[i[one]] * POWERS[1][before[one, 0], after[one, 0]]
        return np.where(possible, values, 0.0)

    def diagonal(self, levels: Sequence[tuple[int, ...]]) -> np.ndarray:
        """Return the energies of levels in second order less their harmonic ones, ``[levels]``.

        Σ_c V_ac²/(E_a − E_c) of the cubic field without its resonances; the quartic terms and the
        Coriolis coupling in first order.
        """
        cubic = [values @ shares for _, values, shares in map(self._cubic_row, levels)]
        constants = self.force_field.rotational_constants
        coriolis = [constants @ (row[1] ** 2).sum(axis=1) for row in self._coriolis_rows(levels)]
        n = np.array(levels)
        phi = self.force_field.quartic
        square, fourth = POWERS[2][n, n], POWERS[4][n, n]
        pairs = np.einsum("iijj->ij", phi) / 8
        np.fill_diagonal(pairs, 0.0)
        quartic = fourth @ np.einsum("iiii->i", phi) / 24
        quartic += np.einsum("li,ij,lj->l", square, pairs, square)
        return np.array(cubic) + np.array(coriolis) + quartic

    def between(
        self, levels: Sequence[tuple[int, ...]], near: np.ndarray, least: float = 0.1
    ) -> np.ndarray:
        """Return couplings of second order between levels, ``[levels, levels]`` [cm⁻¹].

        Van Vleck's: ½ Σ_c V_ac V_cb [1/(E_a − E_c) + 1/(E_b − E_c)], and as :meth:`diagonal`.

        Parameters
        ----------
        levels : sequence of tuple
            Quanta.
        near : numpy.ndarray
            Which pairs are wanted, ``[levels, levels]``, symmetric; the others are zero.
        least : float
            Elements of the cubic field below it [cm⁻¹] are left out: in large molecules they are
            many.
        """
        strong = []
        for labels, values, shares in map(self._cubic_row, levels):
            use = np.abs(values) > least
            strong.append((labels[use], values[use], shares[use]))
        v, g = (_by_level([(row[0], row[which]) for row in strong]) for which in (1, 2))
        half = (v @ g.T).toarray()
        total = (half + half.T) / 2
        rows = self._coriolis_rows(levels)
        for axis, constant in enumerate(self.force_field.rotational_constants if rows else ()):
            pi = _by_level([(row[0], row[1][axis]) for row in rows])
            total += constant * (pi @ pi.T).toarray()
        quanta, wanted = np.array(levels), near & ~np.eye(len(levels), dtype=bool)
        total = np.where(wanted, total, 0.0)
        for a, b in zip(*np.nonzero(np.tril(wanted)), strict=True):
            if np.abs(quanta[a] - quanta[b]).sum() <= 4:
                element = self.quartic_element(quanta[a], quanta[b])
                total[a, b] += element
                total[b, a] += element
        return total

    def _cubic_row(self, level: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return labels of c, V_ac and V_ac/(E_a − E_c) without the resonances, each ``[T]``."""
        steps, labels = self._steps
        kept = ~self._excluded
        values = np.where(kept, self.cubic_elements(level), 0.0)
        shares = np.divide(values, -steps, out=np.zeros_like(values), where=kept)
        return self.label(level) + labels, values, shares

    def _coriolis_rows(
        self, levels: Sequence[tuple[int, ...]]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return labels of c and ⟨c|π_α|a⟩ (without i), ``[axes, …]``, for each level."""
        field = self.force_field
        zeta, omega = field.coriolis, field.wavenumbers
        i, j = np.triu_indices(len(omega), 1)
        signs = np.array(list(product((1, -1), repeat=2)))
        labels = (signs[:, 0, None] * self._labels[i] + signs[:, 1, None] * self._labels[j]).ravel()
        root = np.sqrt(omega[j] / omega[i])
        # q_i p_j and q_j p_i by ladder operators; i is common to all and left out
        factors = (root * signs[:, 1, None] - signs[:, 0, None] / root).ravel()
        rows: list[tuple[np.ndarray, np.ndarray]] = []
        for level in levels:
            n = np.array(level)
            after_i, after_j = n[i] + signs[:, :1], n[j] + signs[:, 1:]
            possible = (after_i >= 0) & (after_j >= 0)
            ladder = POWERS[1][n[i], np.maximum(after_i, 0)]
            ladder = ladder * POWERS[1][n[j], np.maximum(after_j, 0)]
            values = np.where(possible, ladder, 0.0).ravel() * factors
            use = values != 0
            elements = values[use] * np.tile(zeta[:, i, j], len(signs))[:, use]
            rows.append((self.label(level) + labels[use], elements))
        return rows

    def quartic_element(self, n: np.ndarray, m: np.ndarray) -> float:
        """Return ⟨n|quartic terms|m⟩ of two levels [cm⁻¹]."""
        phi = self.force_field.quartic
        changed = tuple(np.flatnonzero(n != m).tolist())
        first, square, cube, fourth = (POWERS[power][n, m] for power in (1, 2, 3, 4))
        same = n == m
        if len(changed) == 1:
            (i,) = changed
            pairs = np.einsum("jj->j", phi[i, i])[same] * square[same] * square[i] / 4
            return float(phi[i, i, i, i] * fourth[i] / 24 + pairs.sum())
        if len(changed) == 2:
            i, j = changed
            others = (np.einsum("kk->k", phi[i, j])[same] * square[same]).sum() / 2
            cubes = phi[i, i, i, j] * cube[i] * first[j] + phi[j, j, j, i] * cube[j] * first[i]
            squares = phi[i, i, j, j] * square[i] * square[j] / 4
            return float(others * first[i] * first[j] + cubes / 6 + squares)
        if len(changed) == 3:
            i, j, k = changed
            squares = (
                phi[i, i, j, k] * square[i] * first[j] * first[k]
                + phi[i, j, j, k] * first[i] * square[j] * first[k]
                + phi[i, j, k, k] * first[i] * first[j] * square[k]
            )
            return float(squares / 2)
        return float(phi[changed] * first[list(changed)].prod())

    def fermi_element(self, a: Sequence[int], b: Sequence[int]) -> float:
        """Return ⟨a|cubic terms|b⟩ of two levels that differ by a Fermi resonance [cm⁻¹]."""
        n, m = np.array(a), np.array(b)
        changed = np.flatnonzero(n != m)
        first = POWERS[1][n, m]
        if len(changed) == 3:
            i, j, k = changed
            return float(self.force_field.cubic[i, j, k] * first[[i, j, k]].prod())
        i, j = changed if abs(n - m)[changed[0]] == 2 else changed[::-1]
        return float(self.force_field.cubic[i, i, j] / 2 * POWERS[2][n[i], m[i]] * first[j])


def _by_level(rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> csr_array:
    """Return a sparse matrix from the labels of columns and the values of each row."""
    places = np.concatenate([np.full(len(labels), row) for row, (labels, _) in enumerate(rows)])
    names, columns = np.unique(np.concatenate([row[0] for row in rows]), return_inverse=True)
    values = np.concatenate([row[1] for row in rows])
    return csr_array((values, (places, columns)), shape=(len(rows), len(names)))


def _sparse(*changes: dict[int, int]) -> tuple[tuple[int, int], ...]:
    """Return a sum of changes of quanta as sorted pairs of mode and change."""
    total: dict[int, int] = {}
    for change in changes:
        for mode, value in change.items():
            total[mode] = total.get(mode, 0) + value
    return tuple(sorted((mode, value) for mode, value in total.items() if value))
