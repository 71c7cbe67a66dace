"""README and documentation: short where they should be, and what they point to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
LINES = {"README.md": 90, "docs/architecture.md": 120}
"""Pages that are read in two minutes, and their most lines."""
HEADINGS = ["Context", "Decision", "What was measured", "Consequences"]
LIKELY = 8
"""Letters, from which a part of a quoted log line names the message it comes from."""


@pytest.mark.parametrize("page", LINES)
def test_a_page_for_two_minutes_is_short(page):
    lines = (ROOT / page).read_text().splitlines()
    assert len(lines) <= LINES[page]
    assert max(len(line) for line in lines) <= 200


def links(page):
    """Return what a page links to outside the web, without places inside of pages."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    return [target.partition("#")[0] for target in targets if not target.startswith("http")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page):
    missing = [target for target in links(page) if not (page.parent / target).exists()]
    assert not missing


def test_every_page_is_reached_from_the_readme():
    """By links from page to page; nothing is written that nobody finds."""
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        waiting += [(page.parent / target).resolve() for target in links(page)]
        waiting += sorted(page.parent.glob("*.md")) if page.parent.name == "results" else []
    assert not set((ROOT / "docs").rglob("*.md")) - reached


def named(page):
    """Return the folders and files of code that a page names in backticks or in a tree."""
    name = r"(?:[a-z_]+/)*(?:[a-z_]+\.(?:py|c|sh)|[a-z_]+/)"
    text = page.read_text()
    return re.findall(rf"`({name})`", text) + re.findall(rf"^ *({name})  ", text, re.MULTILINE)


def test_the_map_and_the_decisions_name_what_is_there():
    folders = ("palirs", "tests", "conf", "sweeps", "docs")
    there = [path for folder in folders for path in (ROOT / folder, *(ROOT / folder).rglob("*"))]
    ends = {f"/{path.relative_to(ROOT)}" for path in (*there, *ROOT.glob("*.py"))}
    for page in (ROOT / "docs" / "architecture.md", *DECISIONS):
        wanted = [f"/{name.strip('/')}" for name in named(page)]
        missing = [name for name in wanted if not any(end.endswith(name) for end in ends)]
        assert not missing, page.name
    assert len(named(ROOT / "docs" / "architecture.md")) > 50


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_fits_on_a_screen(page):
    text = page.read_text()
    assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == HEADINGS
    assert len(text) < 3000
    assert f"]({page.name})" in (page.parent / "README.md").read_text(), "it is in the list"


def test_no_two_decisions_have_one_number():
    numbers = [page.name[:3] for page in DECISIONS]
    assert len(numbers) > 20 and len(set(numbers)) == len(numbers)


def test_quoted_log_lines_are_those_of_the_code():
    """What the tutorial quotes is worded as the program words it, numbers aside."""
    text = (ROOT / "docs" / "tutorial.md").read_text()
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    source = " ".join(path.read_text() for path in sorted((ROOT / "palirs").rglob("*.py")))
    source = re.sub(r'"\s+f?"', "", source)
    quoted = [
        quote for quote in re.findall(r"`([^`]+)`", prose) if re.match(r"(?!make )\S+ ", quote)
    ]
    assert len(quoted) > 4
    for line in quoted:
        for part in re.split(r"[\d.…]+", line):
            words = part.strip(" :,%=")
            assert len(words) < LIKELY or words in source, f"{words!r} of {line!r}"
