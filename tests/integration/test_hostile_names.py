"""A whole study of a molecule whose name MLflow refuses.

Every entry is there, and is seen in the real pages.
"""

import json
import os

import mlflow
import pytest
from ase.build import molecule

from palirs import keys
from palirs.tracking import contents
from palirs.tracking.mlflow_send import folded
from palirs.tracking.names import Names
from tests.integration.conftest import server
from tests.integration.test_study import run

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.thorough]
NAME = "a,b(c)[d]+*%"
SHOTS = os.environ.get("PALIRS_SCREENSHOTS")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return the directory of a study and its tracking database."""
    place = tmp_path_factory.mktemp("hostile")
    atoms = molecule("H2O")
    atoms.info[keys.MOLECULE] = NAME
    atoms.write(place / "water.xyz")
    done = run(place / "study", f"molecules.files=[{place}/water.xyz]", "molecules.names=[]")
    assert done.returncode == 0, done.stderr
    assert "tracking:" not in done.stderr
    return place


def logged(place):
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{place}/mlflow.db")
    (found,) = client.search_runs([client.get_experiment_by_name("palirs").experiment_id])
    return client, found


def test_every_entry_arrives(place):
    client, found = logged(place)
    study = place / "study"
    given = [key for line in contents.Metrics(study).lines for key in line["values"]]
    for name, log in contents.curves(study):
        given += [key for _, values in contents.epochs(name, log, -1) for key in values]
    assert sum(NAME in key for key in given) > 10
    names = Names()
    assert {folded(names.accepted(key)) for key in given} <= set(found.data.metrics)
    for file, folder in contents.artifacts(study):
        listed = client.list_artifacts(found.info.run_id, folder or None)
        assert file.name in {os.path.basename(item.path) for item in listed}
    assert json.loads(found.data.tags["palirs.names"]) == {"a_b_c__d____": NAME}
    assert "palirs.missing" not in found.data.tags
    assert client.search_registered_models()[0].name == "palirs-study"
    assert found.info.status == "FINISHED"


def test_they_are_seen_in_the_pages(place, browser):
    _, found = logged(place)
    with server(f"sqlite:///{place}/mlflow.db") as address:
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        base = f"{address}/#/experiments/{found.info.experiment_id}/runs/{found.info.run_id}"
        page.goto(base)
        page.get_by_text(f"for {NAME}").first.wait_for(timeout=30_000)
        picture = page.locator("img[src^='get-artifact?path=figures/a']").first
        picture.wait_for(timeout=30_000)
        page.wait_for_function("image => image.complete", arg=picture.element_handle())
        assert picture.evaluate("image => image.naturalWidth") > 100, (
            "the spectrum in the description is drawn"
        )
        shot(page, "hostile_run")
        page.goto(f"{base}/model-metrics")
        page.get_by_placeholder("Search metric charts").fill("pcc_ml_ref")
        page.get_by_text("spectrum.a_b_c__d____.pcc_ml_ref").first.wait_for(timeout=30_000)
        shot(page, "hostile_metrics")
        page.goto(f"{base}/artifacts")
        page.get_by_text("figures").first.click()
        page.get_by_text(f"{NAME}-300K.png").first.click()
        page.get_by_text(f"figures/{NAME}-300K.png").first.wait_for(timeout=30_000)
        shot(page, "hostile_artifact")


def shot(page, name):
    if SHOTS:
        page.wait_for_timeout(3000)
        page.screenshot(path=f"{SHOTS}/{name}.png")
