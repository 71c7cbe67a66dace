"""The task that asks which molecule a record is of: candidates, files, and mistakes."""

from dataclasses import replace
from types import SimpleNamespace

import ase.build
import numpy as np
import pytest

from palirs.cli.arguments import read_arguments
from palirs.predictor.candidates import read_candidates
from palirs.production.spectra import comparison_of
from palirs.recipes import PalirsError
from palirs.results.tables import read_table
from palirs.spectra.files import write_csv
from palirs.spectra.identification.matching import Matching
from palirs.spectra.identification.sticks import stick_spectrum
from palirs.spectra.jcampdx import write_jcamp
from palirs.tasks import identify
from palirs.tasks.prediction import _matching
from tests.cli.composed import built, mistake

MATCHING = Matching()
BANDS = {"methanol": ([1050, 2900, 3680], [100, 60, 20]), "acetone": ([1220, 1730], [70, 150])}
DEFAULTS = {
    "by": "md",
    "model": None,
    "length": 15.0,
    "replicas": 12,
    "scale": [0.92, 1.02],
    "resolution": None,
    "exponent": 0.5,
    "least": 0.6,
}


def spectrum(name, made="physical, hann over 1000 fs, harmonic"):
    found = stick_spectrum(*(np.array(values, float) for values in BANDS[name]), 1000.0)
    return replace(found, label=name, made=made)


@pytest.fixture
def studies(tmp_path):
    """Directories with a spectrum each, as studies have them, and a record of the first."""
    for name in BANDS:
        write_csv(tmp_path / name / "spectra" / f"{name}-300K-predicted.csv", spectrum(name))
    x = np.arange(500.0, 4000.0, 4.0)
    y = spectrum("methanol").scaled(0.97).on(x)
    rows = "\n".join(f"{a:.1f},{b:.6g}" for a, b in zip(x, y, strict=True))
    (tmp_path / "record.csv").write_text(f"wavenumber (cm-1),absorbance\n{rows}\n")
    return tmp_path


def run(studies, candidates, **settings):
    session = SimpleNamespace(settings=built("spectrum=paper"), directory=studies / "study")
    arguments = DEFAULTS | {"experiment": str(studies / "record.csv")} | settings
    identify(session, candidates=candidates, output=str(studies / "out"), **arguments)
    return read_table(studies / "out" / "identification.csv")


@pytest.mark.parametrize(
    ("resolution", "width"), [(30.0, 30.0), (60.0, 60.0), (19.0, 18.0), (10.0, 18.0), (None, 18.0)]
)
def test_all_is_compared_at_one_width_of_lines(resolution, width):
    """Lines of computed spectra are broadened to it, and so is a record of sharp lines."""
    comparison = comparison_of(built("molecules=methanol").spectrum)  # lines of 18 cm⁻¹
    matching = _matching(comparison, (0.92, 1.02), resolution, 0.5)
    sharp = stick_spectrum(np.array([2000.0]), np.array([1.0]), 1e5)
    line = matching.broadened(matching.equal(replace(sharp, measured=True)))
    high = line.wavenumber[line.intensity > 0.5 * line.intensity.max()]
    assert np.ptp(high) == pytest.approx(width, abs=2)


def test_a_width_that_is_none_is_told(studies):
    with pytest.raises(PalirsError, match=r"task\.resolution = -5: between 1 and 500"):
        run(studies, [str(studies / "methanol")], resolution=-5.0)


def test_spectra_that_are_there_are_ranked_without_a_model(studies, capsys):
    file = studies / "acetone" / "spectra" / "acetone-300K-predicted.csv"
    rows = run(studies, [str(studies / "methanol"), str(file)])
    assert [row["candidate"] for row in rows] == ["methanol", "acetone"]
    assert rows[0]["scale"] == pytest.approx(0.97, abs=0.002)
    assert rows[1]["told_from_first"] == "yes"
    assert "methanol is the most similar of 2 candidates" in capsys.readouterr().out
    assert {file.name for file in (studies / "out").iterdir()} == {
        "identification.csv",
        "identification.png",
        "identification.pdf",
        "verdict.txt",
    }


def test_two_studies_of_a_molecule_keep_their_names(studies):
    again = studies / "again" / "spectra" / "methanol-300K-predicted.csv"
    write_csv(again, spectrum("methanol"))
    listed, _ = read_candidates(
        [str(studies / "methanol"), str(studies / "again"), str(again)], 300.0, MATCHING
    )
    assert len({one.name for one in listed}) == 3
    assert [one.name for one in listed][:2] == ["methanol", "methanol (again)"]


def test_a_molecule_that_is_there_twice_is_compared_once_and_told():
    listed, remarks = read_candidates(["ethanol", "CCO", "COC"], 300.0, MATCHING)
    assert [one.name for one in listed] == ["ethanol", "dimethyl_ether"]
    assert remarks == ["CCO is ethanol, which is there already"]
    assert all(one.molecule is not None and one.spectrum is None for one in listed)


def test_charge_spin_and_isotopes_make_another_candidate(tmp_path):
    plain = ase.build.molecule("H2O")
    for name, comment in (("a", ""), ("b", "charge=1 multiplicity=2"), ("c", "")):
        atoms = plain.copy()
        if name == "c":
            atoms.set_masses([15.999, 2.014, 2.014])
        atoms.info = {"molecule": "water", **dict(pair.split("=") for pair in comment.split())}
        atoms.write(tmp_path / f"{name}.xyz", format="extxyz")
    files = [str(tmp_path / f"{name}.xyz") for name in ("a", "b", "c", "a")]
    listed, remarks = read_candidates(files, 300.0, MATCHING)
    assert len(listed) == 3 and len(remarks) == 1


def test_a_computed_spectrum_without_its_table_is_not_taken_for_a_measured_one(studies, capsys):
    alone = studies / "library" / "acetone-300K-predicted.jdx"
    alone.parent.mkdir()
    write_jcamp(alone, spectrum("acetone"), title="acetone", temperature=300.0, resolution=40.0)
    rows = run(studies, [str(studies / "methanol"), str(alone)])
    assert "it was computed; give acetone-300K-predicted.csv" in str(rows[1]["remarks"])


def test_a_model_that_makes_no_spectrum_changes_no_line_width(studies, monkeypatch):
    from palirs.tasks import prediction

    def opened(where):
        raise AssertionError("no candidate is a molecule")

    monkeypatch.setattr(prediction, "open_predictor", opened)
    assert run(studies, [str(studies / "methanol")], model="any")[0]["candidate"] == "methanol"


def test_a_measured_spectrum_is_a_candidate(studies):
    rows = run(studies, [str(studies / "record.csv"), str(studies / "methanol")])
    assert rows[0]["candidate"] == "record" and rows[0]["scale"] == 1
    assert str(rows[0]["source"]).startswith("measured, ")


def test_what_has_other_lines_is_left_out_by_name(studies, capsys):
    coarse = studies / "coarse-300K-predicted.csv"
    write_csv(coarse, spectrum("acetone", "physical, hann over 500 fs, harmonic"))
    rows = run(studies, [str(studies / "methanol"), str(coarse)])
    assert rows[1]["candidate"] == "coarse" and "left out" in str(rows[1]["remarks"])
    said = capsys.readouterr().out
    assert "coarse is left out" in said and "spectrum.max_lag=500" in said
    with pytest.raises(PalirsError, match="none of them has a spectrum"):
        run(studies, [str(coarse)])


def test_what_a_model_does_not_know_is_left_out_by_name(studies, capsys, monkeypatch):
    from palirs.tasks import prediction

    def unknown(candidate, predictor, comparison):
        raise PalirsError(f"molecule {candidate.name!r}: the models have never seen N")

    session = built("spectrum=paper")
    monkeypatch.setattr(prediction, "open_predictor", lambda where: where)
    monkeypatch.setattr(prediction, "settings_of", lambda *_: (None, session.spectrum))
    monkeypatch.setattr(prediction, "by_members", unknown)
    rows = run(studies, [str(studies / "methanol"), "formamide"], by="harmonic", model="any")
    assert rows[1]["candidate"] == "formamide"
    assert "formamide is left out: molecule 'formamide': the models have never seen N" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("candidates", "settings", "said"),
    [
        (["acetone"], {}, "task.model: acetone need.*model=<study or predictor>.*task.by=engine"),
        (["no such thing"], {}, "task.candidates: 'no such thing' is not a molecule by name"),
        (["absent.jdx"], {}, "task.candidates: 'absent.jdx': there is no such file"),
        ([], {}, "task.candidates: the list is empty.*candidates=\\[ethanol,COC\\]"),
        (["{}"], {}, "without predicted spectra at 300 K.*no spectrum at all.*task=spectra"),
        (["{}/bad.csv"], {}, "task.candidates: '.*bad.csv' cannot be read"),
        (["{}/methanol"], {"experiment": "{}/bad.csv"}, "task.experiment: .*bad.csv"),
        (["{}/methanol"], {"by": "engine", "model": "m"}, "task.model = m: with task.by=engine"),
        (["{}/methanol"], {"by": "magic"}, "task.by = 'magic': md, harmonic or engine"),
        (["{}/methanol"], {"least": 7}, "task.least = 7: .* between -1 and 1"),
        (["{}/methanol"], {"scale": [1.1, 0.9]}, "task: scale = \\[1.1, 0.9\\]"),
        (["{}/methanol"], {"scale": [0.9]}, "task.scale = \\[0.9\\]: two factors"),
        (["{}/methanol"], {"exponent": 0}, "task.exponent = 0: .*0.1"),
        (["ethanol"], {"model": "{}"}, "there is no predictor"),
    ],
)
def test_a_mistake_is_told(studies, candidates, settings, said):
    (studies / "bad.csv").write_text("no numbers here\n")
    candidates = [text.format(studies) for text in candidates]
    settings = {
        key: value.format(studies) if isinstance(value, str) else value
        for key, value in settings.items()
    }
    with pytest.raises(PalirsError, match=said):
        run(studies, candidates, **settings)


def test_the_record_is_a_setting_of_the_task_and_presets_stay_presets():
    typed = ["task=identify", "experiment=unknown.jdx", "candidates=[ethanol,CCO]"]
    assert read_arguments(typed).settings == (
        "task=identify",
        "task.experiment=unknown.jdx",
        "task.candidates=[ethanol,CCO]",
    )
    assert read_arguments(["task=identify", "experiment=tiny"]).settings[1] == "experiment=tiny"
    assert read_arguments(["experiment=mine.jdx"]).settings == ("experiment=mine.jdx",)
    said = mistake("task=identify", "experiment=absent.jdx", "candidates=[ethanol]")
    assert "task.experiment = 'absent.jdx': there is no such file" in said
    said = mistake("task=identify", "experiment=absent.jdx", "candidates=ethanol")
    assert "write 'task.candidates=[ethanol]'" in said
