"""Normal modes and trajectories of a study for other programs."""

from types import SimpleNamespace

import numpy as np
import pytest

from palirs.recipes import PalirsError
from palirs.settings import Spectroscopy
from palirs.tasks import exports
from palirs.vibrations import Harmonic
from tests.physics.test_molden import sections


@pytest.fixture
def methanol(monkeypatch):
    """The vibrations that an engine is said to have, and those that a committee is said to have."""
    from palirs.molecules import table

    atoms = table()["methanol"]
    modes = np.random.default_rng(1).normal(size=(12, 6, 3))
    engine = Harmonic(atoms, np.linspace(300, 3600, 12), modes, np.ones(12))
    own = Harmonic(atoms, np.linspace(310, 3610, 12), modes, None)
    monkeypatch.setattr(exports, "reference_vibrations", lambda session: (engine,))
    monkeypatch.setattr(exports, "final_dipole_files", lambda directory, members: ())
    monkeypatch.setattr(exports, "load_dipole_model", lambda files: None)
    monkeypatch.setattr(exports, "final_committee", lambda directory: None)
    return own


def session(directory):
    settings = SimpleNamespace(
        engine=SimpleNamespace(name="GFN2-xTB"), committee=SimpleNamespace(dipoles=1)
    )
    return SimpleNamespace(directory=directory, settings=settings, names=["methanol"])


def test_modes_of_engine_and_committee_lie_side_by_side(methanol, monkeypatch, tmp_path):
    monkeypatch.setattr(exports, "complete_iterations", lambda directory: [directory])
    monkeypatch.setattr(exports, "own_vibrations", lambda *args: {"methanol": methanol})
    exports.export_modes(session(tmp_path), "out")
    engine, own = (sections(tmp_path / "out" / f"methanol-{who}.molden") for who in WHO)
    assert float(engine["[FREQ]"][0]) == 300 and float(own["[FREQ]"][0]) == 310
    assert "[INT]" in engine and "[INT]" not in own
    assert engine["[TITLE]"] == [" methanol, GFN2-xTB, harmonic"]
    assert own["[TITLE]"] == [" methanol, palirs committee trained on GFN2-xTB, harmonic"]


WHO = ("engine", "committee")


@pytest.mark.parametrize("iterations", [0, 1])
def test_without_an_optimum_of_the_committee_there_are_the_engines_modes(
    methanol, monkeypatch, tmp_path, capsys, iterations
):
    monkeypatch.setattr(exports, "complete_iterations", lambda place: [place] * iterations)
    monkeypatch.setattr(exports, "own_vibrations", lambda *args: {})
    exports.export_modes(session(tmp_path), "out")
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["methanol-engine.molden"]
    assert ("no optimum like the engine's" in capsys.readouterr().out) == bool(iterations)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"layout": "gromacs"}, "task.layout = 'gromacs': extxyz, travis, schnetpack"),
        ({"kind": "mine"}, "task.kind = 'mine': predicted, reference"),
        ({"kind": "reference"}, "spectrum.reference is null"),
    ],
)
def test_bad_settings_are_told_before_anything_is_read(wrong, says):
    settings = SimpleNamespace(spectrum=SimpleNamespace(reference=None))
    arguments = {"layout": "extxyz", "kind": "predicted", "output": "out"} | wrong
    with pytest.raises(PalirsError, match=says):
        exports.export_trajectories(SimpleNamespace(settings=settings), **arguments)


def test_what_another_program_would_have_wrong_is_told():
    every, some = Spectroscopy(dipole_interval=0.5), Spectroscopy(conformers="boltzmann")
    assert exports.caveats(every, "schnetpack") == []
    assert ["population" in each for each in exports.caveats(some, "travis")] == [True]
    assert "spectrum.dipole_interval=0.5 " in exports.caveats(some, "schnetpack")[1]
