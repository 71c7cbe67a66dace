"""With what a result was made, as one can type it again."""

import json
import shlex

from palirs import provenance


def test_the_command_can_be_typed_again(monkeypatch):
    monkeypatch.delenv(provenance.COMMAND_LINE, raising=False)
    given = [
        "/somewhere/run.py",
        "molecules.names=['CC(=O)C']",
        "sampler.temperatures=[300, 900]",
        "seed=1",
    ]
    monkeypatch.setattr("sys.argv", given)
    assert shlex.split(provenance.command()) == ["run.py", *given[1:]]


def test_a_job_of_a_sweep_in_another_program_knows_what_was_asked_for(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/x/submitit/_submit.py", "/jobs/%j"])
    monkeypatch.setenv(provenance.COMMAND_LINE, json.dumps(["/bin/palirs", "-m", "seed=1,2"]))
    assert provenance.command() == "palirs -m seed=1,2"
    assert provenance.arguments() == ["-m", "seed=1,2"]


def test_the_commit_is_that_of_the_checkout_or_none(monkeypatch, tmp_path):
    found = provenance.commit()
    assert found is None or (len(found[0]) == 40 and isinstance(found[1], bool))
    provenance.commit.cache_clear()
    monkeypatch.setattr(provenance, "HERE", tmp_path)
    assert provenance.commit() is None
    provenance.commit.cache_clear()
