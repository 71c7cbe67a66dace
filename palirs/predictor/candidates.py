"""Candidates of an identification: molecules that need a spectrum, and spectra there are."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.geometry.electrons import Electrons
from palirs.mace.models.files import load_committee, load_dipole_model
from palirs.mace.models.predictor import Predictor as Potential
from palirs.molecules import Molecules
from palirs.predictor.bundle import Predictor
from palirs.predictor.prediction import start_geometry, was_learnt
from palirs.recipes import PalirsError
from palirs.spectra import Spectrum, mean_spectrum
from palirs.spectra.files import read_csv
from palirs.spectra.identification.matching import Matching
from palirs.spectra.identification.sticks import stick_spectrum
from palirs.spectra.jcampdx import ORIGIN
from palirs.spectra.measured.baseline import measured
from palirs.spectra.similarity import Comparison
from palirs.vibrations import Harmonic, harmonic, minimum

COMPUTED = re.compile(r"(?P<molecule>.+)-[\d.e+]+K-(?:predicted|reference|moved)")
"""Name of the file of a computed spectrum."""
LINES = re.compile(r"(?P<window>\w+) over (?P<depth>[\d.]+) fs")
"""What gave the lines of a computed spectrum their width, in how it was made."""
SPECTRA = (".csv", ".jdx", ".dx", ".jcamp", ".txt", ".dat", ".asc", ".tsv")
"""Endings of files that hold a spectrum and no structure."""
MISSING = "a molecule by name or SMILES, a file of structures, a study with spectra, or a spectrum"


@dataclass(frozen=True)
class Candidate:
    """A molecule that may be the one of a record.

    Attributes
    ----------
    name : str
        Different from those of the others.
    molecule : Atoms or None
        To make a spectrum of; ``None`` where there is one.
    spectrum : Spectrum or None
        ``None`` before it is made, and where that failed.
    source : str
        Where the spectrum comes from.
    remarks : tuple of str
        Why it may be wrong.
    failure : str
        Why there is none.
    """

    name: str
    molecule: Atoms | None = None
    spectrum: Spectrum | None = None
    source: str = ""
    remarks: tuple[str, ...] = ()
    failure: str = ""


def read_candidates(
    texts: Sequence[str], temperature: float, matching: Matching
) -> tuple[list[Candidate], list[str]]:
    """Return what each text of a list of candidates means, and remarks on those left out.

    Parameters
    ----------
    texts : sequence of str
        Names, SMILES and files of molecules, directories of studies, files of spectra.
    temperature : float
        Of the spectra that are taken from studies [K].
    matching : Matching
        Window and resolution of the comparison.

    Raises
    ------
    PalirsError
        For a text that is nothing of this.
    """
    found: dict[str, Candidate] = {}
    remarks = []
    for text in map(str, texts):
        for candidate in _meant(text, temperature, matching):
            twin = found.get(candidate.name)
            if twin and _same(twin.molecule, candidate.molecule):
                remarks.append(f"{text} is {twin.name}, which is there already")
                continue
            name, number = candidate.name, 1
            while name in found:
                number += 1
                name = f"{candidate.name} ({Path(text).name or text})"
                name += f" {number - 1}" * (number > 2)
            found[name] = replace(candidate, name=name)
    if not found:
        raise PalirsError(
            f"task.candidates: the list is empty; each is {MISSING}, as in candidates=[ethanol,COC]"
        )
    return list(found.values()), remarks


def _same(one: Atoms | None, other: Atoms | None) -> bool:
    """Tell whether two molecules have the same atoms at the same places, and the same electrons."""
    if one is None or other is None or Electrons.of(one) != Electrons.of(other):
        return False
    same_atoms = one.get_chemical_symbols() == other.get_chemical_symbols()
    if not same_atoms or not np.allclose(one.get_masses(), other.get_masses()):
        return False
    return np.allclose(one.positions, other.positions, atol=1e-3)


def _meant(text: str, temperature: float, matching: Matching) -> Iterator[Candidate]:
    """Yield the candidates that a text means."""
    path = Path(text)
    if path.is_dir():
        yield from _of_study(path, temperature, matching)
    elif path.suffix.lower() in SPECTRA and path.is_file():
        yield _of_file(path, matching)
    elif not path.is_file() and (path.suffix.lower() in SPECTRA or text.endswith("/")):
        raise PalirsError(
            f"task.candidates: {text!r}: there is no such file or directory; a candidate is "
            f"{MISSING}"
        )
    else:
        try:
            molecules = Molecules(names=(text,)).load()
        except PalirsError as error:
            raise PalirsError(f"task.candidates: {text!r} is not {MISSING}: {error}") from error
        for atoms in molecules:
            yield Candidate(str(atoms.info[keys.MOLECULE]), atoms)


def _of_study(directory: Path, temperature: float, matching: Matching) -> Iterator[Candidate]:
    ending = f"-{temperature:g}K-predicted.csv"
    files = sorted((directory / "spectra").glob("*-predicted.csv"))
    chosen = [file for file in files if file.name.endswith(ending)]
    if not chosen:
        there = ", ".join(file.name for file in files) or "no spectrum at all"
        raise PalirsError(
            f"task.candidates: {str(directory)!r}: a study without predicted spectra at "
            f"{temperature:g} K; there is {there}. Give temperature=<that of a spectrum>, or make "
            f"them: task=spectra study={directory} temperature={temperature:g}"
        )
    for file in chosen:
        candidate = _of_file(file, matching)
        yield replace(candidate, source=f"study {directory}")


def _of_file(file: Path, matching: Matching) -> Candidate:
    """Return the candidate of the file of a spectrum, by palirs or measured."""
    own = re.fullmatch(COMPUTED, file.stem)
    name = own["molecule"] if own else file.stem
    table = file.with_suffix(".csv")  # beside the JCAMP-DX file of a study
    if own and table.is_file():
        file = table
    with file.open("rb") as stream:
        start = stream.read(4096)
    is_own = start.startswith(b"# {")
    if ORIGIN.encode() in start:
        failure = f"it was computed; give {table.name}, which has its errors, instead"
        return Candidate(name, source=str(file), failure=failure)
    try:
        if not is_own:
            record = matching.equal(measured(file, matching.window))
            return Candidate(name, spectrum=record, source=f"measured, {file}")
        spectrum = read_csv(file)
    except (ValueError, TypeError) as error:
        raise PalirsError(f"task.candidates: {str(file)!r} cannot be read: {error}") from error
    if (blocks := file.with_suffix(".npy")).is_file():
        spectrum = replace(spectrum, blocks=np.load(blocks).astype(float))
    lines = LINES.search(spectrum.made)
    lag, window = f"{matching.max_lag:g}", matching.lag_window
    if lines and (lines["depth"], lines["window"]) != (lag, window):
        failure = (
            f"its lines have another width than those of the others: made by {spectrum.made}, not "
            f"{window} over {lag} fs; if all are so give spectrum.resolution=null "
            f"spectrum.max_lag={lines['depth']} spectrum.lag_window={lines['window']} and the "
            "spectrum.friction of their MD"
        )
        return Candidate(name, source=str(file), failure=failure)
    return Candidate(name, spectrum=spectrum, source=str(file))


def by_vibrations(
    candidate: Candidate, vibrations: Callable[[Atoms], Harmonic], comparison: Comparison, of: str
) -> Candidate:
    """Return a candidate with the spectrum of its harmonic vibrations.

    Parameters
    ----------
    candidate : Candidate
        A molecule.
    vibrations : callable
        Relaxes it and analyses its vibrations.
    comparison : Comparison
        Gives the lines their width.
    of : str
        Whose vibrations, for the label.
    """
    assert candidate.molecule is not None
    found = vibrations(candidate.molecule)
    if found.intensities is None:
        return replace(candidate, failure=f"{of} gives no dipole, so there are no intensities")
    remarks = ()
    if found.frequencies[0] < -10:
        remarks = (f"the optimum is a saddle point ({-found.frequencies[0]:.0f}i cm⁻¹)",)
    label = f"harmonic vibrations, {of}"
    spectrum = _sticks(found, comparison, label)
    return replace(candidate, spectrum=spectrum, source=label, remarks=remarks)


def by_members(candidate: Candidate, predictor: Predictor, comparison: Comparison) -> Candidate:
    """Return a candidate with the mean of its members' harmonic spectra, which are its blocks.

    Raises
    ------
    PalirsError
        For a molecule that the models cannot treat.
    """
    assert candidate.molecule is not None
    start = start_geometry(candidate.molecule, predictor)
    committee = load_committee(predictor.directory).double()
    dipole = load_dipole_model(predictor.dipole_files)
    optimum = minimum(start, Potential(committee, dipole))
    count, label = len(optimum.frequencies), f"harmonic vibrations, {predictor.about['engine']}"
    members = [
        harmonic(optimum.atoms, Potential(member, dipole), modes=count)
        for member in committee.alone()
    ]
    spectrum = mean_spectrum([_sticks(member, comparison, label) for member in members], label)
    remarks = []
    if not (learnt := was_learnt(optimum.atoms, predictor.learnt)):
        known = "did not learn it" if learnt is False else "may not have learnt it"
        remarks.append(f"the models {known}; {_disagreement(members)}")
    elif len(members) == 1:
        remarks.append(_disagreement(members))
    if optimum.frequencies[0] < -10:
        remarks.append(f"the optimum is a saddle point ({-optimum.frequencies[0]:.0f}i cm⁻¹)")
    return replace(candidate, spectrum=spectrum, source=f"palirs, {label}", remarks=tuple(remarks))


def _disagreement(members: Sequence[Harmonic]) -> str:
    """Return in words by how much members disagree on the harmonic wavenumbers."""
    if len(members) < 2:
        return "it is one model alone, so how sure it is, is not known"
    spread = float(np.std([member.frequencies for member in members], axis=0, ddof=1).mean())
    return (
        f"their harmonic wavenumbers differ by {spread:.1f} cm⁻¹ (standard deviation of the "
        "members, mean of the modes), and the error may be larger"
    )


def _sticks(vibrations: Harmonic, comparison: Comparison, label: str) -> Spectrum:
    assert vibrations.intensities is not None
    return stick_spectrum(
        vibrations.frequencies,
        vibrations.intensities,
        comparison.max_lag,
        window=comparison.lag_window,
        friction=comparison.friction,
        label=label,
    )
