"""Anharmonic levels of a molecule from its quartic force field: GVPT2.

Second-order vibrational perturbation theory (Nielsen 1951, doi:10.1103/RevModPhys.23.90) as an
effective Hamiltonian (Van Vleck). Resonances are taken out of the perturbation sums and coupled
variationally: Fermi resonances by the test of Martin et al. 1995, doi:10.1063/1.469681,
Darling-Dennison ones between levels of equal quanta (doi:10.1103/PhysRev.57.128) by how far they
move a level. Levels of degenerate modes are such resonances, so symmetric and spherical tops and
linear molecules need no formulas of their own (Franke, Stanton, Douberly 2021,
doi:10.1021/acs.jpca.0c09526).
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from palirs.vibrations.anharmonic.couplings import Couplings
from palirs.vibrations.anharmonic.force_field import ForceField, degenerate_sets

Level = tuple[int, ...]
"""Quanta of each mode."""


@dataclass(frozen=True)
class Resonances:
    """When levels are coupled variationally instead of by perturbation theory.

    Parameters
    ----------
    gap : float
        Largest difference of their energies without the resonance [cm⁻¹].
    shift : float
        Least effect [cm⁻¹]: for Fermi resonances the error of second-order theory as Martin et al.
        estimate it, W⁴/Δ³ = φ_ijj⁴/(256 Δ³) or φ_ijk⁴/(64 Δ³); for Darling-Dennison ones by how far
        the two levels move.
    quanta : int
        Most quanta of a level that is drawn in by a Fermi resonance.
    """

    gap: float = 200.0
    shift: float = 1.0
    quanta: int = 4

    def fermi(self, force_field: ForceField) -> tuple[tuple[int, int, int], ...]:
        """Return the modes (i, j, k) with ω_i ≈ ω_j + ω_k, j ≤ k.

        Degenerate modes are tested together, as any mixture of them will do: W² is the sum of the
        squares of the elements ⟨i|V|jk⟩ over the levels of degenerate j and k, in W⁴/Δ³.
        """
        sets = degenerate_sets(force_field.wavenumbers)
        omega = np.array([force_field.wavenumbers[sets == one].mean() for one in sets])
        squares, found = squared_couplings(force_field), []
        for i, j, k in _triples(sets):
            gap = max(abs(omega[i] - omega[j] - omega[k]), 1e-9)
            size = (sets == sets[i]).sum()  # each i has the same couplings
            strength = (squares[sets[i], sets[j], sets[k]] / size) ** 2
            if gap <= self.gap and strength >= self.shift * gap**3:
                found.append((i, j, k))
        return tuple(found)

    def darling_dennison(
        self, sets: np.ndarray, levels: list[Level], energies: np.ndarray, elements: np.ndarray
    ) -> np.ndarray:
        """Return which pairs of levels of equal quanta are coupled, ``[levels, levels]``.

        Levels that differ only in how quanta are shared within degenerate modes go together.
        """
        quanta = np.array(levels)
        members = np.array([sets == one for one in range(sets.max() + 1)])
        _, group = np.unique(quanta @ members.T, axis=0, return_inverse=True)
        gaps = np.abs(energies[:, None] - energies[None])
        shifts = np.hypot(gaps / 2, elements) - gaps / 2
        np.fill_diagonal(shifts, 0.0)
        equal = quanta.sum(axis=1)[:, None] == quanta.sum(axis=1)[None]
        largest = np.zeros((group.max() + 1, group.max() + 1))
        np.maximum.at(largest, (group[:, None], group[None]), np.where(equal, shifts, 0.0))
        strong = largest[group[:, None], group[None]] >= self.shift
        return equal & strong & (gaps <= self.gap)


@dataclass(frozen=True)
class Levels:
    """Energies of vibrational levels above the ground state.

    Attributes
    ----------
    quanta : list of tuple
        Quanta of each mode, for each level: fundamentals, then levels of two quanta.
    harmonic, deperturbed, energies : numpy.ndarray
        Shape ``[levels]`` [cm⁻¹]: Σ n ω; by perturbation theory without the resonances; with them.
    weights : numpy.ndarray
        Share of the level itself in the state that is called by its name, ``[levels]``.
    partners : list of dict
        Shares of other levels in it, above 5 %.
    zero_point : float
        Energy of the ground state above the minimum [cm⁻¹].
    rotational_constants : numpy.ndarray
        In the vibrational ground state, about the principal axes, ``[axes]`` [cm⁻¹].
    fermi : tuple
        Fermi resonances.
    states : numpy.ndarray
        Coefficients of the levels and those that resonances draw in, in each of these states.
    """

    quanta: list[Level]
    harmonic: np.ndarray
    deperturbed: np.ndarray
    energies: np.ndarray
    weights: np.ndarray
    partners: list[dict[Level, float]]
    zero_point: float
    rotational_constants: np.ndarray
    fermi: tuple[tuple[int, int, int], ...]
    states: np.ndarray

    @property
    def fundamentals(self) -> np.ndarray:
        """Energies of the levels of one quantum, ``[M]`` [cm⁻¹], in the order of the modes."""
        return self.energies[: len(self.quanta[0])]


def solve(
    force_field: ForceField,
    resonances: Resonances | None = None,
    fermi: tuple[tuple[int, int, int], ...] | None = None,
    quanta: int = 2,
    like: Levels | None = None,
) -> Levels:
    """Return the levels of a force field.

    Parameters
    ----------
    force_field : ForceField
        Of a molecule at a minimum.
    resonances : Resonances, optional
        Thresholds.
    fermi : tuple, optional
        The Fermi resonances, instead of those that the thresholds find.
    quanta : int
        Levels of up to so many quanta, 1 or 2.
    like : Levels, optional
        Of the mean of a committee, with the same resonances: a state gets the name of the one that
        it overlaps with most, so that evenly mixed levels of members are not confused.
    """
    resonances = resonances or Resonances()
    fermi = resonances.fermi(force_field) if fermi is None else fermi
    couplings = Couplings(force_field, fermi)
    targets = _targets(len(force_field.wavenumbers), quanta)
    levels = _closed(targets, fermi, resonances.quanta)
    harmonic = np.array(levels) @ force_field.wavenumbers
    own = harmonic + couplings.diagonal(levels)
    energies, vectors, polyads = _by_polyad(_resonant(couplings, levels, own, resonances))
    named = _named(vectors, polyads)[1 : len(targets)]
    if like is not None:
        _, named = linear_sum_assignment(-((like.states.T @ vectors) ** 2))
    states, wanted = vectors[:, named], range(1, len(targets))
    zero_point = own[0] + force_field.wavenumbers.sum() / 2
    if not force_field.linear:
        zero_point -= force_field.rotational_constants.sum() / 4  # Watson 1968
    return Levels(
        [levels[place] for place in wanted],
        harmonic[wanted],
        own[wanted] - own[0],
        energies[named] - own[0],
        np.array([states[place, place - 1] ** 2 for place in wanted]),
        [_partners(levels, states[:, place - 1] ** 2, place) for place in wanted],
        float(zero_point),
        averaged_rotational_constants(force_field),
        fermi,
        states,
    )


def _targets(modes: int, quanta: int) -> list[Level]:
    """Return the ground state, the fundamentals, and the levels of two quanta."""
    levels = []
    for count in range(quanta + 1):
        for excited in combinations_with_replacement(range(modes), count):
            levels.append(tuple(excited.count(mode) for mode in range(modes)))
    return levels


def _closed(
    targets: list[Level], fermi: tuple[tuple[int, int, int], ...], most: int
) -> list[Level]:
    """Return levels and all that Fermi resonances connect with them, up to ``most`` quanta."""
    levels, known = list(targets), set(targets)
    for level in levels:
        for partner in _fermi_partners(level, fermi):
            if partner not in known and sum(partner) <= most:
                known.add(partner)
                levels.append(partner)
    return levels


def _fermi_partners(level: Level, fermi: tuple[tuple[int, int, int], ...]) -> list[Level]:
    """Return the levels that a level is in Fermi resonance with."""
    partners = []
    for i, j, k in fermi:
        for sign in (1, -1):
            partner = list(level)
            for mode, change in ((i, -sign), (j, sign), (k, sign)):
                partner[mode] += change
            if min(partner) >= 0:
                partners.append(tuple(partner))
    return partners


def _resonant(
    couplings: Couplings, levels: list[Level], own: np.ndarray, resonances: Resonances
) -> np.ndarray:
    """Return the energies of levels and their resonant couplings, ``[levels, levels]`` [cm⁻¹]."""
    counts = np.array(levels).sum(axis=1)
    near = (counts[:, None] == counts) & (np.abs(own[:, None] - own) <= resonances.gap)
    elements = couplings.between(levels, near)
    sets = degenerate_sets(couplings.force_field.wavenumbers)
    kept = resonances.darling_dennison(sets, levels, own, elements)
    effective = np.where(kept, elements, 0.0)
    np.fill_diagonal(effective, own)
    places = {level: place for place, level in enumerate(levels)}
    for place, level in enumerate(levels):
        for partner in _fermi_partners(level, couplings.fermi):
            if partner in places:
                effective[place, places[partner]] = couplings.fermi_element(level, partner)
    return effective


def _by_polyad(effective: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return eigenvalues, eigenvectors (in columns) and number of the polyad of each level."""
    energies, vectors = np.empty(len(effective)), np.zeros_like(effective)
    count, polyads = connected_components(csr_array(effective != 0), directed=False)
    for polyad in range(count):
        members = np.flatnonzero(polyads == polyad)
        block = np.ix_(members, members)
        energies[members], vectors[block] = np.linalg.eigh(effective[block])
    return energies, vectors, polyads


def _named(vectors: np.ndarray, polyads: np.ndarray) -> np.ndarray:
    """Return the state that each level gives its name to, so that shares are largest in all."""
    names = np.empty(len(vectors), dtype=int)
    for polyad in range(polyads.max() + 1):
        members = np.flatnonzero(polyads == polyad)
        rows, states = linear_sum_assignment(-(vectors[np.ix_(members, members)] ** 2))
        names[members[rows]] = members[states]
    return names


def _partners(levels: list[Level], shares: np.ndarray, own: int) -> dict[Level, float]:
    order = np.argsort(-shares)
    return {
        levels[place]: float(shares[place])
        for place in order
        if place != own and shares[place] > 0.05
    }


def squared_couplings(force_field: ForceField) -> dict[tuple[int, int, int], float]:
    """Return Σ ⟨i|V|jk⟩² over the members of three degenerate sets, by their numbers [cm⁻²].

    They do not depend on how degenerate modes are mixed.
    """
    sets, squares = degenerate_sets(force_field.wavenumbers), defaultdict(float)
    for i, j, k in _triples(sets):
        factor = 16 if j == k else 8
        squares[sets[i], sets[j], sets[k]] += force_field.cubic[i, j, k] ** 2 / factor
    return dict(squares)


def _triples(sets: np.ndarray) -> list[tuple[int, int, int]]:
    """Return the modes (i, j ≤ k) that may resonate, i of another set than j and k."""
    return [
        (i, j, k)
        for i in range(len(sets))
        for j, k in combinations_with_replacement(range(len(sets)), 2)
        if sets[i] not in (sets[j], sets[k])
    ]


def averaged_rotational_constants(force_field: ForceField) -> np.ndarray:
    """Return rotational constants in the vibrational ground state, ``[axes]`` [cm⁻¹].

    B_e − ½ Σ α, Mills 1972 (in Molecular Spectroscopy: Modern Research, eq. 47), summed so that
    near-degenerate modes cancel. Asymmetry of the couplings within a degenerate pair is ignored.
    """
    b, omega = force_field.rotational_constants, force_field.wavenumbers
    moments, zeta = force_field.principal_axes[0], force_field.coriolis
    a = force_field.inertia_derivatives
    inertia = 0.375 * np.einsum("iab,b->a", a**2, 1 / moments) / moments
    shifted = np.einsum("jji->i", force_field.cubic) / (4 * omega)  # −⟨q⟩
    anharmonic = np.einsum("iaa,i->a", a, shifted) / moments
    r, s = np.triu_indices(len(omega), 1)
    weights = (omega[r] - omega[s]) ** 2 / (omega[r] * omega[s] * (omega[r] + omega[s]))
    coriolis = (zeta[:, r, s] ** 2 * weights).sum(axis=1)
    return b * (1 + inertia + anharmonic - b * coriolis)
