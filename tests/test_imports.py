"""The shape of the house: lower rooms do not know the ones above them.

No two files know each other, and nothing is too long to read.

``python -m tests.test_imports`` prints the drawing of ``docs/architecture.md``.
"""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    {
        "recipes",
        "units",
        "journal",
        "keys",
        "provenance",
        "randomness",
        "threads",
        "heartbeat",
        "claims",
        "lock",
        "geometry",
        "version",
    },
    {
        "molecules",
        "engines",
        "mace",
        "dynamics",
        "spectra",
        "selection",
        "sampling",
        "descriptors",
        "executors",
        "tracking",
    },
    {"settings"},
    {"labels", "vibrations"},
    {"learning", "production"},
    {"results"},
    {"report"},
    {"pages", "planning", "predictor"},
    {"study"},
    {"tasks"},
    {"cli"},
]
LEVEL = {room: number for number, layer in enumerate(LAYERS) for room in layer}
ONLY_IN = {
    "hydra": {"palirs/cli/"},
    "omegaconf": {"palirs/cli/"},
    "mace": {"palirs/mace/"},
    "e3nn": {"palirs/mace/"},
    "mlflow": {"palirs/tracking/", "palirs/predictor/served.py"},
    "dscribe": {"palirs/descriptors.py"},
    "nistchempy": {"palirs/spectra/measured/webbook.py"},
    "rdkit": {
        "palirs/geometry/smiles.py",
        "palirs/geometry/embedding.py",
        "palirs/geometry/embedding_process.py",
        "palirs/geometry/molfiles.py",
    },
    "matplotlib": {"palirs/report/"},
    "plotly": {"palirs/report/", "palirs/pages/"},
    "jinja2": {"palirs/pages/"},
    "psutil": {"palirs/journal.py"},
    "h5py": {"palirs/production/exchange.py"},
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
    if relative.parts[0] != "palirs" or (
        relative.name == "__init__.py" and len(relative.parts) == 2
    ):
        return
    own = relative.parts[1].removesuffix(".py")
    assert own in LEVEL, f"{relative}: give this room a place in the layers"
    for name in imported(path):
        if name.startswith("palirs.") and room(name) != own:
            assert LEVEL[room(name)] <= LEVEL[own], (
                f"{relative} imports {name}, which lies above it"
            )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_library_has_one_room(path):
    relative = str(path.relative_to(ROOT))
    for name in imported(path):
        places = ONLY_IN.get(name.split(".")[0])
        assert places is None or relative.startswith(tuple(places)), (
            f"{relative} imports {name}; only {places} may"
        )


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in FILES}


def neighbours(path: Path) -> set[str]:
    """Return the modules of the project that a file imports, those for type checking too."""
    found = set()
    for name in imported(path):
        parts = name.split(".")
        known = [
            ".".join(parts[:end])
            for end in range(len(parts), 0, -1)
            if ".".join(parts[:end]) in MODULES
        ]
        found.update(known[:1])
    return found - {name_of(path)}


def test_no_two_files_know_each_other_not_even_by_a_detour():
    graph = {name: neighbours(path) for name, path in MODULES.items()}
    graph["palirs.mace"] -= {
        name for name in graph["palirs.mace"] if name != "palirs.mace.settings"
    }  # looked up when they are first used
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names them


def test_the_rooms_of_mace_stand_on_each_other():
    """Compiled code knows no models, models no training; names within the room differ."""
    order = [
        "settings",
        "backend",
        "pickles",
        "compiled",
        "forces",
        "models",
        "training",
        "exchange",
        "foundation",
    ]
    for path in (
        path for path in FILES if "palirs/mace/" in str(path) and path.name != "__init__.py"
    ):
        own = order.index(path.relative_to(ROOT / "palirs/mace").parts[0].removesuffix(".py"))
        for name in neighbours(path):
            if name.startswith("palirs.mace."):
                assert order.index(name.split(".")[2]) <= own, f"{path} imports {name}"
    names = [
        path.stem for path in FILES if "palirs/mace/" in str(path) and path.name != "__init__.py"
    ]
    assert len(names) == len(set(names))


def test_files_and_folders_can_be_looked_over():
    """How long a function may be is a matter of taste; how many ways it has, ruff's C901 bounds."""
    for path in FILES:
        assert len(path.read_text().splitlines()) <= 420, path
    for folder in {path.parent for path in FILES}:
        assert len([file for file in folder.iterdir() if file.suffix in (".py", ".c")]) <= 14, (
            folder
        )


def drawing() -> str:
    """Draw the rooms, the upper ones first, each with the rooms it imports."""
    imports: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        if name.startswith("palirs."):
            imports.setdefault(room(name), set()).update(
                room(other) for other in neighbours(path) if other.startswith("palirs.")
            )
    lines = []
    for number in reversed(range(len(LAYERS))):
        for mine in sorted(LAYERS[number] & set(imports)):
            others = sorted(
                imports[mine] - {mine} - LAYERS[0], key=lambda other: (-LEVEL[other], other)
            )
            lines.append(
                f"{number}  {mine:10s} {'-> ' + ', '.join(others) if others else ''}".rstrip()
            )
    return "\n".join(lines)


def test_the_drawing_in_the_docs_is_that_of_the_imports():
    assert drawing() in (ROOT / "docs/architecture.md").read_text(), (
        "put the output of  python -m tests.test_imports  there"
    )


if __name__ == "__main__":
    print(drawing())
