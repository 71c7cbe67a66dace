"""The design's import direction: lower rooms do not know the ones above them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    {"recipes", "units", "keys", "randomness", "threads"},
    {"molecules", "engines", "mace", "dynamics", "spectra", "selection", "descriptors", "executors", "tracking"},
    {"settings"},
    {"labels", "vibrations"},
    {"learning", "production"},
    {"report"},
    {"study"},
    {"tasks"},
]
LEVEL = {room: number for number, layer in enumerate(LAYERS) for room in layer}
ONLY_IN = {
    "hydra": {"run.py"},
    "omegaconf": {"run.py"},
    "mace": {"palirs/mace/"},
    "e3nn": {"palirs/mace/"},
    "mlflow": {"palirs/tracking.py"},
    "dscribe": {"palirs/descriptors.py"},
    "matplotlib": {"palirs/report/"},
    "plotly": {"palirs/report/"},
}
FILES = [ROOT / "run.py", *sorted((ROOT / "palirs").rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Return the full names of everything a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def room(name: str) -> str:
    return name.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    relative = path.relative_to(ROOT)
    if relative.parts[0] != "palirs" or (relative.name == "__init__.py" and len(relative.parts) == 2):
        return
    own = relative.parts[1].removesuffix(".py")
    assert own in LEVEL, f"{relative}: give this room a place in the layers"
    for name in imported(path):
        if name.startswith("palirs.") and room(name) != own:
            assert LEVEL[room(name)] <= LEVEL[own], f"{relative} imports {name}, which lies above it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_library_has_one_room(path):
    relative = str(path.relative_to(ROOT))
    for name in imported(path):
        places = ONLY_IN.get(name.split(".")[0])
        assert places is None or relative.startswith(tuple(places)), f"{relative} imports {name}; only {places} may"
