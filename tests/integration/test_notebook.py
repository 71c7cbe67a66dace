"""The notebook of the documentation runs from its first cell to its last.

And the copy in the repository was run.
"""

import base64
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.integration.conftest import copied
from tests.integration.test_study import run

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def outputs(notebook):
    return [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]


def test_the_copy_in_the_repository_was_run_from_top_to_bottom():
    notebook = nbformat.read(NOTEBOOK, 4)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    pictures = [
        output.data["image/png"]
        for output in outputs(notebook)
        if "image/png" in output.get("data", {})
    ]
    assert pictures and all(base64.b64decode(one).startswith(b"\x89PNG") for one in pictures)


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.thorough
def test_it_runs(once, tmp_path):
    """With the models of a tiny study and little MD."""
    place, _ = once("undisturbed", lambda place: run(place / "study"))
    study = copied(place, tmp_path / "learnt") / "study"
    notebook = nbformat.read(NOTEBOOK, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = cell.source.replace('"studies/methanol-gfn2"', repr(str(study)))
            cell.source = cell.source.replace(
                'predict("methanol", STUDY', 'predict("methanol", STUDY, length=0.5, replicas=2'
            )
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    text = "".join(
        output.text
        for output in outputs(notebook)
        if output.output_type == "stream" and output.name == "stdout"
    )
    assert "PCC" in text and "km/mol" in text
