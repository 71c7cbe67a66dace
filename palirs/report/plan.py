"""What a study will do and cost, in words, before anything is computed."""

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from palirs import keys
from palirs.settings import Study
from palirs.vibrations import count_modes


def plan(study: Study, molecules: Sequence[Atoms], directory: Path) -> list[str]:
    """Return the lines that ``task=check`` prints."""
    first = sum(study.initial.count(count_modes(atoms)) for atoms in molecules)
    walkers = len(molecules) * len(study.sampler.temperatures) * study.sampler.replicas
    later, again = study.selector.count(len(molecules), walkers), study.learning.iterations - 1
    hessians = sum(2 * count_modes(atoms) for atoms in molecules)
    names = ", ".join(atoms.info[keys.MOLECULE] for atoms in molecules)
    production, reference = study.spectrum.production, study.spectrum.reference
    lines = [
        ("study directory", str(directory)),
        ("molecules", f"{len(molecules)}: {names}"),
        ("reference engine", f"{study.engine.name}: {study.engine.identity}"),
        ("committee", f"{study.committee.size} × {study.model.potential.channels} channels, cutoff {study.model.potential.cutoff:g} Å"),
        ("labels, first training", f"{first} samples about the optima, about {hessians} for Hessians"),
        ("labels, afterwards", f"at most {later * again} ({study.selector.frames} per {study.selector.per} × {again} iterations)"),
        ("exploration", f"{walkers} trajectories × {study.sampler.length:g} ps per iteration"),
        ("production", f"{production.replicas} × {production.length:g} ps per molecule at {study.temperature:g} K"),
    ]
    cheap = study.pretraining
    if cheap.engine is not None:
        text = f"{cheap.engine.name}, {cheap.iterations} × {cheap.frames} structures of each molecule"
        lines.insert(4, ("pretraining", text))
    if reference is not None:
        steps = round((reference.thermalisation + reference.length) * 1e3 / study.spectrum.timestep) * reference.replicas
        lines.append(("reference MD", f"{steps:,} steps of the engine per molecule"))
    return [f"{name:22s} {text}" for name, text in lines]
