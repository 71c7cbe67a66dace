"""The report of a study as people see it: in a browser of 1100 px, and on paper."""

import pytest

from tests.integration.conftest import copied
from tests.integration.test_study import run, swept

pytestmark = [pytest.mark.integration, pytest.mark.thorough]


@pytest.fixture
def opened(browser):
    """Return ``opened(file)``: the page of a file.

    Whatever its scripts complain about fails the test.
    """
    complaints = []

    def page_of(file):
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: complaints.append(message.text) if message.type == "error" else None,
        )
        page.on(
            "request",
            lambda request: (
                complaints.append(request.url) if request.url.startswith("http") else None
            ),
        )
        page.goto(f"file://{file}")
        return page

    yield page_of
    assert not complaints


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth") <= page.evaluate(
        "document.documentElement.clientWidth"
    )


def test_the_report_of_a_study(once, opened, tmp_path):
    place, _ = once("undisturbed", lambda place: run(place / "study"))
    page = opened(copied(place, tmp_path / "copy") / "study" / "report.html")
    page.locator("#spectra .main-svg").first.wait_for(timeout=30_000)
    assert fits(page)
    text = page.locator("body").inner_text()
    for part in (
        "GFN2-xTB",
        "wavenumber (cm⁻¹)",
        "Caveats",
        "mace-torch",
        "python run.py",
        "reference vibrations",
    ):
        assert part in text, part
    drawn = page.locator("#spectra .scatterlayer path.js-line")
    before = drawn.count()
    page.locator("#spectra .legendtoggle").first.click()
    page.wait_for_timeout(1500)
    assert drawn.count() < before, "a click on the legend takes a spectrum away"
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href")).count() == 1


def test_on_paper_there_are_pictures_in_place_of_plots(once, opened, tmp_path):
    place, _ = once("undisturbed", lambda place: run(place / "study"))
    page = opened(copied(place, tmp_path / "copy") / "study" / "report.html")
    shown = (
        "[...document.querySelectorAll('{}')].map(one => one.getBoundingClientRect().height > 0)"
    )
    assert all(page.evaluate(shown.format(".screen"))) and not any(
        page.evaluate(shown.format("img.paper"))
    )
    page.emulate_media(media="print")
    assert not any(page.evaluate(shown.format(".screen"))) and all(
        page.evaluate(shown.format("img.paper"))
    )
    page.set_viewport_size({"width": 688, "height": 900})  # A4 less its margins
    assert fits(page)
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_the_page_of_a_sweep(once, opened, tmp_path):
    place, _ = once("sweep", swept)
    page = opened(copied(place, tmp_path / "copy") / "sweep" / "sweep.html")
    assert fits(page)
    text = page.locator("#settings-that-differ").inner_text()
    assert "committee.size" in text and "cutoff" not in text
