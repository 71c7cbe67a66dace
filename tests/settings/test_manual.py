"""The list of all settings.

``python -m tests.settings.test_manual`` writes ``docs/configuration.md``.
"""

from pathlib import Path

import pytest

from palirs.cli.arguments import read_arguments
from palirs.cli.main import explanations
from palirs.settings import manual

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.fixture(scope="module")
def found():
    return {one.key: one for one in explanations(read_arguments([]))[1]}


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == manual.page(*explanations(read_arguments([]))), (
        "python -m tests.settings.test_manual"
    )


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("sampler.timestep", "0.5", "number, > 0, ≤ 5 (fs)"),
        ("committee.size", "3", "whole number, ≥ 1"),
        ("spectrum.thermostat", "langevin", "langevin, nose_hoover"),
        ("spectrum.production.length", "15.0", "number, > 0, ≤ 1e+06 (ps)"),
        ("sampler.temperatures", "[300.0, 500.0, 700.0]", "list of number, > 0, ≤ 5000 (K)"),
    ],
)
def test_values_have_what_is_allowed_and_their_unit(found, key, value, allowed):
    assert found[key].value == value
    assert found[key].allowed.startswith(allowed)
    assert found[key].text


def test_almost_every_value_says_what_it_means(found):
    silent = [key for key, one in found.items() if not one.text]
    assert set(silent) <= {"temperature", "seed", "study"}, silent


def test_help_follows_the_command_line():
    groups, values = explanations(read_arguments(["engine=pyscf_pbe"]))
    text = manual.overview(groups, values)
    assert "engine.basis=" in text
    assert text.count("python run.py") >= 6
    assert "organics24" in text


if __name__ == "__main__":
    PAGE.write_text(manual.page(*explanations(read_arguments([]))))
