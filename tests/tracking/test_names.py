"""Names of molecules as parts of MLflow's names."""

import pytest
from mlflow.utils.validation import _validate_metric_name, _validate_param_name

from palirs.tracking.mlflow_send import folded
from palirs.tracking.names import Names

HOSTILE = [
    "1,3-butadiene",
    "[13CH3]O",
    "a,b(c)[d]+*%",
    "a..b",
    ".",
    "",
    " ",
    "a:b",
    "#?&=<>|'\"\\",
    "größe",
    "水",
    "N₂O",
    "x" * 300,
    "a\tb",
    "F/C=C\\F",
]


@pytest.mark.parametrize("molecule", HOSTILE)
@pytest.mark.parametrize(
    "shape",
    [
        "spectrum.{}.pcc_ml_ref",
        "harmonic.mae_cm1.{}",
        "md.{}.drift",
        "transfer.{}.x",
        "training.{}.0.loss",
    ],
)
def test_mlflow_takes_every_name_and_it_can_be_translated_back(molecule, shape):
    names, name = Names(), shape.format(molecule)
    accepted = names.accepted(name)
    for written in (accepted, folded(accepted), f"headline/{accepted}"):
        _validate_metric_name(written)
        _validate_param_name(written)
        assert len(written) <= 250
    assert names.original(accepted) == name


def test_names_that_mlflow_takes_stay_as_they_are():
    names = Names()
    for name in (
        "harmonic.mae_cm1",
        "spectrum.methanol.pcc_ml_ref",
        "training.000.0.loss",
        "spectrum.C3H6O-CSCPPA.band_error",
    ):
        assert names.accepted(name) == name
    assert names.changed == {}


def test_different_names_stay_different_and_equal_ones_equal():
    names = Names()
    given = ["a,b", "a_b", "a(b", "a[b", "a b", "a_b_c", "a,b,c", "x" * 300, "x" * 301]
    accepted = [names.accepted(name) for name in given]
    assert len(set(accepted)) == len(given)
    assert [names.accepted(name) for name in reversed(given)] == accepted[::-1]
    assert [names.original(name) for name in accepted] == given
    assert [Names(given).accepted(name) for name in given] == accepted, "as in a study that goes on"
