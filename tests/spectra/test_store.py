"""The spectra of a study on disk, and their comparison."""

from dataclasses import replace

import numpy as np
import pytest

from palirs.production import spectrum_store
from palirs.settings import Spectroscopy
from palirs.spectra import Spectrum, mean_spectrum, pearson
from palirs.spectra.bands import band_error
from palirs.spectra.similarity import in_words

GRID = np.arange(0.0, 5000.0, 2.0)


def bands(*heights):
    """Bands at 1000, 2000, 3000 cm⁻¹, 20 wide."""
    return sum(
        height * np.exp(-(((GRID - 1000 * (i + 1)) / 20) ** 2)) for i, height in enumerate(heights)
    )


def test_the_error_of_the_bands_is_that_of_the_mean():
    """Bands of known relative noise.

    The standard error over many draws is what one draw gives, and low bands do not count.
    """
    rng = np.random.default_rng(0)
    draws = [
        [
            Spectrum(GRID, bands(1.0, 0.8 * (1 + 0.3 * x), 0.3 * (1 + 2.0 * x)))
            for x in rng.normal(size=64)
        ]
        for _ in range(60)
    ]
    told = [band_error(mean_spectrum(draw), (500.0, 4000.0)) for draw in draws]
    means = [mean_spectrum(draw).on(np.array([2000.0]))[0] for draw in draws]
    assert np.mean(told) == pytest.approx(np.std(means) / 0.8, rel=0.25)
    assert np.isnan(band_error(mean_spectrum(draws[0][:1]), (500.0, 4000.0)))


def noisy(rng, parts, noise=0.3):
    """A spectrum of as many parts, whose bands have this relative noise each."""
    return mean_spectrum(
        [
            Spectrum(GRID, bands(*(np.array([1.0, 0.8, 0.3]) * (1 + noise * rng.normal(size=3)))))
            for _ in range(parts)
        ]
    )


def test_intervals_hold_what_other_draws_give(tmp_path):
    """PCC with a smooth truth: the usual one lies within the interval that most of 30 spectra tell.

    The floor is that of halves.
    """
    rng, truth = np.random.default_rng(3), Spectrum(GRID, bands(1.0, 0.8, 0.3))
    store, inside, floors = spectrum_store(tmp_path, Spectroscopy(), 300.0, ["a"]), [], []
    usual = np.median([pearson(noisy(rng, 16), truth) for _ in range(200)])
    apart = np.median([pearson(noisy(rng, 8), noisy(rng, 8)) for _ in range(200)])
    for _ in range(30):
        store.write("a", "predicted", truth)
        store.write("a", "reference", noisy(rng, 16))
        found = store.compare("a")
        inside.append(
            found["spectrum.a.pcc_ml_ref_low"] <= usual <= found["spectrum.a.pcc_ml_ref_high"]
        )
        floors.append(found["spectrum.a.pcc_ref_ref"])
    assert np.mean(inside) > 0.7
    assert 1 - np.median(floors) == pytest.approx(1 - apart, rel=0.5)
    assert " to " in in_words(found)
    store.write("a", "reference", truth)
    assert not any(key.endswith("_low") for key in store.compare("a")), (
        "nothing is known of how sure these are"
    )


def test_stored_spectra_are_compared(tmp_path):
    store = spectrum_store(tmp_path, Spectroscopy(), 300.0, ["a", "b"])
    assert store.read("a") == {}
    assert store.compare("a") == {}
    store.write("a", "predicted", Spectrum(GRID, bands(1.0, 0.5, 0.2)))
    assert store.compare("a") == {}
    store.write("a", "reference", Spectrum(GRID, 3 * bands(1.0, 0.5, 0.2)))
    found = store.compare("a")
    assert found["spectrum.a.pcc_ml_ref"] == pytest.approx(1.0)
    assert found["spectrum.a.wd_ml_ref"] == pytest.approx(0.0, abs=1e-9)
    assert in_words(found) == "pcc_ml_ref 1.000, wd_ml_ref 0.000"
    assert spectrum_store(tmp_path, Spectroscopy(), 500.0, ["a", "b"]).read("a") == {}, (
        "of another temperature"
    )


def test_scaled_wavenumbers_meet_the_experiment(tmp_path):
    """Bands of the prediction lie 1/0.95 too high, at the same areas.

    Scaled they are those of the experiment.
    """
    spectrum = Spectrum(GRID, bands(1.0, 0.5, 0.2)).with_blocks(
        np.array([bands(1.0, 0.5, 0.2), bands(1.0, 0.5, 0.2)])
    )
    file = tmp_path / "measured.txt"
    np.savetxt(file, np.column_stack([GRID, spectrum.intensity]))
    high = spectrum.scaled(1 / 0.95)
    assert high.area == pytest.approx(spectrum.area, rel=1e-6)
    assert high.blocks.mean(axis=0) == pytest.approx(high.intensity)
    found = {}
    for scale in (None, 0.95):
        store = spectrum_store(
            tmp_path,
            Spectroscopy(experiment=str(file), frequency_scale=scale, max_lag=4000.0),
            300.0,
            ["a"],
        )
        store.write("a", "predicted", high)
        found[scale] = store.compare("a")
    assert "spectrum.a.pcc_ml_exp_equal_scaled" not in found[None]
    assert found[0.95]["spectrum.a.pcc_ml_exp_equal"] < 0.6
    assert found[0.95]["spectrum.a.pcc_ml_exp_equal_scaled"] > 0.95
    assert "scaled" not in in_words(found[0.95])


def test_spectra_are_compared_whether_or_not_the_energy_of_their_modes_is_divided_out(tmp_path):
    asked = Spectroscopy(max_lag=1000.0, equipartition=True)
    store = spectrum_store(tmp_path, asked, 300.0, ["x"])
    plain = replace(asked, equipartition=False)
    store.write("x", "predicted", Spectrum(GRID, bands(1.0, 0.5), made=asked.made))
    store.write("x", "reference", Spectrum(GRID, bands(1.0, 0.6), made=plain.made))
    assert asked.made != plain.made
    assert set(store.read("x")) == {"predicted", "reference"}
    header = store.file("x", "reference").with_suffix(".jdx").read_text()
    assert "equipartition" not in header


def test_a_spectrum_made_in_another_way_is_not_compared(tmp_path, caplog):
    store = spectrum_store(tmp_path, Spectroscopy(max_lag=500.0), 300.0, ["x"])
    store.write("x", "predicted", Spectrum(GRID, bands(1.0, 0.5), made=store.comparison.made))
    store.write(
        "x", "reference", Spectrum(GRID, bands(1.0, 0.6), made=Spectroscopy(max_lag=1000.0).made)
    )
    with caplog.at_level("WARNING"):
        assert set(store.read("x")) == {"predicted"}
    assert "hann over 1000 fs" in caplog.text and "hann over 500 fs" in caplog.text
    assert store.compare("x") == {}
    store.write("x", "reference", Spectrum(GRID, bands(1.0, 0.6), made=store.comparison.made))
    assert "spectrum.x.pcc_ml_ref" in store.compare("x")


def test_a_spectrum_by_other_nuclei_is_not_taken_for_that_of_these(tmp_path, caplog):
    """Predicted spectra; the engine's own MD is classical with either setting."""
    points, rings = Spectroscopy(), Spectroscopy(nuclei="ring_polymer", beads=8)
    stores = [spectrum_store(tmp_path, settings, 300.0, ["x"]) for settings in (points, rings)]
    made = points.made + rings.in_rings
    stores[1].write("x", "predicted", Spectrum(GRID, bands(1.0, 0.5), made=made))
    stores[1].write("x", "reference", Spectrum(GRID, bands(1.0, 0.6), made=points.made))
    assert set(stores[1].read("x")) == {"predicted", "reference"}
    with caplog.at_level("WARNING"):
        assert set(stores[0].read("x")) == {"reference"}
    assert "ring polymers of 8 beads" in caplog.text
    other = spectrum_store(tmp_path, replace(rings, beads=16), 300.0, ["x"])
    assert set(other.read("x")) == {"reference"}


def test_regions_leave_out_what_is_flat(tmp_path):
    store = spectrum_store(tmp_path, Spectroscopy(), 300.0, ["x"])
    for kind in ("predicted", "reference"):
        store.write("x", kind, Spectrum(GRID, np.where(GRID < 1900, bands(1.0, 0.0), 0.0)))
    low, high = store.comparison.by_region(store.read("x")).values()
    assert low["pcc_ml_ref"] == pytest.approx(1.0) and "pcc_ml_ref" not in high
    assert low["area predicted"] == pytest.approx(20 * np.sqrt(np.pi), rel=1e-2)


def test_how_alike_spectra_of_less_md_are(tmp_path):
    rng = np.random.default_rng(3)
    store = spectrum_store(tmp_path, Spectroscopy(), 300.0, ["x"])
    store.write("x", "predicted", replace(noisy(rng, 30), time=60.0))
    store.write("x", "reference", noisy(rng, 200, 0.0))
    curves = store.comparison.by_length(store.read("x"), "x")
    assert set(curves) == {"predicted against reference"}, "nobody knows how long the other is"
    time, middle, low, high = np.array(curves["predicted against reference"]).T
    assert (time[0], time[-1]) == (2.0, 58.0)
    assert (
        (np.diff(time) > 0).all()
        and middle[0] < middle[-1]
        and (low <= middle).all()
        and (middle <= high).all()
    )


def test_temperatures_of_a_molecule_are_not_those_of_its_isotopologue(tmp_path):
    store = spectrum_store(tmp_path, Spectroscopy(), 300.0, ["x", "x-d4"])
    for name, temperature in (("x", 100.0), ("x", 300.0), ("x-d4", 500.0)):
        replace(store, temperature=temperature).write(name, "predicted", Spectrum(GRID, bands(1.0)))
    assert list(store.by_temperature("x")) == [100.0, 300.0]
    assert list(store.by_temperature("x-d4")) == [500.0]


def test_a_molecule_without_a_dipole_has_nothing_to_compare(tmp_path):
    store = spectrum_store(tmp_path, Spectroscopy(), 300.0, ["H2"])
    for kind in ("predicted", "reference"):
        store.write("H2", kind, replace(mean_spectrum([Spectrum(GRID, 0 * GRID)] * 6), time=6.0))
    assert store.compare("H2") == {}
    assert in_words(store.compare("H2")) == ""
    assert np.isnan(
        [
            row[1:]
            for row in store.comparison.by_length(store.read("H2"), "H2")[
                "predicted against reference"
            ]
        ]
    ).all()
