"""Spectra of a study with the quantum shifts of its anharmonic levels."""

import numpy as np

from palirs.results.study import StudyResults
from palirs.spectra.shifts import moved_by_modes


def write_moved_spectra(results: StudyResults) -> None:
    """Write the predicted spectra whose bands are moved by quantum shifts, where these are known.

    That takes anharmonic levels of the committee, the motion of the modes along its MD, and
    intensities of the dipole model.
    """
    store = results.spectra
    for molecule in store.molecules:
        levels = results.anharmonic(molecule, "committee")
        densities = store.densities(molecule, "predicted")
        own, spectrum = results.own.get(molecule), store.computed(molecule).get("predicted")
        if not levels or densities is None or spectrum is None:
            continue
        if own is None or own.intensities is None:
            continue
        fundamentals = np.full(len(own.frequencies), np.nan)
        for row in levels:
            value = row.get("anharmonic_cm1")
            if "motion" in row and isinstance(value, float):
                fundamentals[int(str(row["level"])[1:]) - 1] = value
        moved = moved_by_modes(spectrum, densities, own.intensities, fundamentals)
        store.write(molecule, "moved", moved)
