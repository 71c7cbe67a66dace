from collections import Counter

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.learning.splits import assign_splits, separate_test


def frames(name, origin, groups, each=1, seed=0):
    rng = np.random.default_rng(seed)
    return [
        Atoms(
            "H2",
            positions=rng.normal(size=(2, 3)),
            info={keys.MOLECULE: name, keys.ORIGIN: origin, keys.GROUP: f"{origin} {number}"},
        )
        for number in range(groups)
        for _ in range(each)
    ]


def shares(found):
    counts = Counter(atoms.info[keys.SPLIT] for atoms in found)
    return [counts[side] / len(found) for side in ("test", "valid", "train")]


def test_every_molecule_and_origin_has_its_share_on_each_side():
    arrived = [
        frame
        for name in ("a", "b")
        for origin in ("thermal", "exploration")
        for frame in frames(name, origin, 60)
    ]
    found = assign_splits(arrived, [], 0.2, 0.1)
    for name in ("a", "b"):
        for origin in ("thermal", "exploration"):
            part = [
                atoms
                for atoms in found
                if (atoms.info[keys.MOLECULE], atoms.info[keys.ORIGIN]) == (name, origin)
            ]
            np.testing.assert_allclose(shares(part), [0.2, 0.08, 0.72], atol=0.02)
    learnt, tested = separate_test(found)
    assert len(learnt) + len(tested) == len(found)
    assert {atoms.info[keys.SPLIT] for atoms in learnt} == {"train", "valid"}


def test_neighbours_stand_together():
    found = assign_splits(frames("a", "exploration", 24, each=5), [], 0.2, 0.1)
    where = {}
    for atoms in found:
        where.setdefault(atoms.info[keys.GROUP], set()).add(atoms.info[keys.SPLIT])
    assert all(len(side) == 1 for side in where.values())
    np.testing.assert_allclose(shares(found), [0.2, 0.08, 0.72], atol=0.05)


def test_a_side_is_for_ever_and_later_frames_keep_the_shares():
    first = assign_splits(frames("a", "exploration", 30), [], 0.2, 0.1)
    later = assign_splits(frames("a", "exploration", 200, seed=1)[30:], first, 0.2, 0.1)
    again = assign_splits(frames("a", "exploration", 30), [], 0.2, 0.1)
    assert [atoms.info[keys.SPLIT] for atoms in first] == [
        atoms.info[keys.SPLIT] for atoms in again
    ]
    np.testing.assert_allclose(shares([*first, *later]), [0.2, 0.08, 0.72], atol=0.02)


def test_the_line_does_not_depend_on_the_order():
    arrived = frames("a", "thermal", 50)
    there = {id(atoms): number for number, atoms in enumerate(arrived)}
    plain = assign_splits(arrived, [], 0.2, 0.1)
    turned = assign_splits(arrived[::-1], [], 0.2, 0.1)[::-1]
    assert [atoms.info[keys.SPLIT] for atoms in plain] == [
        atoms.info[keys.SPLIT] for atoms in turned
    ]
    assert len(there) == 50
    assert keys.SPLIT not in arrived[0].info, "inputs are left as they were"


def test_the_optimum_is_learnt():
    optimum = frames("a", "optimum", 1)
    assert (
        assign_splits([*frames("a", "thermal", 5), *optimum], [], 0.9, 0.1)[-1].info[keys.SPLIT]
        == "train"
    )


def test_frames_without_a_stretch_stand_alone():
    bare = frames("a", "imported", 40)
    for atoms in bare:
        del atoms.info[keys.GROUP]
    np.testing.assert_allclose(
        shares(assign_splits(bare, [], 0.2, 0.1)), [0.2, 0.08, 0.72], atol=0.03
    )


def test_frames_that_come_one_by_one_have_the_same_shares():
    settled = []
    for atoms in frames("a", "exploration", 60):
        settled += assign_splits([atoms], settled, 0.2, 0.1)
    np.testing.assert_allclose(shares(settled), [0.2, 0.08, 0.72], atol=0.02)


def test_chosen_frames_are_learnt_where_frames_of_md_test():
    tests = frames("a", "md", 4)
    for atoms in tests:
        atoms.info[keys.SPLIT] = "test"
    chosen = [*frames("a", "exploration", 40, seed=1), *frames("b", "exploration", 40, seed=2)]
    found = assign_splits([*tests, *chosen], [], 0.2, 0.1)
    assert [atoms.info[keys.SPLIT] for atoms in found[:4]] == ["test"] * 4
    np.testing.assert_allclose(shares(found[4:44]), [0.0, 0.1, 0.9], atol=0.02)
    np.testing.assert_allclose(shares(found[44:]), [0.2, 0.08, 0.72], atol=0.02)
    later = assign_splits(frames("a", "exploration", 60, seed=3)[40:], found, 0.2, 0.1)
    assert {atoms.info[keys.SPLIT] for atoms in later} <= {"train", "valid"}
