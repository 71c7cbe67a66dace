"""Spectra of a study with the quantum shifts of its anharmonic levels."""

from palirs.results.study import StudyResults
from palirs.spectra.shifts import moved_by_modes


def write_moved_spectra(results: StudyResults) -> None:
    """Write the predicted spectra whose bands are moved by quantum shifts, where these are known.

    That takes anharmonic levels of the committee, the motion of the modes along its MD, and
    intensities of the dipole model.
    """
    store = results.spectra
    for molecule in store.molecules:
        fundamentals = results.fundamentals(molecule)
        densities = store.densities(molecule, "predicted")
        own, spectrum = results.own.get(molecule), store.computed(molecule).get("predicted")
        if fundamentals is None or densities is None or spectrum is None:
            continue
        if own is None or own.intensities is None:
            continue
        moved = moved_by_modes(spectrum, densities, own.intensities, fundamentals)
        store.write(molecule, "moved", moved)
