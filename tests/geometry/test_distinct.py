import numpy as np
from ase.build import molecule
from scipy.spatial.transform import Rotation

from palirs.geometry.distinct import SAME, StructureIndex, distances, distinct


def shaken(rng, atoms, size=0.1):
    moved = atoms.copy()
    moved.positions += rng.normal(scale=size, size=moved.positions.shape)
    return moved


def images(rng, atoms):
    """The same structure moved and turned, mirrored, and with its hydrogen atoms exchanged."""
    turned = atoms.copy()
    turned.positions = turned.positions @ Rotation.random(
        random_state=7
    ).as_matrix().T + rng.normal(size=3)
    mirrored = atoms.copy()
    mirrored.positions[:, 0] *= -1
    order = np.arange(len(atoms))
    hydrogens = np.flatnonzero(atoms.numbers == 1)
    order[hydrogens] = rng.permutation(hydrogens)
    return turned, mirrored, atoms[order]


def test_what_an_engine_cannot_tell_apart_is_one():
    rng = np.random.default_rng(0)
    for name in ("CH3OH", "H2O", "C2H6", "HCN", "H2"):
        one = shaken(rng, molecule(name))
        assert distinct([one, *images(rng, one)]) == [one]


def test_other_structures_are_others():
    rng = np.random.default_rng(1)
    frames = [shaken(rng, molecule("CH3OH"), 0.02) for _ in range(700)]
    assert distinct(frames) == frames, "more than what is looked at row by row"
    assert distinct([molecule("CH3OH"), molecule("C2H6"), molecule("H2O")], [molecule("H2O")]) == [
        molecule("CH3OH"),
        molecule("C2H6"),
    ]
    assert len(distinct([molecule("CH3CH2OH"), molecule("CH3OCH3")])) == 2, "isomers"


def test_known_ones_are_found_again_among_many():
    rng = np.random.default_rng(2)
    frames = [shaken(rng, molecule("CH3OH")) for _ in range(600)]
    known = StructureIndex(frames)
    assert not any(known.add(image) for frame in frames[::50] for image in images(rng, frame))
    assert known.add(shaken(rng, molecule("CH3OH")))


def test_distances_move_no_more_than_atoms():
    rng = np.random.default_rng(3)
    atoms = molecule("CH3OH")
    for size in (1e-5, 1e-2, 0.5):
        moved = shaken(rng, atoms, size)
        largest = np.linalg.norm(moved.positions - atoms.positions, axis=1).max()
        assert np.abs(distances(moved) - distances(atoms)).max() <= 2 * largest + 1e-12
    nearly = shaken(rng, atoms, SAME / 10)
    assert distinct([atoms, nearly]) == [atoms]
