"""How long the default study takes and where its time goes, beside another checkout.

Resumable: rounds that are done are not run again.

    python -m tests.benchmarks.study <folder for the studies> docs/results/study_time.png <other
    checkout> [rounds]

Whole programs in turn, from the start of the process to its end, with this interpreter.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

STAGES = {
    "labels and reference frequencies": ("time.reference_vibrations_s", "time.labels_s"),
    "training of the committee": ("time.training_s",),
    "exploration": ("time.exploration_s",),
    "committee's frequencies": ("time.harmonic_s",),
    "training of the dipole model": ("time.dipole_s",),
    "production MD": ("time.production_s",),
    "MD of the engine (tblite), for comparison": ("time.reference_md_s",),
}
REST = "rest: starting, reports, tracking"


def run(folder: Path, checkouts: dict[str, Path], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every study, by checkout and round."""
    file = folder / "seconds.json"
    seconds = json.loads(file.read_text()) if file.exists() else {}
    for number in range(1, rounds + 1):
        for name, checkout in checkouts.items():
            study = folder / f"{name}.{number}"
            if study.name in seconds:
                continue
            begun = time.perf_counter()
            command = [sys.executable, "run.py", f"study={study}"]
            with open(folder / f"{study.name}.log", "w") as log:
                environment = {**os.environ, "PYTHONPATH": str(checkout)}
                subprocess.run(
                    command,
                    cwd=checkout,
                    env=environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    check=True,
                )
            seconds[study.name] = time.perf_counter() - begun
            file.write_text(json.dumps(seconds, indent=1))
    return {
        name: [seconds[f"{name}.{number}"] for number in range(1, rounds + 1)] for name in checkouts
    }


def stages(study: Path, whole: float) -> dict[str, float]:
    """Return the seconds of each stage of a study."""
    found = dict.fromkeys((*STAGES, REST), 0.0)
    for line in (study / "metrics.jsonl").read_text().splitlines():
        for name, value in json.loads(line)["values"].items():
            for stage, keys in STAGES.items():
                found[stage] += value if name in keys else 0.0
    found[REST] = whole - sum(found.values())
    return found


def main(folder: Path, figure: Path, other: Path, rounds: int) -> None:
    """Print a table, and draw it."""
    folder.mkdir(parents=True, exist_ok=True)
    seconds = run(folder, {"before": other.resolve(), "now": Path.cwd()}, rounds)
    table = {
        name: [stages(folder / f"{name}.{i + 1}", whole) for i, whole in enumerate(all_of)]
        for name, all_of in seconds.items()
    }
    middle = {
        name: {stage: float(np.mean([one[stage] for one in mine])) for stage in mine[0]}
        for name, mine in table.items()
    }
    width = max(map(len, middle["now"]))
    print(f"{'s, mean of ' + str(rounds):{width}s}  before    now  ratio")
    for stage, before in middle["before"].items():
        print(
            f"{stage:{width}s}  {before:6.1f} {middle['now'][stage]:6.1f}  "
            f"{middle['now'][stage] / before:5.2f}"
        )
    for i, (before, now) in enumerate(zip(*seconds.values(), strict=True)):
        print(f"{f'whole, round {i + 1}':{width}s}  {before:6.1f} {now:6.1f}  {now / before:5.2f}")

    drawn, axis = plt.subplots(figsize=(9, 3.6))
    colours = plt.get_cmap("tab20")([0, 2, 6, 8, 4, 12, 15, 14])
    for row, (name, mine) in enumerate(middle.items()):
        left = 0.0
        for (stage, value), colour in zip(mine.items(), colours, strict=True):
            axis.barh(
                row, value, left=left, color=colour, label=stage if row == 0 else None, height=0.6
            )
            if value > 4:
                axis.text(
                    left + value / 2, row, f"{value:.0f}", ha="center", va="center", fontsize=9
                )
            left += value
        axis.text(left + 2, row, f"{np.mean(seconds[name]):.0f} s", va="center")
    axis.set(
        yticks=range(len(middle)),
        yticklabels=list(middle),
        xlabel="time (s)",
        xlim=(0, 1.1 * max(map(max, seconds.values()))),
    )
    axis.invert_yaxis()
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, ncols=2, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    drawn.tight_layout()
    drawn.savefig(figure, dpi=130)


if __name__ == "__main__":
    main(
        Path(sys.argv[1]).resolve(),
        Path(sys.argv[2]),
        Path(sys.argv[3]),
        int(sys.argv[4]) if len(sys.argv) > 4 else 3,
    )
