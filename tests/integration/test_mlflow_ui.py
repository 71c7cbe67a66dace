"""MLflow's own pages in a real browser.

A sweep, the comparison of its children, curves, interactive spectra, a registered model.
"""

import os

import mlflow
import pytest

from tests.integration.conftest import copied, server
from tests.integration.test_study import run, swept

pytestmark = [pytest.mark.integration, pytest.mark.thorough]
SHOTS = os.environ.get("PALIRS_SCREENSHOTS")
"""Directory for pictures of the pages, to be looked at."""


def text_of(page, *expected):
    """Return what a page says once all of this is there."""
    for one in expected:
        page.get_by_text(one).first.wait_for(timeout=30_000)
    return page.locator("body").inner_text()


def picture(page, name):
    if SHOTS:
        page.wait_for_timeout(3000)
        page.screenshot(path=f"{SHOTS}/{name}.png")


def test_a_sweep_is_opened_and_its_children_compared(once, browser, tmp_path):
    place, _ = once("sweep", swept)
    store = f"sqlite:///{copied(place, tmp_path / 'sweep')}/mlflow.db"
    client = mlflow.MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("palirs").experiment_id
    found = client.search_runs([experiment])
    children = [one for one in found if "mlflow.parentRunId" in one.data.tags]
    with server(store) as address:
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.goto(f"{address}/#/experiments/{experiment}/runs")
        assert "sweep committee.size" in text_of(page, "sweep committee.size")
        picture(page, "sweep")
        runs = ",".join(f'"{one.info.run_id}"' for one in children)
        page.goto(f'{address}/#/compare-runs?runs=[{runs}]&experiments=["{experiment}"]')
        told = text_of(page, "Parallel Coordinates Plot", "committee.size", "Clear All")
        chosen = told.partition("Metrics:")[2].partition("Clear All")[0]
        assert "headline/harmonic.mae_cm1" in chosen, "what a comparison opens on"
        picture(page, "compare")


def test_a_run_its_curves_its_spectra_and_its_model(once, browser, tmp_path):
    place, _ = once("undisturbed", lambda place: run(place / "study"))
    store = f"sqlite:///{copied(place, tmp_path / 'copy')}/mlflow.db"
    client = mlflow.MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("palirs").experiment_id
    (one,) = client.search_runs([experiment])
    with server(store) as address:
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.goto(f"{address}/#/experiments/{experiment}/runs/{one.info.run_id}")
        text_of(page, "of the engine's on average", "palirs-study", "study 001 train")
        picture(page, "run")
        page.goto(f"{address}/#/experiments/{experiment}/runs/{one.info.run_id}/model-metrics")
        page.get_by_text("headline", exact=True).first.wait_for(timeout=30_000)
        page.get_by_text("harmonic.mae_cm1").first.wait_for(timeout=30_000)
        page.locator(".js-plotly-plot").first.wait_for(timeout=30_000)
        picture(page, "curves")
        page.goto(
            f"{address}/#/experiments/{experiment}/runs/{one.info.run_id}/artifacts/spectra/spectra-300K.html"
        )
        frame = page.frame_locator("iframe.mlflow-html-iframe")
        frame.locator(".main-svg").first.wait_for(timeout=60_000)
        assert frame.get_by_text("wavenumber (cm⁻¹)").count() >= 1
        picture(page, "spectra")
        page.goto(f"{address}/#/models/palirs-study/versions/1")
        text_of(page, "Infrared spectra at the level of GFN2-xTB", "Inputs (1)")
        picture(page, "model")
