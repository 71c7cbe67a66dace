"""Committee MD on a GPU: is it right, how fast is it beside ASE and TorchSim, where does time go.

    pip install torch-sim-atomistic==0.3.0          # for "peers" only
    python -m tests.benchmarks.gpu right [float32]  # forces and trajectories against the CPU's
    python -m tests.benchmarks.gpu speed 128 3.0 3 72 720 7200  # channels, cutoff, trajectories;
                                                    # and the kernels of a step of 72
    python -m tests.benchmarks.gpu peers 128 3.0    # ASE and TorchSim on the same GPU
    python -m tests.benchmarks.gpu cpu 128 3.0 72   # the compiled code on all cores

Three members, float32 unless something else is said. A committee-step is one trajectory moved one
step with the forces of three members. 3 trajectories are of methanol, others of organics24."""

import sys
import time

import numpy as np
import torch
from ase import Atoms, units
from ase.md.langevin import Langevin as AseLangevin

from palirs.dynamics import CommitteeField, Noise, initial_state
from palirs.dynamics.integrators import Langevin
from palirs.mace.models.committee import Committee
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Architecture, Evaluation
from palirs.molecules import Molecules, table
from palirs.randomness import stream
from tests.benchmarks.md import FRICTION, MEMBERS, TEMPERATURE, TIMESTEP, Palirs, committee

GPU = Evaluation(device="cuda")


def batch(trajectories: int) -> list[Atoms]:
    """Return methanol for three trajectories, else organics24 as often as it takes."""
    if trajectories == MEMBERS:
        return [table()["methanol"]] * trajectories
    return Molecules(names=("organics24",)).load() * (trajectories // 24)


def strong(channels: int, cutoff: float, dtype: str) -> Committee:
    """Return untrained members whose forces are of some eV/Å."""
    architecture = Architecture(
        channels=channels, max_L=1, max_ell=3, correlation=2, cutoff=cutoff, dtype=dtype
    )
    shape = PotentialShape(
        architecture=architecture,
        elements=(1, 6, 7, 8),
        atomic_energies=(-13.0, -1030.0, -1485.0, -2042.0),
        scale=3.0,
        mean_neighbours=4.0,
    )
    torch.manual_seed(0)
    return Committee.of([(shape, shape.build()) for _ in range(MEMBERS)])


def right(precisions: list[str]) -> None:
    """Print the largest differences of forces, and of a trajectory.

    The latter twice, bit for bit.
    """
    molecules = batch(72)
    numbers = [atoms.numbers for atoms in molecules]
    rng = np.random.default_rng(0)
    places = np.concatenate([atoms.positions for atoms in molecules])
    x = torch.tensor(places + rng.normal(0, 0.05, places.shape))
    for dtype in precisions or ["float64", "float32"]:
        for channels, cutoff in ((16, 5.0), (128, 3.0)):
            models = strong(channels, cutoff, dtype)
            energy, forces = models.evaluator(numbers, Evaluation(radial="network"))(x)
            started = time.perf_counter()
            evaluate = models.evaluator(numbers, GPU)
            evaluate(x)
            first = time.perf_counter() - started
            e, f = evaluate(x)
            print(
                f"{dtype} {channels} channels {cutoff:g} Å: "
                f"energies {float((e - energy).abs().max()):.1e} eV, "
                f"forces {float((f - forces).abs().max()):.1e} "
                f"of {float(forces.abs().max()):.2f} eV/Å; "
                f"first evaluation {first:.0f} s",
                flush=True,
            )
            if channels == 16:
                fields = [CommitteeField(evaluate)] * 2
                fields.append(CommitteeField(models.evaluator(numbers)))
                tracks = [moved(field, molecules) for field in fields]
                same = all(torch.equal(a, b) for a, b in zip(tracks[0], tracks[1], strict=True))
                apart = [float((a - b).abs().max()) for a, b in zip(*tracks[::2], strict=True)]
                print(
                    f"  200 steps at 300 K twice: the same bits {same}; from the CPU "
                    f"{apart[0]:.1e} Å, {apart[1]:.1e} eV, {apart[2]:.1e} eV/Å",
                    flush=True,
                )


def moved(field: CommitteeField, molecules: list[Atoms]) -> list[torch.Tensor]:
    """Return positions, energies and members' forces along 200 steps."""
    noise = Noise(
        [stream(0, "benchmark", i) for i in range(len(molecules))],
        [len(atoms) for atoms in molecules],
    )
    temperature = torch.full((len(molecules),), 300.0, dtype=torch.float64)
    state = initial_state(molecules, field, temperature, noise)
    moves = Langevin(TIMESTEP, FRICTION, temperature)
    _, _, track = moves.run(state, None, field, noise, 200, range(4, 201, 4))
    assert track.members is not None
    return [track.positions, track.energy, track.members]


class OnGpu(Palirs):
    """Ours, on the GPU."""

    def __init__(self, models: Committee, molecules: list[Atoms]):
        self.noise = Noise(
            [stream(0, "benchmark", i) for i in range(len(molecules))],
            [len(a) for a in molecules],
        )
        self.temperature = torch.full((len(molecules),), TEMPERATURE, dtype=torch.float64)
        self.field = CommitteeField(models.evaluator([a.numbers for a in molecules], GPU))
        self.state = initial_state(molecules, self.field, self.temperature, self.noise)


def speed(channels: int, cutoff: float, counts: list[int]) -> None:
    """Print milliseconds per step and committee-steps per second."""
    for count in counts:
        torch.cuda.reset_peak_memory_stats()
        molecules, started = batch(count), time.perf_counter()
        contestant = OnGpu(committee(channels, cutoff), molecules)
        contestant.run(64 if count < 1000 else 8)
        ready = time.perf_counter() - started
        steps = 640 if count < 100 else 64 if count < 1000 else 8
        rounds = []
        for _ in range(3):
            started = time.perf_counter()
            contestant.run(steps)
            rounds.append((time.perf_counter() - started) / steps)
        step = float(np.median(rounds))
        print(
            f"palirs cuda {channels} channels {cutoff:g} Å {count} trajectories: "
            f"{1e3 * step:.3f} ms a step "
            f"({1e3 * min(rounds):.3f} to {1e3 * max(rounds):.3f}), "
            f"{count / step:.0f} committee-steps/s; "
            f"ready after {ready:.0f} s, {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB",
            flush=True,
        )
        if count == 72:
            profiled(contestant)
        del contestant
        torch.cuda.empty_cache()


def profiled(contestant: OnGpu) -> None:
    """Print the kernels of 64 steps."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as trace:
        started = time.perf_counter()
        contestant.run(64)
        wall = time.perf_counter() - started
    rows = [row for row in trace.key_averages() if row.self_device_time_total > 0]
    rows.sort(key=lambda row: -row.self_device_time_total)
    busy = sum(row.self_device_time_total for row in rows) / 64e3
    print(
        f"{wall / 64 * 1e3:.3f} ms a step with the profiler; "
        f"kernels {busy:.3f} ms (members overlap), "
        f"{sum(row.count for row in rows) / 64:.0f} of them"
    )
    for row in rows[:30]:
        print(
            f"  {row.key[:80]:80s} {row.count / 64:6.1f} {row.self_device_time_total / 64:9.1f} µs"
        )


def peers(channels: int, cutoff: float) -> None:
    """Print the rates of ASE and TorchSim."""
    from mace.calculators import MACECalculator

    models = committee(channels, cutoff)
    atoms = table()["methanol"].copy()
    atoms.calc = MACECalculator(models=models.members, device="cuda", default_dtype="float32")
    dynamics = AseLangevin(
        atoms,
        TIMESTEP * units.fs,
        temperature_K=TEMPERATURE,
        friction=FRICTION * 1e-3 / units.fs,
        rng=np.random.default_rng(0),
    )
    dynamics.run(5)
    started = time.perf_counter()
    dynamics.run(30)
    print(
        f"ASE {channels} {cutoff:g}: {30 / (time.perf_counter() - started):.1f} committee-steps/s"
    )
    import torch_sim as ts
    from torch_sim.integrators import nvt_langevin
    from torch_sim.models.mace import MaceModel

    device = torch.device("cuda")
    model = MaceModel(
        committee(channels, cutoff).members[0].to(device),
        device=device,
        dtype=torch.float32,
        compute_forces=True,
        compute_stress=False,
    )
    for count in (3, 72, 720):
        boxed = []
        for each in batch(count):
            boxed.append(each.copy())
            boxed[-1].set_cell([50.0] * 3)
        state = ts.io.atoms_to_state(boxed, device, torch.float32)
        fs = 1e-3 * float(ts.units.MetalUnits.time)
        heat = TEMPERATURE * float(ts.units.MetalUnits.temperature)
        start, step = nvt_langevin(
            model,
            dt=torch.tensor(TIMESTEP * fs, device=device),
            kT=torch.tensor(heat, dtype=torch.float32, device=device),
            gamma=torch.tensor(FRICTION * 1e-3 / fs, device=device),
            seed=0,
        )
        now = start(state)
        for _ in range(3):
            now = step(now)
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(10):
            now = step(now)
        torch.cuda.synchronize()
        rate = count * 10 / (time.perf_counter() - started) / MEMBERS
        print(f"TorchSim {channels} {cutoff:g} {count} trajectories: {rate:.0f} committee-steps/s")


def on_all_cores(channels: int, cutoff: float, counts: list[int]) -> None:
    """Print the rate of the compiled code."""
    for count in counts:
        contestant, steps = Palirs(committee(channels, cutoff), batch(count)), 64
        contestant.run(steps)
        started = time.perf_counter()
        contestant.run(steps)
        rate = count * steps / (time.perf_counter() - started)
        print(
            f"palirs, {torch.get_num_threads()} threads, "
            f"{channels} {cutoff:g} {count} trajectories: "
            f"{rate:.0f} committee-steps/s",
            flush=True,
        )


def main(task: str, *values: str) -> None:
    """Do one of the tasks."""
    if torch.cuda.is_available():
        print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    if task == "right":
        right(list(values))
        return
    channels, cutoff, counts = int(values[0]), float(values[1]), [int(v) for v in values[2:]]
    if task == "speed":
        speed(channels, cutoff, counts)
    elif task == "peers":
        peers(channels, cutoff)
    else:
        on_all_cores(channels, cutoff, counts)


if __name__ == "__main__":
    main(*sys.argv[1:])
