"""Download measured spectra from the NIST Chemistry WebBook; none is shipped with palirs."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palirs.recipes import PalirsError
from palirs.spectra.measured.reading import read_spectrum
from palirs.spectra.spectrum import Spectrum

log = logging.getLogger(__name__)

DELAY = 5.0
"""Time between requests [s], as the robots.txt of the WebBook asks for."""
CAS = re.compile(r"\d{2,7}-\d\d-\d")
SOURCES = ("QUANT-IR", "MSDC-IR", "COBLENTZ")
"""Collections, best first: absolute absorption coefficients, absorbance, digitised charts."""


@dataclass(frozen=True)
class Record:
    """A spectrum of the WebBook.

    Attributes
    ----------
    path : Path
        Of its file.
    spectrum : Spectrum or None
        Its content; ``None`` if it cannot be read.
    gas : bool
        Whether it was measured in the gas phase.
    source : str
        Collection it comes from.
    problem : str
        Why it cannot be read; empty if it can.
    """

    path: Path
    spectrum: Spectrum | None
    gas: bool
    source: str
    problem: str = ""

    def rank(self, window: tuple[float, float]) -> tuple[int, float, int]:
        """Return a sort key: tenths of the window [cm⁻¹] that it covers, collection, points."""
        assert self.spectrum is not None
        x = self.spectrum.wavenumber
        covered = max(0.0, min(window[1], x[-1]) - max(window[0], x[0])) / (window[1] - window[0])
        collection = SOURCES.index(self.source) if self.source in SOURCES else len(SOURCES)
        return round(10 * covered), -collection, len(x)


def fetch(name: str, identifier: str, folder: Path, delay: float = DELAY) -> list[Record]:
    """Download all infrared spectra of a molecule, unless they are in the folder already.

    Parameters
    ----------
    name : str
        Of the molecule: JCAMP-DX files are ``<folder>/<name>/<WebBook's number>-<index>.jdx``.
    identifier : str
        CAS number, or a name in the WebBook.
    folder : Path
        Of all downloaded spectra.
    delay : float
        Time between requests [s].

    Raises
    ------
    PalirsError
        If the WebBook cannot be reached, knows no such molecule or several, or has no infrared
        spectrum of it.
    """
    files = sorted((folder / name).glob("*.jdx")) or _download(identifier, folder / name, delay)
    return [_record(file) for file in files]


def best(records: list[Record], window: tuple[float, float]) -> Record | None:
    """Return the readable gas-phase spectrum with the highest :meth:`Record.rank` in a window."""
    candidates = [record for record in records if record.gas and record.spectrum is not None]
    return max(candidates, key=lambda record: record.rank(window), default=None)


def _download(identifier: str, folder: Path, delay: float) -> list[Path]:
    import nistchempy as nist  # imports pandas, which takes a second

    config = nist.RequestConfig(delay=delay, max_attempts=2)
    try:
        compound = _compound(nist, identifier, config)
        spectra = compound.get_ir_spectra()
    except (OSError, ConnectionError) as error:  # all of requests' exceptions are OSErrors
        raise PalirsError(
            f"{identifier!r}: the NIST WebBook cannot be reached ({error}); get the file by a "
            "browser instead"
        ) from error
    texts = {
        f"{compound.ID}-{spectrum.spec_idx}": spectrum.jdx_text
        for spectrum in spectra or ()
        if "##" in spectrum.jdx_text
    }
    if not texts:
        raise PalirsError(
            f"{identifier!r}: the NIST WebBook has no infrared spectrum of {compound.name} "
            f"({compound.ID}) as JCAMP-DX"
        )
    part = folder.with_name(f"{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    for stem, text in texts.items():
        (part / f"{stem}.jdx").write_text(text, encoding="utf-8")
    part.rename(folder)  # all or none: half of them would look complete the next time
    return sorted(folder.glob("*.jdx"))


def _compound(nist: Any, identifier: str, config: Any) -> Any:
    cas = CAS.fullmatch(identifier) is not None
    result = nist.run_search(identifier, "cas" if cas else "name", request_config=config)
    if len(result.compound_ids) == 1:
        compound = nist.get_compound(result.compound_ids[0], request_config=config)
        if compound is not None:
            return compound
    if len(result.compound_ids) > 1:
        raise PalirsError(
            f"{identifier!r}: the NIST WebBook knows {len(result.compound_ids)} molecules of that "
            "name; give the CAS number"
        )
    hint = "see that the CAS number is right" if cas else "give another name, or its CAS number"
    message = f" ({result.message})" if result.message else ""
    raise PalirsError(f"{identifier!r}: the NIST WebBook does not know it{message}; {hint}")


def _record(path: Path) -> Record:
    text = path.read_text(encoding="utf-8", errors="replace")

    def header(label: str) -> str:
        match = re.search(rf"^##\$?{label}=(.*)$", text, re.MULTILINE | re.IGNORECASE)
        return match.group(1).strip() if match else ""

    gas = header("STATE").lower().startswith(("gas", "vapor", "vapour"))
    source = header("NIST SOURCE").upper()
    try:
        return Record(path, read_spectrum(path), gas, source)
    except ValueError as error:
        return Record(path, None, gas, source, str(error))
