"""Measured gas-phase spectra from the NIST Chemistry WebBook, into the user's own folder; none comes with palirs."""

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
"""Between requests [s], as the WebBook asks of programs (its robots.txt)."""
CAS = re.compile(r"\d{2,7}-\d\d-\d")
SOURCES = ("QUANT-IR", "MSDC-IR", "COBLENTZ")
"""Collections, best first: absolute absorption coefficients, digital absorbance, digitised
charts."""


@dataclass(frozen=True)
class Record:
    """A spectrum of the WebBook.

    Attributes
    ----------
    path : Path
        Its file.
    spectrum : Spectrum or None
        What is in it; ``None`` if it cannot be read.
    gas : bool
        Measured in the gas phase.
    source : str
        Collection it comes from.
    problem : str
        Why it cannot be read.
    """

    path: Path
    spectrum: Spectrum | None
    gas: bool
    source: str
    problem: str = ""

    def rank(self, window: tuple[float, float]) -> tuple[int, float, int]:
        """Return what makes one better than another: how much of the window [cm⁻¹] it covers, in tenths; collection; points."""
        assert self.spectrum is not None
        x = self.spectrum.wavenumber
        covered = max(0.0, min(window[1], x[-1]) - max(window[0], x[0])) / (window[1] - window[0])
        collection = SOURCES.index(self.source) if self.source in SOURCES else len(SOURCES)
        return round(10 * covered), -collection, len(x)


def fetch(name: str, identifier: str, folder: Path, delay: float = DELAY) -> list[Record]:
    """Download every infrared spectrum of a molecule, one JCAMP-DX file each; what is in the folder already is not asked for again.

    Parameters
    ----------
    name : str
        Of the molecule, for the files: ``<folder>/<name>/<WebBook's number>-<index>.jdx``.
    identifier : str
        CAS number, or a name that the WebBook knows.
    folder : Path
        The user's own.
    delay : float
        Between requests [s].

    Raises
    ------
    PalirsError
        If the WebBook cannot be reached, knows no such molecule or several, or has no infrared
        spectrum of it.
    """
    place = folder / name
    files = sorted(place.glob("*.jdx"))
    if not files:
        files = _download(identifier, place, delay)
    return [_record(file) for file in files]


def best(records: list[Record], window: tuple[float, float]) -> Record | None:
    """Return the gas-phase spectrum that can be read and covers most of a window [cm⁻¹]; of equals the one of the better collection."""
    return max(
        (one for one in records if one.gas and one.spectrum is not None),
        key=lambda one: one.rank(window),
        default=None,
    )


def _download(identifier: str, place: Path, delay: float) -> list[Path]:
    import nistchempy as nist  # brings pandas, which takes a second

    config = nist.RequestConfig(delay=delay, max_attempts=2)
    try:
        compound = _compound(nist, identifier, config)
        spectra = compound.get_ir_spectra()
    except (OSError, ConnectionError) as error:  # all of requests' exceptions are OSErrors
        raise PalirsError(
            f"{identifier!r}: the NIST WebBook cannot be reached ({error}); get the file by a browser instead"
        ) from error
    texts = {
        f"{compound.ID}-{one.spec_idx}": one.jdx_text
        for one in spectra or ()
        if "##" in one.jdx_text
    }
    if not texts:
        raise PalirsError(
            f"{identifier!r}: the NIST WebBook has no infrared spectrum of {compound.name} ({compound.ID}) as JCAMP-DX"
        )
    part = place.with_name(f"{place.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    for stem, text in texts.items():
        (part / f"{stem}.jdx").write_text(text, encoding="utf-8")
    part.rename(place)  # all of them or none, or half of them would look like all the next time
    return sorted(place.glob("*.jdx"))


def _compound(nist: Any, identifier: str, config: Any) -> Any:
    cas = CAS.fullmatch(identifier) is not None
    found = nist.run_search(identifier, "cas" if cas else "name", request_config=config)
    if len(found.compound_ids) == 1:
        compound = nist.get_compound(found.compound_ids[0], request_config=config)
        if compound is not None:
            return compound
    if len(found.compound_ids) > 1:
        raise PalirsError(
            f"{identifier!r}: the NIST WebBook knows {len(found.compound_ids)} molecules of that name; give the CAS number"
        )
    hint = "see that the CAS number is right" if cas else "give another name, or its CAS number"
    raise PalirsError(
        f"{identifier!r}: the NIST WebBook does not know it{f' ({found.message})' if found.message else ''}; {hint}"
    )


def _record(path: Path) -> Record:
    text = path.read_text(encoding="utf-8", errors="replace")

    def header(label: str) -> str:
        found = re.search(rf"^##\$?{label}=(.*)$", text, re.MULTILINE | re.IGNORECASE)
        return found.group(1).strip() if found else ""

    gas, source = (
        header("STATE").lower().startswith(("gas", "vapor", "vapour")),
        header("NIST SOURCE").upper(),
    )
    try:
        return Record(path, read_spectrum(path), gas, source)
    except ValueError as error:
        return Record(path, None, gas, source, str(error))
