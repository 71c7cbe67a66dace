"""The schedule ``doubling``: the length of a training is doubled as long as that pays.

Training follows one trunk of constant learning rate, and each length ends with a decay on a branch:
only the decay takes the noise out of the weights and shows how good they are (Hägele et al. 2024,
arXiv:2405.18392). If the doubling paid, training goes on from where the branch began. All lengths
together cost 1.4 times the longest, and each gives what a training planned for it would give.
"""

from dataclasses import dataclass

DECAY = 0.4
"""Share of a length in which the learning rate decays; the usual fifth is too short here
(docs/results/active-learning.md)."""


@dataclass(frozen=True)
class Cycles:
    """Lengths in epochs.

    Attributes
    ----------
    trunk : tuple of int
        Epochs of constant learning rate before the decay of each length, from the start.
    decay : tuple of int
        Epochs of each decay.
    """

    trunk: tuple[int, ...]
    decay: tuple[int, ...]

    @classmethod
    def of(cls, shortest: int, longest: int, per_epoch: int) -> "Cycles":
        """Lay out lengths that double from about ``shortest`` to exactly ``longest`` updates."""
        lengths = [longest]
        while lengths[0] >= 2 * shortest:
            lengths.insert(0, lengths[0] // 2)
        epochs = sorted({max(2, length // per_epoch) for length in lengths})
        decay = tuple(max(1, round(DECAY * count)) for count in epochs)
        return cls(tuple(count - end for count, end in zip(epochs, decay, strict=True)), decay)

    def __len__(self) -> int:
        return len(self.trunk)

    @property
    def epochs(self) -> int:
        """Epochs in all, if every length is reached."""
        return self.trunk[-1] + sum(self.decay)


class StableDecay:
    """Learning rate of a trunk and its branches.

    It rises linearly, stays constant, and decays as 1 − √(elapsed share of the decay). It has the
    interface of torch's schedulers that :class:`~palirs.mace.training.optimisers.Optimiser`
    uses.

    Parameters
    ----------
    optimiser : torch.optim.Optimizer
        Its learning rate is the constant one.
    warm_up : int
        Updates of the rise.
    """

    def __init__(self, optimiser, warm_up: int):
        self._optimiser = optimiser
        self._state = {
            "peak": optimiser.param_groups[0]["lr"],
            "warm_up": max(1, warm_up),
            "done": 0,
            "begin": -1,
            "length": 0,
        }
        self._set()

    def step(self) -> None:
        """Count an update."""
        self._state["done"] += 1
        self._set()

    def decay(self, length: int) -> None:
        """Begin a decay of ``length`` updates."""
        self._state |= {"begin": self._state["done"], "length": length}

    def state_dict(self) -> dict:
        """Return plain values."""
        return dict(self._state)

    def load_state_dict(self, state: dict) -> None:
        """Go on from :meth:`state_dict`."""
        self._state = dict(state)
        self._set()

    def _set(self) -> None:
        state = self._state
        rate = state["peak"] * min(1.0, (state["done"] + 1) / state["warm_up"])
        if state["begin"] >= 0:
            rate *= max(0.0, 1.0 - ((state["done"] - state["begin"]) / state["length"]) ** 0.5)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
