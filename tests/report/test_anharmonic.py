"""Anharmonic levels in the report."""

from types import SimpleNamespace

import numpy as np

from palirs.report import anharmonic, band_tables

LEVELS = [
    {"level": "ν1", "motion": "torsion", "harmonic_cm1": 32.0, "anharmonic_cm1": float("nan")},
    {
        "level": "ν2",
        "motion": "O–H stretch",
        "harmonic_cm1": 3557.3,
        "anharmonic_cm1": 3384.5,
        "spread_cm1": 35.3,
        "with": "2ν1 12%",
        "caveat": "members differ by 35 cm⁻¹",
    },
    {"level": "2ν1", "harmonic_cm1": 64.0, "anharmonic_cm1": 60.0},
]
ENGINE = [
    {**LEVELS[0], "anharmonic_cm1": 30.0},
    {**LEVELS[1], "anharmonic_cm1": 3345.7, "spread_cm1": float("nan")},
]


def results(**tables):
    return SimpleNamespace(
        references={"methanol": None}, anharmonic=lambda molecule, by: tables.get(by, [])
    )


def test_fundamentals_are_shown_with_their_spread_beside_the_engines():
    (section,) = anharmonic.levels(results(committee=LEVELS, engine=ENGINE))
    torsion, stretch = section.rows
    assert stretch["anharmonic"] == "3384.5 ± 35.3"
    assert stretch["engine's anharmonic"] == "3345.7"
    assert stretch["caveat"] == "members differ by 35 cm⁻¹"
    assert torsion["anharmonic"] == "–", "a rotor has none"
    assert "standard deviation of the members" in section.note


def test_without_a_committees_the_engines_are_shown():
    (section,) = anharmonic.levels(results(engine=ENGINE))
    assert [row["anharmonic"] for row in section.rows] == ["30.0", "3345.7"]
    assert "of the engine" in section.note
    assert anharmonic.levels(results()) == []


def test_an_internal_rotation_shows_its_levels():
    told = "v = 0: A 0.0, E 9.1; v = 1: E 209.0, A 295.1"
    rotor = {**LEVELS[0], "anharmonic_cm1": 231.6, "rotor_levels": told}
    (section,) = anharmonic.levels(results(committee=[rotor, *LEVELS[1:]]))
    assert section.rows[0]["levels of the rotor"] == told
    assert "levels of the rotor" not in section.rows[1]
    assert "in one dimension" in section.note
    (without,) = anharmonic.levels(results(committee=LEVELS))
    assert "in one dimension" not in without.note


def test_isotopologues_are_shown_beside_their_molecule():
    stretch = {**LEVELS[1], "parent": "ν12", "parent_share": 0.94, "parent_cm1": 3346.2}
    tables = {"committee": {"D5": [stretch, LEVELS[2]]}, "engine": {"D5": [ENGINE[1]]}}
    found = SimpleNamespace(
        references={"methanol": None}, isotopologues=lambda molecule, by: tables[by]
    )
    (section,) = anharmonic.isotopologues(found)
    (row,) = section.rows
    assert "D5, isotopologue of methanol" in section.heading
    assert row["anharmonic"] == "3384.5 ± 35.3"
    assert row["engine's anharmonic"] == "3345.7"
    assert row["of methanol"] == "ν12 3346.2 (94% alike)"
    tables["committee"] = {}
    (section,) = anharmonic.isotopologues(found)
    assert section.rows[0]["anharmonic"] == "3345.7"


def test_bands_have_the_level_of_their_mode():
    band = {
        "position_cm1": 3520.0,
        "position_error_cm1": np.nan,
        "area_km_per_mol": 8.0,
        "area_error_km_per_mol": np.nan,
        "assignment": "O–H stretch",
        "share": 0.9,
        "harmonic_area_km_per_mol": 8.0,
        "mode": 2,
        "harmonic_cm1": 3557.0,
        "engine_harmonic_cm1": 3558.0,
    }
    (row,) = band_tables.in_words([band], anharmonic.fundamentals(LEVELS))
    assert row["anharmonic"] == "3384.5 ± 35.3"
    (row,) = band_tables.in_words([band])
    assert "anharmonic" not in row
