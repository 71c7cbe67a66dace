"""What the log says at the end of active learning."""

from palirs.learning.quality.convergence import HarmonicErrors
from palirs.learning.state import LearningState
from palirs.settings import Learning
from palirs.tasks.training import _missing


def told(errors, **goals):
    harmonic = HarmonicErrors(sum(errors.values()) / len(errors), errors, failed=0, intensity=0.0)
    return _missing(Learning(harmonic_mae=5.0, **goals), LearningState(2, [], [], {}, harmonic))


def test_molecules_above_the_goal_are_named_the_worst_first():
    """Though the mean is below it: each molecule has to meet it."""
    errors = {"methane": 0.4, "ethanol": 5.2, "nitroethane": 6.1}
    assert told(errors) == (
        "learning.harmonic_mae=5 is not reached by nitroethane (6.1 cm⁻¹), ethanol (5.2 cm⁻¹)"
    )
    many = {f"m{number}": 10.0 + number for number in range(8)} | {"methane": 0.4}
    assert told(many).endswith("m4 (14.0 cm⁻¹), m3 (13.0 cm⁻¹) and 3 more")
    assert told(many, converge="together").endswith("is not reached")
    assert told({"ethanol": 5.2}).endswith("is not reached"), "a study of one molecule"
