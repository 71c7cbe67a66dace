"""The spectra of a study."""

from palirs.production import spectrum_store
from palirs.spectra.store import SpectrumStore
from palirs.study.session import Session


def spectra_of(session: Session, temperature: float) -> SpectrumStore:
    """Return the spectra of a study at a temperature [K]."""
    settings = session.settings.spectrum
    return spectrum_store(session.directory, settings, temperature, session.names)
