"""The method in words: what it says is what the settings say, and every source has its number."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from palirs.engines import PySCF, TBLite
from palirs.pages.method import CITED, method
from palirs.pages.report import _of_forces, of_nuclei
from palirs.settings import MD, Sampler
from tests.cli.composed import built


def study(*overrides):
    return built(*overrides)


CONF = Path(__file__).parents[2] / "conf"
EXTRA = {"gfn2": ["engine=gfn1"], "mace": ["pretraining.engine.file=foundation.model"]}
GROUPS = ("model", "training", "pretraining", "initial", "sampler", "selector", "spectrum")


def words(made, molecules=("methanol",), done=("predicted", "reference")):
    text, cited = method(made, molecules, 2, 99, done)
    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", str(text)))
    return plain, cited


def test_numbers_are_those_of_the_settings():
    made = study("temperature=450")
    plain, cited = words(made)
    for part in (
        "GFN2-xTB",
        "at 450 K",
        "after 2 trainings, with 99 reference calculations",
        f"committee of {made.committee.size} MACE",
    ):
        assert part in plain
    other, _ = words(replace(made, temperature=77.0))
    assert "at 77 K" in other and "at 450 K" not in other
    numbers = [
        int(one) for found in re.findall(r"\[([\d, ]+)\]", plain) for one in found.split(",")
    ]
    assert sorted(set(numbers)) == list(range(1, len(cited) + 1)), (
        "every source is cited, and every number has its source"
    )
    firsts = list(dict.fromkeys(numbers))
    assert firsts == sorted(firsts), "in the order in which they are cited"


def test_what_was_not_done_is_not_told():
    made = study()
    without = replace(
        made, spectrum=replace(made.spectrum, reference=None, thermostat="nose_hoover")
    )
    plain, cited = words(without)
    assert "engine's own MD" not in plain
    assert CITED["nose_hoover"] in cited
    with_reference, _ = words(
        replace(made, spectrum=replace(made.spectrum, reference=MD(replicas=4, length=12.0)))
    )
    assert "own MD, 4 × 12 ps" in with_reference


def test_how_the_nuclei_move_is_told():
    made = study()
    plain, _ = words(made)
    assert "by Langevin dynamics [" in plain and "of classical nuclei" in plain
    assert "ring-polymer" not in plain
    rings = replace(made, spectrum=replace(made.spectrum, nuclei="ring_polymer", beads=16))
    plain, cited = words(rings)
    assert "by thermostatted ring-polymer MD [" in plain and "with 16 beads for each atom" in plain
    assert "of classical nuclei" not in plain
    assert "its nuclei are classical, so the two spectra differ" in plain, "the engine's own MD"
    assert CITED["trpmd"] in cited and CITED["bcocb"] in cited


@pytest.mark.parametrize(
    ("engine", "wanted"),
    [
        (TBLite(method="GFN1-xTB"), "acs.jctc.7b00118"),
        (PySCF(functional="PBE", basis="def2-SVPD"), "PhysRevLett.77.3865"),
    ],
)
def test_the_engine_is_cited(engine, wanted):
    _, cited = words(replace(study(), engine=engine))
    assert any(wanted in text for text in cited)


@pytest.mark.parametrize(
    "overrides",
    [
        *(
            [f"{group}={file.stem}", *EXTRA.get(file.stem, [])]
            for group in GROUPS
            for file in sorted((CONF / group).glob("*.yaml"))
        ),
        ["spectrum.method=schnetpack", "spectrum.dipole_interval=0.5"],
        ["spectrum.conformers=md"],
        ["spectrum.nuclei=ring_polymer"],
        ["sampler.nuclei=ring_polymer"],
        ["training.potential.start=previous", "learning.intensities=0.1", "committee.size=2"],
        [
            "engine=ase",
            "+engine.calculator._target_=ase.calculators.emt.EMT",
            "engine.properties=[energy,forces]",
        ],
    ],
    ids=" ".join,
)
def test_every_option_has_its_words(overrides):
    """A template that lacks a word for a setting would end a study at its report."""
    plain, cited = words(study(*overrides), ("methanol", "H2O"))
    assert len(plain) > 800 and len(cited) > 5
    assert "H2O" in plain and "H2o" not in plain


def test_what_ring_polymers_leave_open_is_a_caveat():
    made = study("spectrum.nuclei=ring_polymer")
    (sentence,) = of_nuclei(made, {"predicted", "reference"})
    assert "32 beads" in sentence and "own MD is classical" in sentence
    assert "own MD" not in of_nuclei(made, {"predicted"})[0]
    assert of_nuclei(made, {"reference"}) == of_nuclei(study(), {"predicted"}) == []
    assert "sampler.nuclei=ring_polymer task=active_learning" in sentence
    assert "exploration" not in of_nuclei(made, {"predicted"}, 16.0)[0]
    asked = study("spectrum.nuclei=ring_polymer", "sampler.nuclei=ring_polymer")
    assert "exploration" in of_nuclei(asked, {"predicted"})[0], "it was not explored so yet"


def test_the_method_says_which_md_explored():
    classical, rings = (
        words(study(*overrides), ("methanol",))[0]
        for overrides in ((), ("sampler.nuclei=ring_polymer", "sampler.beads=8"))
    )
    assert "ring-polymer MD" not in classical and "6 frames of MD that" in classical
    assert "6 frames of ring-polymer MD of 8 beads that" in rings
    assert "of which single beads are structures" in rings and "BAOAB" not in rings


def test_errors_along_md_say_along_which():
    rings = Sampler(nuclei="ring_polymer").kind_of_md
    for measured, expected in ((12.0, 3.0), (None, 12.0), (None, np.nan)):
        (sentence,) = _of_forces(measured, expected, 10.0, rings)
        assert "along ring-polymer MD of 16 beads" in sentence
        assert "along MD" in _of_forces(measured, expected, 10.0, Sampler().kind_of_md)[0]


def test_nothing_is_said_of_spectra_that_are_not_there():
    made = study()
    assert "Spectra." not in words(made, done=())[0]
    assert "own MD, 4" not in words(made, done=["predicted"])[0]
    assert "pretrained weights" in words(study("pretraining=gfn1"))[0]


def test_no_sentence_runs_into_the_next():
    plain, _ = words(study(), ("methanol", "ethanol"))
    assert not re.search(r"[a-z][.,;][A-Za-z]{2}", re.sub(r"doi:\S+", "", plain)), plain
    assert not re.search(r"\d ?ps[a-z]|¹[a-z]", plain), plain


def test_anharmonic_levels_are_told_where_there_are_some():
    plain, cited = words(study("learning.anharmonic=3"), done=("predicted", "moved", "anharmonic"))
    assert "differ by less than 3 cm⁻¹" in plain
    assert "Anharmonic levels." in plain and "quantum shifts" in plain
    assert CITED["vpt2k"] in cited
    plain, cited = words(study())
    assert "nharmonic" not in plain.replace("anharmonicity", "") and CITED["vpt2k"] not in cited
