import json

from palirs.learning.quality.advice import advice, last_gain
from palirs.mace.settings import Training

LONG = Training(schedule="doubling", updates=800, shortest=400, gain=0.1)


def history(loss, *cycles):
    """A log whose validation error at the end of each length is given."""
    last = len(cycles) - 1
    return [
        {
            "updates": 400 * (number + 1),
            "loss": loss,
            "valid_loss": valid,
            "cycle": number,
            "longest": float(number == last),
        }
        for number, valid in enumerate(cycles)
    ]


def told(tmp_path, *histories):
    logs = []
    for number, entries in enumerate(histories):
        logs.append(tmp_path / f"potential-{number}.jsonl")
        logs[-1].write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return advice(logs, LONG)


def test_what_validates_far_worse_than_it_learns_needs_data(tmp_path):
    text = told(tmp_path, history(0.1, 0.5, 0.49), history(0.1, 0.5, 0.49))
    assert "more data is what is missing" in text
    assert "more training" not in text, "twice the updates gave 2 %"


def test_what_still_gets_better_at_its_longest_needs_training(tmp_path):
    text = told(tmp_path, history(0.3, 0.5, 0.35))
    assert "more data" not in text
    assert "lowered it by 30%" in text
    assert "training.potential.updates=800" in text
    ended = [{**entry, "longest": 0.0} for entry in history(0.3, 0.5, 0.35)]
    assert "more training" not in told(tmp_path, ended), (
        "it was not at its longest, so it ended because doubling did not pay"
    )


def test_a_training_that_was_not_doubled_says_nothing_of_its_length(tmp_path):
    assert last_gain(history(0.3, 0.5)) is None
    assert "more training" not in told(tmp_path, history(0.3, 0.5))
    assert advice([tmp_path / "none.jsonl"], LONG) == ""


def test_without_held_out_frames_nothing_is_advised(tmp_path):
    plain = [
        {key: value for key, value in entry.items() if key != "valid_loss"}
        for entry in history(0.1, 0.5, 0.49)
    ]
    assert told(tmp_path, plain) == "800 updates on all that is not kept for tests"
