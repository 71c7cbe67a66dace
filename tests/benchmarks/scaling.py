"""How MD scales: with trajectories, atoms per molecule, members and threads.

Prints the numbers and draws them.

    python -m tests.benchmarks.scaling docs/results/md_scaling.png

Steps of three members (the third panel: of one to eight) in float32, ℓ ≤ 3, correlation 2, 5 Å,
without recording. Minima of rounds. More threads than this machine has cores are predicted from
pieces: the time of each block of molecules alone, on one thread, laid out over threads as the code
does it, and what Python does between the calls, which is not shared. Where molecules are fewer than
threads, the members of one are shared out; what threads then lose by meeting twice a step is not in
the prediction."""

import heapq
import os
import sys
import time

import matplotlib.pyplot as plt
import torch
from ase import Atoms
from ase.build import molecule

from palirs.dynamics.motion import Motion, cut
from palirs.molecules import Molecules, table
from tests.benchmarks.md import MEMBERS, Palirs, committee

THREADS = (1, 2, 4, 8, 16, 32, 64)
ATOM_STEPS = 12_000
"""Of each round, and at least four steps."""


def per_step(
    molecules: list[Atoms], channels: int, members: int = MEMBERS, rounds: int = 3
) -> float:
    """Return the seconds of a step of a batch."""
    return min(_timed(molecules, channels, members, rounds)[0])


def _timed(
    molecules: list[Atoms], channels: int, members: int, rounds: int
) -> tuple[list[float], list[float]]:
    """Return the seconds per step of each round, and those that Python spends.

    Python's are those outside the compiled code.
    """
    contestant = Palirs(committee(channels, 5.0, members), molecules)
    steps = max(4, min(1000, ATOM_STEPS // sum(map(len, molecules))))
    contestant.run(steps)
    whole, outside = [], []
    for _ in range(rounds):
        inside, move = [0.0], Motion.langevin

        def clocked(self, *arguments, inside=inside, move=move):
            begun = time.perf_counter()
            found = move(self, *arguments)
            inside[0] += time.perf_counter() - begun
            return found

        Motion.langevin = clocked
        begun = time.perf_counter()
        contestant.run(steps)
        whole.append((time.perf_counter() - begun) / steps)
        Motion.langevin = move
        outside.append(whole[-1] - inside[0] / steps)
    return whole, outside


def predicted(molecules: list[Atoms], channels: int) -> dict[int, float]:
    """Return the seconds of a step by threads, from pieces that are timed on one thread."""
    torch.set_num_threads(1)
    counts, known, found = tuple(map(len, molecules)), dict[tuple[str, ...], float](), {}

    def alone(part: range) -> float:
        names = tuple(str(molecules[i].symbols) for i in part)
        if names not in known:
            whole, outside = _timed([molecules[i] for i in part], channels, MEMBERS, 2)
            known[names] = min(a - b for a, b in zip(whole, outside, strict=True))
        return known[names]

    serial = min(_timed(molecules, channels, MEMBERS, 2)[1])
    for threads in THREADS:
        used = min(threads, len(counts) * MEMBERS)
        times = [alone(part) for part in cut(counts, used)]
        if len(times) < used:  # shared out by members, at every step
            times = [each / MEMBERS for each in times for _ in range(MEMBERS)]
        loads = [0.0] * used
        for each in times:  # a thread that is done takes the next
            heapq.heapreplace(loads, loads[0] + each)
        found[threads] = serial + max(loads)
    return found


def alkane(carbons: int) -> Atoms:
    """Zigzag chain with hydrogens about where they belong."""
    symbols, places = [], []
    for i in range(carbons):
        side = 1 if i % 2 else -1
        x, y = 1.27 * i, 0.42 * side
        symbols += ["C", "H", "H"]
        places += [[x, y, 0], [x, y + 0.63 * side, 0.89], [x, y + 0.63 * side, -0.89]]
    symbols += ["H", "H"]
    places += [[-0.9, 0.2, 0], [1.27 * (carbons - 1) + 0.9, -0.2, 0]]
    return Atoms(symbols, positions=places)


def main(path: str) -> None:
    """Draw the four panels."""
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    methanol, organics = table()["methanol"], Molecules(names=("organics24",)).load()
    figure, ((few, large), (many, wide)) = plt.subplots(2, 2, figsize=(10, 8))
    chain = [
        molecule("CH4"),
        molecule("C2H6"),
        molecule("C3H8"),
        *(alkane(carbons) for carbons in (6, 10, 14, 20)),
    ]
    for channels, colour, most in ((16, "tab:blue", 7200), (128, "tab:red", 720)):
        counts = [count for count in (1, 3, 10, 24, 72, 240, 720, 2400, 7200) if count <= most]
        times = [1e6 * per_step([methanol] * count, channels) / (6 * count) for count in counts]
        few.loglog(counts, times, "o-", color=colour, label=f"{channels} channels")
        sizes = [len(atoms) for atoms in chain]
        grown = [1e6 * per_step([atoms] * 12, channels) / (12 * len(atoms)) for atoms in chain]
        large.plot(sizes, grown, "o-", color=colour, label=f"{channels} channels")
        members = [1, 2, 3, 4, 6, 8]
        shared = [
            1e6 * per_step([methanol] * 24, channels, number) / (24 * 6) for number in members
        ]
        many.plot(
            members,
            [each / shared[0] for each in shared],
            "o-",
            color=colour,
            label=f"{channels} channels",
        )
        for name, x, y in (
            ("trajectories", counts, times),
            ("atoms", sizes, grown),
            ("members", members, shared),
        ):
            print(
                f"{channels} channels, µs per atom and step by {name}: "
                + "  ".join(f"{a}: {b:.2f}" for a, b in zip(x, y, strict=True))
            )
    many.plot(members, members, ":", color="grey", label="proportional")
    cases = {
        "methanol × 1": [methanol],
        "methanol × 20": [methanol] * 20,
        "organics24 × 3": organics * 3,
        "organics24 × 30": organics * 30,
    }
    for (name, molecules), colour in zip(
        cases.items(), ("tab:green", "tab:orange", "tab:purple", "tab:brown"), strict=True
    ):
        guess, measured = predicted(molecules, 16), {}
        for threads in range(1, cores + 1):
            torch.set_num_threads(threads)
            measured[threads] = per_step(molecules, 16)
        wide.loglog(
            list(guess),
            [guess[1] / each for each in guess.values()],
            "-",
            color=colour,
            lw=1,
            label=name,
        )
        wide.loglog(
            list(measured), [guess[1] / each for each in measured.values()], "o", color=colour
        )
        print(f"{name}, µs per step: predicted {_text(guess)}; measured {_text(measured)}")
    wide.loglog(THREADS, THREADS, ":", color="grey", label="proportional")
    few.set(xlabel="trajectories of methanol", ylabel="time per atom and step (µs)")
    large.set(
        xlabel="atoms per molecule (alkanes, 12 trajectories)",
        ylabel="time per atom and step (µs)",
        ylim=(0, None),
        xlim=(0, None),
    )
    many.set(
        xlabel="members",
        ylabel="time of a step, one member = 1",
        xlim=(0, None),
        ylim=(0, None),
        title="24 trajectories of methanol",
    )
    wide.set(
        xlabel="threads",
        ylabel="speed, one thread = 1",
        title="16 channels; lines predicted, dots measured",
    )
    wide.set_xticks(THREADS, [str(threads) for threads in THREADS])
    wide.set_yticks(THREADS, [str(threads) for threads in THREADS])
    for axis in (few, large, many, wide):
        axis.minorticks_off()
        axis.legend(frameon=False)
        axis.grid(alpha=0.3)
    figure.suptitle(f"Committee of {MEMBERS}, float32, {cores} threads where nothing else is said")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def _text(values: dict[int, float]) -> str:
    return "  ".join(f"{threads}: {1e6 * value:.0f}" for threads, value in values.items())


if __name__ == "__main__":
    main(sys.argv[1])
