"""Which candidate a record is of: properties of ranking, factor, intervals and words."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from palirs.recipes import PalirsError
from palirs.spectra import Spectrum
from palirs.spectra.identification import verdict
from palirs.spectra.identification.matching import Matching, compared_range, matches
from palirs.spectra.identification.sticks import stick_spectrum

MATCHING = Matching(samples=100)
LEAST = 0.6
MOLECULES = {
    "methanol": ([1050, 1320, 1450, 2890, 2960, 3680], [110, 30, 10, 60, 50, 20]),
    "acetone": ([530, 900, 1220, 1370, 1730, 2970], [15, 8, 70, 60, 150, 20]),
    "ethyne": ([730, 1330, 3290], [180, 40, 90]),
}


def lines(positions, intensities):
    return stick_spectrum(np.array(positions, float), np.array(intensities, float), 1000.0)


@pytest.fixture(scope="module")
def candidates():
    return {name: lines(*bands) for name, bands in MOLECULES.items()}


def record_of(spectrum, factor=1.0, noise=0.0, **kwargs):
    """Return a record of a spectrum, on another grid and in other units."""
    grid = np.arange(550.0, 3970.0, 2.0)
    values = 3e-4 * spectrum.scaled(factor).on(grid)
    values = values + noise * values.max() * np.random.default_rng(0).normal(size=len(grid))
    return Spectrum(grid, values, label="unknown", unit="absorbance", measured=True, **kwargs)


@pytest.mark.parametrize("name", MOLECULES)
@pytest.mark.parametrize("factor", [0.94, 0.97, 1.01])
def test_the_molecule_of_the_record_is_first_and_its_factor_is_found(candidates, name, factor):
    found = matches(record_of(candidates[name], factor, noise=0.003), candidates, MATCHING)
    assert found[0].name == name
    assert found[0].scale == pytest.approx(factor, abs=0.002)
    low, high = found[0].scale_interval
    assert low - 1e-9 <= found[0].scale <= high + 1e-9
    assert found[0].similarity > 0.9 and not found[0].at_bound
    assert [match.similarity for match in found] == sorted(
        (match.similarity for match in found), reverse=True
    )
    text = " ".join(verdict.in_words(found, LEAST))
    assert text.startswith(f"{name} ") and "All others can be told" in text
    assert verdict.heading(found, "unknown", LEAST) == f"Record “unknown”: {name}"


def test_a_short_record_has_intervals_or_is_refused(candidates):
    """One part drawn anew would be itself each time, and nothing would be unsure."""
    record = record_of(candidates["acetone"], noise=0.02)
    short = matches(record, candidates, replace(MATCHING, window=(1500.0, 2000.0)))
    assert all(match.interval[1] - match.interval[0] > 1e-3 for match in short)
    with pytest.raises(PalirsError, match="too little to say how sure"):
        matches(record, candidates, replace(MATCHING, window=(1600.0, 1850.0)))


def test_a_record_broadened_as_candidates_are_has_similarity_one(candidates):
    one = matches(record_of(candidates["acetone"]), candidates, replace(MATCHING, max_lag=1e5))[0]
    assert one.similarity == pytest.approx(1, abs=2e-3)


def test_a_record_of_sharp_lines_is_compared_at_the_resolution_of_the_candidates(candidates):
    sharp = stick_spectrum(*map(np.array, MOLECULES["acetone"]), 20000.0)
    grid = np.arange(550.0, 3970.0, 0.5)
    record = Spectrum(grid, sharp.scaled(0.97).on(grid), measured=True)
    found = matches(record, candidates, MATCHING)
    assert found[0].name == "acetone" and found[0].similarity > 0.98


def test_without_a_factor_a_shifted_record_is_less_similar(candidates):
    record = record_of(candidates["acetone"], 0.95)
    fixed = matches(record, candidates, replace(MATCHING, scale=(1.0, 1.0)))
    fitted = matches(record, candidates, MATCHING)
    by_name = {match.name: match for match in fixed}
    for match in fitted:
        assert match.similarity >= by_name[match.name].similarity
    assert by_name["acetone"].similarity < 0.8 < fitted[0].similarity
    assert not by_name["acetone"].at_bound, "it was given, not fitted"


def test_a_factor_at_its_bound_is_told(candidates):
    found = matches(record_of(candidates["acetone"], 0.9), candidates, MATCHING)
    assert found[0].name == "acetone" and found[0].at_bound
    assert "is a bound of task.scale" in " ".join(verdict.in_words(found, LEAST))


@pytest.mark.parametrize("blocks", [False, True])
def test_two_of_the_same_spectrum_cannot_be_told_apart(candidates, blocks):
    one = candidates["methanol"]
    if blocks:
        rng = np.random.default_rng(1)
        parts = one.intensity * rng.uniform(0.5, 1.5, (12, 1)) + rng.uniform(
            0, 0.02, (12, len(one.wavenumber))
        )
        one = replace(one, intensity=parts.mean(axis=0)).with_blocks(parts)
    both = {"first": one, "second": one, "acetone": candidates["acetone"]}
    found = matches(record_of(candidates["methanol"], 0.97, 0.003), both, MATCHING)
    assert {match.name for match in found[:2]} == {"first", "second"}
    assert [match.name for match in verdict.alike(found)] == [found[1].name]
    text = " ".join(verdict.in_words(found, LEAST))
    assert f"{found[1].name} cannot be told from it" in text
    assert "All others" not in text
    rows = verdict.rows(found)
    assert [row.get("told_from_first") for row in rows] == [None, "no", "yes"]


def test_a_difference_has_the_interval_of_the_pairs(candidates):
    """Two that are wrong at the same bands differ by less than each is unsure."""
    positions, intensities = MOLECULES["acetone"]
    near = lines(positions, [*intensities[:-1], 24])
    record = record_of(lines(positions, [15, 8, 70, 60, 0, 60]))
    one, other = matches(record, {"a": candidates["acetone"], "b": near}, MATCHING)
    difference, low, high = one.ahead(other)
    assert low <= difference <= high
    assert high - low < 0.3 * (one.interval[1] - one.interval[0])


def test_noise_of_md_makes_the_interval_wider(candidates):
    one = candidates["acetone"]
    rng = np.random.default_rng(2)
    shifted = [one.scaled(factor).on(one.wavenumber) for factor in rng.normal(1, 0.03, 6)]
    noisy = replace(one, intensity=np.mean(shifted, axis=0)).with_blocks(np.array(shifted))
    still = replace(noisy, blocks=None)
    record = record_of(one, 0.98)
    widths = {
        name: np.ptp(matches(record, {name: spectrum}, MATCHING)[0].interval)
        for name, spectrum in (("noisy", noisy), ("still", still))
    }
    assert widths["noisy"] > widths["still"]


@pytest.mark.parametrize("kind", ["zero", "constant", "noise"])
def test_a_flat_record_fits_none(candidates, kind):
    record = record_of(candidates["acetone"])
    values = {
        "zero": np.zeros_like(record.intensity),
        "constant": np.full_like(record.intensity, 0.3),
        "noise": np.random.default_rng(0).normal(0, 0.01, len(record.intensity)),
    }[kind]
    found = matches(replace(record, intensity=values), candidates, MATCHING)
    assert all(match.similarity < 0.5 for match in found)
    text, *_ = verdict.in_words(found, LEAST)
    assert text.startswith("None of the 3 candidates fits")
    assert verdict.heading(found, "unknown", LEAST) == "Record “unknown”: no candidate fits"


def test_a_candidate_without_bands_has_no_similarity(candidates):
    flat = replace(candidates["acetone"], intensity=np.zeros(len(candidates["acetone"].intensity)))
    found = matches(record_of(candidates["acetone"]), candidates | {"nitrogen": flat}, MATCHING)
    (own,) = (match for match in found if match.name == "nitrogen")
    assert own.similarity == 0 and np.isnan(own.pearson)


def test_a_measured_candidate_is_not_scaled(candidates):
    library = record_of(candidates["acetone"])
    found = matches(
        record_of(candidates["acetone"], 0.97),
        {"library": MATCHING.equal(library), "computed": candidates["acetone"]},
        MATCHING,
    )
    scales = {match.name: match.scale for match in found}
    assert scales["library"] == 1 and scales["computed"] == pytest.approx(0.97, abs=0.002)


def test_gaps_of_the_record_do_not_count(candidates):
    record = record_of(candidates["acetone"], 0.97)
    absurd = np.where((record.wavenumber > 2000) & (record.wavenumber < 2500), 1.0, 0.0)
    broken = replace(record, intensity=record.intensity + absurd * record.intensity.max())
    apart = {"scale": (0.97, 0.97), "broadening": None}
    wrong = matches(broken, candidates, replace(MATCHING, **apart))[0]
    left_out = replace(broken, gaps=((1800.0, 2700.0),))
    right = matches(left_out, candidates, replace(MATCHING, **apart))[0]
    assert wrong.similarity < 0.9 < 0.95 < right.similarity


def test_all_are_compared_in_the_range_that_all_cover(candidates):
    short = candidates["acetone"].within(0.0, 2000.0)
    record = record_of(candidates["acetone"])
    both = {"short": short, "methanol": candidates["methanol"]}
    low, high = compared_range(record, both, MATCHING)
    assert (low, high) == pytest.approx((550, 2000 * 0.92))
    with pytest.raises(PalirsError, match=r"candidate 'far'.*less than 100 cm⁻¹.*leave it out"):
        matches(record, {"far": candidates["acetone"].within(4400, 5000)}, MATCHING)


def test_sticks_have_the_areas_of_the_intensities(candidates):
    spectrum = candidates["methanol"]
    assert spectrum.area == pytest.approx(sum(MOLECULES["methanol"][1]), rel=1e-3)
    alone = lines([-120.0, 1000.4], [50.0, 80.0])
    assert alone.area == pytest.approx(80, rel=1e-3)
    centre = (alone.wavenumber * alone.intensity).sum() / alone.intensity.sum()
    assert centre == pytest.approx(1000.4, abs=0.05)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scale": (1.02, 0.92)}, "should not be above"),
        ({"scale": (0.1, 1.0)}, "greater than or equal to 0.5"),
        ({"broadening": 1.0}, "greater than or equal to 10"),
        ({"exponent": 0.0}, "greater than or equal to 0.1"),
    ],
)
def test_what_cannot_be_asked_for(wrong, said):
    with pytest.raises(ValidationError, match=said):
        Matching(**wrong)
