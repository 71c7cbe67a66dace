"""Tables of the report that are counted, not copied."""

import numpy as np
import pytest
from ase import Atoms

from palirs import keys
from palirs.results.coverage import ENGINE_MD, covered


def frames(molecule, count):
    return [Atoms("H", info={keys.MOLECULE: molecule}) for _ in range(count)]


def test_coverage_is_the_share_of_md_as_near_as_data_are_to_one_another():
    first, final = np.arange(5.0)[:, None], np.arange(10.0)[:, None]  # all one apart
    md = np.array([[0.5], [3.2], [8.5], [10.5], [-3.0], [20.0]])
    sets = {
        ENGINE_MD: frames("a", 6),
        "initial data": frames("a", 5),
        "final data": frames("a", 10),
    }
    (row,) = covered(sets, {ENGINE_MD: md, "initial data": first, "final data": final})
    assert row["frames"] == 6
    assert row["by initial data"] == pytest.approx(2 / 6)
    assert row["by final data"] == pytest.approx(3 / 6)


def test_molecules_are_counted_apart():
    sets = {
        name: frames("a", 4) + frames("b", 4) for name in (ENGINE_MD, "initial data", "final data")
    }
    same, far = np.arange(4.0), np.arange(4.0) + 100
    rows = {name: np.concatenate([same, far])[:, None] for name in sets}
    rows[ENGINE_MD] = np.concatenate([same + 100, far])[:, None]  # a where b is
    a, b = covered(sets, rows)
    assert (a["molecule"], a["by final data"]) == ("a", 0.0)
    assert (b["molecule"], b["by final data"]) == ("b", 1.0)
