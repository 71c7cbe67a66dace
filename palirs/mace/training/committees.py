"""Training of the members of a committee, and of dipole models, on the workers of an executor."""

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path

from ase import Atoms

from palirs.mace.models.committee import Committee
from palirs.mace.models.dipole import DipoleModel
from palirs.mace.models.files import load_committee, load_dipole_model
from palirs.mace.settings import Architecture, Training
from palirs.mace.training.checks import check_labels
from palirs.mace.training.derivatives import Derivative
from palirs.mace.training.jobs import Job, train
from palirs.mace.training.split import validation_split
from palirs.randomness import integer
from palirs.recipes import PalirsError


def train_committee(
    directory: Path,
    frames: Sequence[Atoms],
    size: int,
    architecture: Architecture,
    training: Training,
    seed: int,
    iteration: int,
    executor: Executor,
    previous: Path | None = None,
    pretrained: Path | None = None,
    derivatives: Sequence[Derivative] = (),
) -> Committee:
    """Train the members on one split, differing by seed, and return the committee.

    Files ``potential-K.safetensors`` that are already in ``directory`` are taken as they are.
    ``previous`` is the directory of the iteration before, for ``training.start=previous``;
    ``pretrained`` one with members that others start from. ``derivatives`` are learnt beside the
    frames unless ``training.derivatives`` is 0.
    """
    check_labels(frames, dipoles=False)
    train_frames, valid = validation_split(
        frames, training.validation_fraction, seed, "validation", iteration
    )
    jobs = [
        Job(
            kind="potential",
            path=directory / f"potential-{member}.safetensors",
            train=train_frames,
            valid=valid,
            architecture=architecture,
            training=training,
            seed=integer(seed, "potential", iteration, member),
            start=starting_point(
                training,
                previous,
                pretrained and pretrained / f"potential-{member}.safetensors",
                member,
            ),
            title=f"iteration {iteration} potential {member}",
            position=member,
            derivatives=derivatives if training.derivatives else (),
        )
        for member in range(size)
    ]
    train_all(jobs, executor)
    return Committee.of(
        [(c.shapes[0], c.members[0]) for c in (load_committee(job.path) for job in jobs)]
    )


def train_dipoles(
    paths: Sequence[Path],
    frames: Sequence[Atoms],
    architecture: Architecture,
    training: Training,
    seed: int,
    executor: Executor,
    pretrained: Path | None = None,
    derivatives: Sequence[Derivative] = (),
) -> DipoleModel:
    """Train dipole models that differ by seed, or load those whose files exist.

    Their derivatives, where they have a dipole, are learnt unless ``training.derivatives`` is 0.
    """
    check_labels(frames)
    train_frames, valid = validation_split(
        frames, training.validation_fraction, seed, "dipole validation"
    )
    learnt = [each for each in derivatives if training.derivatives and each.dipole is not None]
    jobs = [
        Job(
            kind="dipole",
            path=path,
            train=train_frames,
            valid=valid,
            architecture=architecture,
            training=training,
            seed=integer(seed, "dipole", *([member] if member else [])),
            start=starting_point(
                training, None, pretrained and pretrained / f"dipole-{member}.safetensors", member
            ),
            title=f"dipole model {member}",
            position=member,
            derivatives=learnt,
        )
        for member, path in enumerate(paths)
    ]
    train_all(jobs, executor)
    return load_dipole_model(paths)


def starting_point(
    training: Training, previous: Path | None, pretrained: Path | None, member: int
) -> Path | None:
    """Return the model file that a member starts from, if any.

    Parameters
    ----------
    training : Training
        Its ``start``.
    previous : Path or None
        Directory of the iteration before.
    pretrained : Path or None
        File that a member without other origin starts from.
    member : int
        Its number.

    Raises
    ------
    PalirsError
        If a file is named that is not there.
    """
    if training.start == "scratch" or (training.start == "previous" and previous is None):
        return pretrained
    if previous is not None and training.start == "previous":
        return previous / f"potential-{member}.safetensors"
    path = Path(training.start).resolve()
    if not path.is_file():
        raise PalirsError(
            f"training.start = {training.start!r}: there is no such file; give scratch, previous "
            "or a palirs model file"
        )
    return path


def train_all(jobs: Sequence[Job], executor: Executor) -> None:
    """Train every model.

    Where there are more models than workers, some are trained in two pieces, so that no worker is
    idle at the end (:func:`pieces`).
    """
    workers = getattr(executor, "workers", 1)
    waiting = pieces(len(jobs), workers)
    running: dict[Future, int] = {}
    trained: set[int] = set()
    while waiting or running:
        for number, until in list(waiting):
            if number in trained:
                waiting.remove((number, until))
            elif len(running) < workers and number not in running.values():
                waiting.remove((number, until))
                running[executor.submit(train, jobs[number], until)] = number
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            number = running.pop(future)
            if future.result():
                trained.add(number)


def pieces(jobs: int, workers: int) -> list[tuple[int, float]]:
    """Return pieces of jobs of equal length, in the order in which workers take them.

    Each is the number of a job and the share of it after which the piece ends. The last ``workers +
    jobs % workers`` jobs are laid out one after the other, and that line is cut into one section
    per worker (McNaughton 1959, doi:10.1287/mnsc.6.1.1): a job that is cut has its first piece at
    the start of one worker and its second at the end of another. Three jobs and two workers: the
    first job and half of the second, then the third and the rest of the second.
    """
    whole = jobs if jobs <= workers or jobs % workers == 0 else jobs - workers - jobs % workers
    section, begins = (jobs - whole) / workers, []
    for number in range(whole, jobs):
        worker, begin = divmod(number - whole, section)
        excess = begin + 1 - section  # goes to the start of the next worker, as the first piece
        if excess > 1e-9:
            begins.append((0.0, worker + 1, number, excess))
        begins.append((begin, worker, number, 1.0))
    unbroken = [(number, 1.0) for number in range(whole)]
    return unbroken + [(number, until) for _, _, number, until in sorted(begins)]
