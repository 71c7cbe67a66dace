import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from palirs import keys
from palirs.executors import SerialExecutor
from palirs.mace.models.committee import Committee
from palirs.mace.models.files import header, load, read, save
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Training
from palirs.mace.training.committees import starting_point, train_committee, train_dipoles
from palirs.mace.training.gradients import Data, Gradients
from palirs.mace.training.jobs import Job, train
from palirs.mace.training.loop import fit, validate
from palirs.mace.training.objectives import PotentialObjective
from palirs.mace.training.split import random_split
from palirs.recipes import PalirsError

SHORT = Training(updates=120, batch_size=4, learning_rate=0.02, ema_decay=0.9)


def test_training_lowers_the_validation_error(small, frames):
    methanol = frames[:20]
    torch.manual_seed(0)
    objective = PotentialObjective(PotentialShape.of(methanol, small), SHORT)
    history = fit(objective.shape.build(), objective, methanol[:16], methanol[16:], SHORT, seed=0)
    assert history[-1]["valid_forces_rmse"] < 0.5 * history[0]["valid_forces_rmse"]


def test_the_best_weights_are_kept(small, frames, tmp_path):
    """A learning rate that spoils the model later must not spoil the file."""
    wild = replace(SHORT, learning_rate=0.5, clip_gradient=1e6)
    torch.manual_seed(0)
    objective = PotentialObjective(PotentialShape.of(frames[:20], small), wild)
    model = objective.shape.build()
    history = fit(model, objective, frames[:16], frames[16:20], wild, seed=0)
    kept = validate(
        Gradients(model, objective, wild),
        objective,
        Data.of(frames[16:20], objective, torch.float64),
    )["valid_loss"]
    assert kept == pytest.approx(min(entry["valid_loss"] for entry in history), rel=1e-6)


def test_training_stops_early(small, frames):
    objective = PotentialObjective(
        PotentialShape.of(frames[:20], small),
        replace(SHORT, updates=400, patience=0.05, learning_rate=1e-12),
    )
    torch.manual_seed(0)
    history = fit(
        objective.shape.build(), objective, frames[:16], frames[16:20], objective.training, seed=0
    )
    assert history[-1]["updates"] < 100


def job(path, frames, small, seed=3):
    return Job("potential", path, frames[:30], frames[30:], small, replace(SHORT, updates=20), seed)


def test_the_same_seed_gives_the_same_weights(tmp_path, frames, small):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(job(tmp_path / f"{name}.safetensors", frames, small, seed))
    a, b, c = (read(tmp_path / f"{name}.safetensors")[1].state_dict() for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


def test_a_member_that_is_there_is_not_trained_again(tmp_path, frames, small):
    path = tmp_path / "potential-0.safetensors"
    assert train(job(path, frames, small))
    before = path.stat().st_mtime_ns
    log = path.with_suffix(".jsonl").read_text()
    assert train(job(path, frames, small))
    assert path.with_suffix(".jsonl").read_text() == log
    assert path.stat().st_mtime_ns == before


def test_members_share_the_split_and_differ_by_seed(tmp_path, frames, small):
    committee = train_committee(
        tmp_path, frames, 2, small, replace(SHORT, updates=8), 1, 0, SerialExecutor()
    )
    assert len(committee) == 2
    assert committee.shapes[0] == committee.shapes[1], "same data, so the same E0 and scale"
    found = committee.evaluate(frames[:1])
    assert found.energy[0, 0] != found.energy[1, 0]
    loaded = load(tmp_path)
    assert isinstance(loaded, Committee)
    np.testing.assert_array_equal(loaded.evaluate(frames[:1]).energy, found.energy)


def test_dipole_model_learns_and_is_saved(tmp_path, frames, small):
    paths = [tmp_path / "dipole.safetensors", tmp_path / "dipole-1.safetensors"]
    model = train_dipoles(paths, frames, small, replace(SHORT, updates=300), 1, SerialExecutor())
    true = np.array([atoms.info[keys.DIPOLE] for atoms in frames])
    found = model.evaluate(frames)
    assert found.shape == (2, 40, 3)
    assert np.abs(found.mean(axis=0) - true).mean() < 0.3 * np.abs(true).mean()
    assert found.std(axis=0).max() > 0, "members differ"
    np.testing.assert_array_equal(load(paths[1]).evaluate(frames)[0], found[1])


def test_split_takes_a_share_of_every_molecule(frames):
    train_part, test = random_split(frames, 0.2, 7, "test", 0)
    assert len(train_part) == 32
    assert [
        sum(atoms.info[keys.MOLECULE] == name for atoms in test)
        for name in ("methanol", "formamide")
    ] == [4, 4]
    again = random_split(frames, 0.2, 7, "test", 1)[1]
    assert [a.info[keys.ENERGY] for a in test] != [a.info[keys.ENERGY] for a in again], (
        "drawn anew every iteration"
    )


def trained(one):
    """Train and return the history."""
    assert train(one)
    return [json.loads(line) for line in one.path.with_suffix(".jsonl").read_text().splitlines()]


def test_going_on_from_a_file_starts_where_that_one_ended(tmp_path, frames, small):
    """New labels of another engine.

    Shifted energies of the atoms are taken up by the E0s, so the first epoch is already good.
    """
    first = replace(
        job(tmp_path / "a.safetensors", frames, small), training=replace(SHORT, updates=300)
    )
    before = trained(first)
    moved = [atoms.copy() for atoms in frames]
    for atoms in moved:
        atoms.info[keys.ENERGY] += 3.0 * len(atoms) + 2.0 * (atoms.numbers == 1).sum()
    settings = replace(SHORT, updates=80, start=str(first.path), learning_rate=1e-3)
    again = replace(
        job(tmp_path / "b.safetensors", moved, small), training=settings, start=first.path
    )
    after = trained(again)
    assert after[0]["valid_loss"] < 1.3 * before[-1]["valid_loss"] < 0.5 * before[0]["valid_loss"]
    shape = read(again.path)[0]
    assert shape.scale == read(first.path)[0].scale
    shift = np.array(shape.atomic_energies) - read(first.path)[0].atomic_energies
    counts = [(atoms.numbers == np.array(shape.elements)[:, None]).sum(axis=1) for atoms in frames]
    for count, atoms in zip(counts, frames, strict=True):
        assert count @ shift == pytest.approx(
            3.0 * len(atoms) + 2.0 * (atoms.numbers == 1).sum(), abs=0.5
        )


def test_members_start_from_those_of_the_iteration_before(tmp_path, frames, small):
    (tmp_path / "0").mkdir()
    (tmp_path / "1").mkdir()
    settings = replace(SHORT, updates=8, start="previous", learning_rate=1e-9)
    first = train_committee(tmp_path / "0", frames, 2, small, settings, 1, 0, SerialExecutor())
    second = train_committee(
        tmp_path / "1", frames, 2, small, settings, 1, 1, SerialExecutor(), tmp_path / "0"
    )
    for one, other in zip(first.members, second.members, strict=True):
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_one_frame_of_each_molecule_still_leaves_some_to_validate(frames):
    some = [atoms.copy() for atoms in frames[:12]]
    for number, atoms in enumerate(some):
        atoms.info[keys.MOLECULE] = f"molecule {number}"
    kept, aside = random_split(some, 0.1, 7, "validation")
    assert (len(kept), len(aside)) == (11, 1)


def test_given_energies_replace_those_of_elements_that_are_there(tmp_path, frames, small):
    train(job(tmp_path / "a.safetensors", frames, small))
    alcohol = [atoms for atoms in frames if 7 not in atoms.numbers]
    settings = replace(
        SHORT, updates=8, atomic_energies={"H": -1000.123456789, "C": -2.0, "O": -3.0}
    )
    again = replace(
        job(tmp_path / "b.safetensors", frames, small),
        train=alcohol[:15],
        valid=alcohol[15:],
        training=settings,
    )
    train(replace(again, start=tmp_path / "a.safetensors"))
    before, after = (read(tmp_path / f"{name}.safetensors") for name in "ab")
    assert after[0].atomic_energies == (-1000.123456789, -2.0, before[0].atomic_energies[2], -3.0)
    assert after[1].atomic_energies_fn.atomic_energies[0].tolist() == list(
        after[0].atomic_energies
    ), "in double precision"


def test_files_say_which_charge_and_multiplicity_they_learnt(tmp_path, frames, small):
    """A start model of another state is refused; one that does not say it, an older one, is not."""
    first, second = (job(tmp_path / f"{name}.safetensors", frames, small) for name in "ab")
    train(first)
    assert header(first.path)["electrons"] == [[0, 1]]
    cations = [atoms.copy() for atoms in frames]
    for atoms in cations:
        atoms.info |= {"charge": 1, "multiplicity": 2}
    named = replace(second.training, start=str(first.path))
    again = replace(
        second, train=cations[:30], valid=cations[30:], start=first.path, training=named
    )
    with pytest.raises(PalirsError, match=r"neutral, singlet, and methanol is charge \+1, doublet"):
        train(again)
    older = tmp_path / "older.safetensors"
    save(older, *read(first.path))
    assert "electrons" not in header(older)
    train(replace(again, start=older))
    assert header(second.path)["electrons"] == [[1, 2]], "of the last labels"


def test_what_cannot_be_gone_on_from_is_refused(tmp_path, frames, small):
    train(job(tmp_path / "a.safetensors", frames, small))
    other = [atoms.copy() for atoms in frames]
    other[0].numbers[0] = 9
    with pytest.raises(PalirsError, match=r"not \[9\]"):
        train(
            replace(job(tmp_path / "b.safetensors", other, small), start=tmp_path / "a.safetensors")
        )
    with pytest.raises(PalirsError, match="is a potential model"):
        train(
            replace(
                job(tmp_path / "c.safetensors", frames, small),
                kind="dipole",
                start=tmp_path / "a.safetensors",
            )
        )
    with pytest.raises(PalirsError, match="no such file"):
        starting_point(Training(start="absent.safetensors"), None, None, 0)
    with pytest.raises(ValueError, match="task=import_model"):
        Training(start="mace.model")


def test_a_device_that_is_not_there_is_an_error(tmp_path, frames, small):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(PalirsError, match=r"training\.device = 'cuda:1'"):
        train(
            replace(
                job(tmp_path / "a.safetensors", frames, small),
                training=replace(SHORT, device="cuda:1"),
            )
        )


def test_energies_of_isolated_atoms_are_taken_as_given(tmp_path, frames, small):
    energies = {"H": -10.0, "C": -50.0, "N": -60.0, "O": -80.0}
    one = job(tmp_path / "a.safetensors", frames, small)
    train(replace(one, training=replace(one.training, atomic_energies=energies)))
    assert read(one.path)[0].atomic_energies == (-10.0, -50.0, -60.0, -80.0)
    with pytest.raises(PalirsError, match="no energy of N, O"):
        train(
            replace(
                one,
                path=tmp_path / "b.safetensors",
                training=replace(one.training, atomic_energies={"H": -1.0, "C": -2.0}),
            )
        )
    with pytest.raises(ValueError, match="Xx are not symbols"):
        Training(atomic_energies={"Xx": 1.0})


def test_a_pickle_is_not_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("code from a model file was run",))

    (tmp_path / "potential-0.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(PalirsError, match="not a safetensors file"):
        load(tmp_path / "potential-0.safetensors")
    torch.save({"model": Bomb()}, tmp_path / "evil.model")
    with pytest.raises(PalirsError, match="not a safetensors file"):
        load(tmp_path / "evil.model")


def test_weights_that_do_not_fit_are_refused(tmp_path, frames, small):
    shape = PotentialShape.of(frames, small)
    save(
        tmp_path / "m.safetensors",
        replace(shape, architecture=replace(small, channels=8)),
        shape.build(),
    )
    with pytest.raises(PalirsError, match="do not fit"):
        load(tmp_path / "m.safetensors")
    with pytest.raises(PalirsError, match="no such file"):
        load(tmp_path / "absent.safetensors")
    with pytest.raises(PalirsError, match="no trained committee"):
        load(tmp_path)
