"""The stages of a study, in order. Each starts from what the study directory holds."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.learning import errors as analysis
from palirs.learning.loop import State, complete_iterations, learn, read_dataset
from palirs.mace.models.files import load_dipoles
from palirs.mace.training.jobs import starting_point, train_dipoles
from palirs.molecules import read_frames
from palirs.production.simulation import Run, Source, simulate, spectrum_of
from palirs.recipes import PalirsError
from palirs.report import figures
from palirs.report import page as report
from palirs.settings import MD
from palirs.spectra import Spectrum, pearson, read_jcamp, wasserstein
from palirs.spectra.baseline import subtract_baseline
from palirs.spectra.files import read_csv, write_csv
from palirs.study import Session

log = logging.getLogger(__name__)


def study(session: Session) -> None:
    """Run everything: active learning, dipole model, production, report; then the engine's own MD, and the report with it."""
    active_learning(session)
    if not session.study.engine.gives_dipole:
        log.warning("%s declares no dipole: there is no spectrum to be made, the study ends with its potential", session.study.engine.name)
        return
    dipole(session)
    spectra(session)
    analyse(session)
    if session.study.spectrum.reference is not None:
        aimd(session)
        analyse(session)


def check(session: Session) -> None:
    """Print what the study will do and what it will cost in reference calculations; compute nothing."""
    s = session.study
    modes = [3 * len(atoms) - 6 for atoms in session.molecules]
    first = sum(1 + count * (s.learning.geometries_per_mode - 1) for count in modes)
    walkers = len(session.molecules) * len(s.sampler.temperatures) * s.sampler.replicas
    later = walkers * s.selector.frames * (s.learning.iterations - 1)
    hessians = sum(6 * len(atoms) for atoms in session.molecules)
    names = ", ".join(atoms.info[keys.MOLECULE] for atoms in session.molecules)
    production = s.spectrum.production
    print(f"study directory        {session.directory}")
    print(f"molecules              {len(session.molecules)}: {names}")
    print(f"reference engine       {s.engine.name}: {s.engine.identity}")
    print(f"committee              {s.committee.size} × {s.model.potential.channels} channels, cutoff {s.model.potential.cutoff:g} Å")
    print(f"labels, first training {first} normal-mode samples, about {hessians} for Hessians")
    print(f"labels, afterwards     at most {later} ({walkers} trajectories × {s.selector.frames} × {s.learning.iterations - 1} iterations)")
    print(f"exploration            {walkers} trajectories × {s.sampler.length:g} ps per iteration")
    print(f"production             {production.replicas} × {production.length:g} ps per molecule at {s.temperature:g} K")
    if s.spectrum.reference is not None:
        steps = round(s.spectrum.reference.length * 1e3 / s.spectrum.timestep) * s.spectrum.reference.replicas
        print(f"reference MD           {steps:,} steps of the engine per molecule")


def harmonic(session: Session) -> None:
    """Relax each molecule with the engine and print its harmonic frequencies and intensities."""
    for known in session.references:
        name = known.atoms.info[keys.MOLECULE]
        intensities = known.intensities if known.intensities is not None else np.full_like(known.frequencies, np.nan)
        write_csv(
            session.directory / "spectra" / f"{name}-harmonic.csv",
            {"wavenumber_cm1": known.frequencies, "intensity_km_per_mol": intensities},
        )
        print(f"{name}: wavenumber (cm⁻¹), intensity (km/mol)")
        for frequency, intensity in zip(known.frequencies, intensities, strict=True):
            print(f"  {frequency:9.1f} {intensity:9.2f}")


def active_learning(session: Session) -> None:
    """Label, train, explore, until the harmonic frequencies are good or the iterations are used up."""
    if not complete_iterations(session.directory):
        for training in (session.study.training.potential, session.study.training.dipole):
            starting_point(training, None, 0)  # a file that is not there is told before anything is computed
    with _timed(session, "reference_vibrations"):
        plan = session.plan
    paid = session.labeller.computed
    log.info("reference vibrations of %d molecules, %d calculations", len(plan.references), paid)

    def after(state: State) -> None:
        session.tracker.metrics(state.metrics, step=state.iteration - 1)
        m = state.metrics
        log.info(
            "iteration %d: %d structures, harmonic MAE %.2f cm⁻¹, forces MAE %.1f meV/Å, energy MAE %.2f meV",
            state.iteration - 1,
            m["dataset.size"],
            m["harmonic.mae_cm1"],
            m["forces.mae_meV_per_A"],
            m["energy.mae_meV"],
        )
        place = complete_iterations(session.directory)[state.iteration - 1]
        for file in sorted(place.glob("potential-*.jsonl")):
            _log_training(session, file, f"training.{place.name}.{file.stem.rpartition('-')[2]}")

    state = learn(plan, session.labeller, session.trainers, session.movers, after)
    last = complete_iterations(session.directory)[-1]
    for file in sorted(last.glob("*.xyz")):
        session.tracker.artifact(file, "dataset")
    for file in sorted(last.glob("potential-*.safetensors")):
        session.tracker.artifact(file, "models")
    if state.metrics["harmonic.mae_cm1"] >= plan.learning.harmonic_mae:
        log.warning(
            "harmonic MAE %.2f cm⁻¹ after learning.iterations=%d is above learning.harmonic_mae=%g; raise the limit and run again to go on",
            state.metrics["harmonic.mae_cm1"],
            plan.learning.iterations,
            plan.learning.harmonic_mae,
        )


def dipole(session: Session) -> None:
    """Train the dipole model on the final data set."""
    if not session.study.engine.gives_dipole:
        raise PalirsError(f"{session.study.engine.name} declares no dipole (engine.properties); a dipole model has nothing to learn from")
    last = _last_iteration(session)
    train = read_frames(last / "train.xyz")
    with _timed(session, "dipole"):
        model = train_dipoles(
            session.dipole_files, train, session.study.model.dipole, session.study.training.dipole, session.study.seed, session.trainers
        )
    test = read_frames(last / "test.xyz")
    metrics = analysis.dipole_parity(model, test).metrics("dipole", "mD")
    if len(model) > 1:
        metrics["dipole.std_mD"] = analysis.dipole_spread(model, test)
    session.tracker.metrics(metrics, step=len(complete_iterations(session.directory)) - 1)
    for file in session.dipole_files:
        session.tracker.artifact(file, "models")
        _log_training(session, file.with_suffix(".jsonl"), f"training.{file.stem}")
    log.info("dipole model: MAE %.1f mDebye on the test frames", metrics["dipole.mae_mD"])


def spectra(session: Session) -> None:
    """Run production MD with the committee, compute spectra, compare with reference and experiment if they are there."""
    last = _last_iteration(session)
    if not all(file.exists() for file in session.dipole_files):
        raise PalirsError(f"{session.directory}: no dipole model for iteration {last.name}; run task=dipole first")
    settings, temperature = session.study.spectrum, session.study.temperature
    with _timed(session, "production"):
        runs = _trajectories(session, (last, session.dipole_files), settings.production, last.name)
    for atoms, run in zip(session.optima, runs, strict=True):
        name = atoms.info[keys.MOLECULE]
        predicted = spectrum_of(
            run.dipoles, settings, temperature, f"palirs, {temperature:g} K, {len(run.dipoles)} × {settings.production.length:g} ps"
        )
        write_csv(_spectrum_file(session, name, "predicted"), predicted)
        metrics = {
            f"md.{name}.temperature_K": float(run.temperature.mean()),
            f"md.{name}.force_std_max_eV_per_A": float(run.spread.max()),
            f"md.{name}.drift_meV_per_ps": float(np.abs(run.drift).max() * 1e3),
            f"md.{name}.broken": sum(map(bool, run.broken)),
        }
        session.tracker.metrics(metrics)
        _compare(session, name)


def aimd(session: Session) -> None:
    """Run the reference engine's own MD with the same integrator and compute its spectra."""
    settings, temperature = session.study.spectrum, session.study.temperature
    if not session.study.engine.gives_dipole:
        raise PalirsError(f"{session.study.engine.name} declares no dipole (engine.properties); its MD would give no spectrum")
    if settings.reference is None:
        raise PalirsError("spectrum.reference is null; give it replicas, thermalisation and length to run task=aimd")
    steps = round((settings.reference.thermalisation + settings.reference.length) * 1e3 / settings.timestep) * settings.reference.replicas
    paid = session.labeller
    pace = (
        f", about {paid.seconds / paid.computed * steps * len(session.molecules) / 3600:.1f} h at the pace of the labels"
        if paid.computed
        else ""
    )
    log.info("reference MD: %d steps of the engine per molecule%s; spectrum.reference=null leaves it out", steps, pace)
    with _timed(session, "reference_md"):
        runs = _trajectories(session, session.study.engine, settings.reference, "reference")
    for atoms, run in zip(session.optima, runs, strict=True):
        name = atoms.info[keys.MOLECULE]
        label = f"{session.study.engine.name} MD, {temperature:g} K, {len(run.dipoles)} × {settings.reference.length:g} ps"
        write_csv(_spectrum_file(session, name, "reference"), spectrum_of(run.dipoles, settings, temperature, label))
        session.tracker.metrics(
            {
                f"md.{name}.reference_temperature_K": float(run.temperature.mean()),
                f"md.{name}.reference_drift_meV_per_ps": float(np.abs(run.drift).max() * 1e3),
            }
        )


def analyse(session: Session) -> None:
    """Draw the figures and write the report from what the study directory holds."""
    history = [json.loads((place / "metrics.json").read_text())["metrics"] for place in complete_iterations(session.directory)]
    last = _last_iteration(session)
    folder = session.directory / "figures"
    drawn = [
        (
            "Learning curves",
            figures.save(figures.learning_curves(history, session.study.learning.harmonic_mae), folder / "learning_curves.png"),
        )
    ]
    optima = {atoms.info[keys.MOLECULE]: session.labeller.calculate([atoms])[0].energy for atoms in session.optima}
    first, final = (_above(optima, read_dataset(place)) for place in (complete_iterations(session.directory)[0], last))
    drawn.append(("Energies of the data", figures.save(figures.energy_distribution(first, final), folder / "energy_distribution.png")))
    test = read_frames(last / "test.xyz")
    energy, forces, _ = analysis.potential_parity(session.committee, test)
    relative = analysis.above(energy, optima)
    drawn.append(("Energies", figures.save(figures.parity("Energy above the optimum", "meV", relative), folder / "energy_parity.png")))
    drawn.append(("Forces", figures.save(figures.parity("Forces", "meV/Å", forces), folder / "forces_parity.png")))
    by_molecule = [energy.by_molecule("energy", "meV"), forces.by_molecule("forces", "meV_per_A")]
    if all(file.exists() for file in session.dipole_files):
        dipoles = analysis.dipole_parity(load_dipoles(session.dipole_files), test)
        by_molecule.append(dipoles.by_molecule("dipole", "mD"))
        drawn.append(("Dipoles", figures.save(figures.parity("Dipole", "mDebye", dipoles), folder / "dipole_parity.png")))
    errors = [
        {"molecule": name, "test_frames": energy.count(name), **{key: value for part in by_molecule for key, value in part[name].items()}}
        for name in by_molecule[0]
    ]
    report.write_table(session.directory / "errors.csv", errors)
    session.tracker.artifact(session.directory / "errors.csv")
    comparisons = []
    for atoms in session.optima:
        name = atoms.info[keys.MOLECULE]
        if _spectrum_file(session, name, "predicted").exists():
            metrics = _compare(session, name)
            comparisons.append({"molecule": name, **{key.rpartition(".")[2]: value for key, value in metrics.items()}})
            drawn.insert(len(comparisons) - 1, (f"Spectrum of {name}", _draw_spectrum(session, name, metrics)))
    for _, picture in drawn:
        session.tracker.artifact(picture, "figures")
    rows = [
        {"iteration": number, **{key: float(value) for key, value in metrics.items() if not key.startswith(("time", "labels"))}}
        for number, metrics in enumerate(history)
    ]
    summary = [
        f"{len(session.molecules)} molecule(s), reference {session.study.engine.name}, committee of {session.study.committee.size}, "
        f"{history[-1]['dataset.size']:.0f} labelled structures after {len(history)} iterations; "
        f"harmonic frequencies within {history[-1]['harmonic.mae_cm1']:.1f} cm⁻¹ of the reference on average."
    ]
    tables = [
        ("Spectra: Pearson correlation (pcc) and Wasserstein distance (wd)", comparisons),
        ("Errors on the test frames of the last iteration, by molecule", errors),
        ("Iterations", rows),
    ]
    page = report.write(
        session.directory / "report.html",
        f"Study {session.directory.name}",
        summary,
        tables,
        drawn,
        (session.directory / "config.yaml").read_text(),
    )
    session.tracker.artifact(page)
    for file in sorted((session.directory / "spectra").glob("*")):
        session.tracker.artifact(file, "spectra")
    log.info("report: %s", page)


def _last_iteration(session: Session) -> Path:
    places = complete_iterations(session.directory)
    if not places:
        raise PalirsError(f"{session.directory}: no completed iteration; run task=active_learning (or task=study) on it first")
    return places[-1]


def _above(optima: dict[str, float], frames: list[Atoms]) -> np.ndarray:
    return np.array([atoms.info[keys.ENERGY] - optima[atoms.info[keys.MOLECULE]] for atoms in frames])


def _trajectories(session: Session, source: Source, md: MD, kind: str) -> list[Run]:
    """Run the trajectories, or what is missing of them."""
    s = session.study
    place = session.directory / "trajectories"
    return simulate(source, session.optima, md, s.spectrum, s.temperature, s.seed, session.movers, place, kind, s.evaluation)


def _spectrum_file(session: Session, name: str, kind: str) -> Path:
    return session.directory / "spectra" / f"{name}-{session.study.temperature:g}K-{kind}.csv"


def _known_spectra(session: Session, name: str) -> dict[str, Spectrum]:
    """Return what there is of ``predicted``, ``reference`` and ``experiment``."""
    found = {
        kind: read_csv(_spectrum_file(session, name, kind))
        for kind in ("predicted", "reference")
        if _spectrum_file(session, name, kind).exists()
    }
    path = session.study.spectrum.experiments([atoms.info[keys.MOLECULE] for atoms in session.molecules]).get(name)
    if path:
        found["experiment"] = subtract_baseline(read_jcamp(path))
    return found


def _compare(session: Session, name: str) -> dict[str, float]:
    """Log and return PCC and WD of every pair of spectra of a molecule."""
    known, window = _known_spectra(session, name), session.study.spectrum.window
    pairs = {"ml_ref": ("predicted", "reference"), "ml_exp": ("predicted", "experiment"), "ref_exp": ("reference", "experiment")}
    metrics: dict[str, float] = {}
    for short, (a, b) in pairs.items():
        if a in known and b in known:
            metrics[f"spectrum.{name}.pcc_{short}"] = pearson(known[a], known[b], window)
            metrics[f"spectrum.{name}.wd_{short}"] = wasserstein(known[a], known[b], window)
    if metrics:
        session.tracker.metrics(metrics)
        log.info("%s: %s", name, ", ".join(f"{key.rpartition('.')[2]} {value:.3f}" for key, value in metrics.items()))
    return metrics


def _draw_spectrum(session: Session, name: str, metrics: dict[str, float]) -> Path:
    known = _known_spectra(session, name)
    notes = {}
    for panel, short in (("reference", "ml_ref"), ("experiment", "ml_exp")):
        if f"spectrum.{name}.pcc_{short}" in metrics:
            notes[panel] = f"PCC {metrics[f'spectrum.{name}.pcc_{short}']:.3f}, WD {metrics[f'spectrum.{name}.wd_{short}']:.3f}"
    figure = figures.spectrum(
        f"{name}, {session.study.temperature:g} K",
        known["predicted"],
        known.get("reference"),
        known.get("experiment"),
        session.study.spectrum.window,
        notes,
    )
    return figures.save(figure, session.directory / "figures" / f"{name}-{session.study.temperature:g}K.png")


def _log_training(session: Session, file: Path, name: str) -> None:
    """Log the history of a training; the step is the epoch."""
    if not file.exists():
        return
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    session.tracker.series(
        [
            (int(entry["epoch"]), {f"{name}.{key}": value for key, value in entry.items() if key not in ("epoch", "updates", "seconds")})
            for entry in entries
        ]
    )


@contextmanager
def _timed(session: Session, stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    session.tracker.metrics({f"time.{stage}_s": time.perf_counter() - started})
