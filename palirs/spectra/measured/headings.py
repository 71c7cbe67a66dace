"""Meaning of column headings: abscissas and their units, and measured quantities.

In English, German, French, Italian, Spanish and Portuguese, as instruments and people write them.
"""

import re
import unicodedata
from dataclasses import dataclass

WAVENUMBERS, MICROMETRES, NANOMETRES, WAVELENGTHS = "cm-1", "µm", "nm", "wavelength"
ABSCISSAS = {
    MICROMETRES: r"micromet|micron|\b[uµμ]m\b",
    NANOMETRES: r"nanomet|\bnm\b",
    WAVENUMBERS: (
        r"wave ?-?_?numb|wellenzahl|nombres? d.?ondes?|numero d.?(e )?ond[ae]|kayser|wavenum"
        r"|\bcm ?\^? ?\(?\{?\*{0,2} ?- ?1\b|\bcm ?\*\* ?- ?1|1 ?/ ?\(?c(m|enti)|reciprocal ?cent"
        r"|\bcm1\b"
    ),
    WAVELENGTHS: r"wave ?-?length|wellenlange|longueurs? d.?ondes?|lunghezza d.?onda"
    r"|longitud de onda|comprimento de onda|\blambda\b",
}
"""Pattern by unit; the first match counts. A wavelength without unit gets it by its range."""
OTHER_ABSCISSAS = {
    "Raman scattering": r"raman|\bshift\b|verschiebung",
    "frequency in Hz or energy": r"\b[tgmk]?hz\b|hertz|\bm?ev\b|\benerg",
    "time or path": r"\btime\b|\bzeit\b|retardation|optical path|\bseconds?\b",
}
"""Abscissas of other kinds of spectra, which are refused."""
ABSORBANCE, TRANSMITTANCE, COEFFICIENT = "absorbance", "transmittance", "absorption coefficient"
REFUSED = {
    "Raman scattering": r"raman",
    "reflectance": r"reflect|reflex|reflekt|riflett|refletan|remission|% ?r\b|^r ?[\[(]? ?%?[\])]?$"
    r"|log ?\(? ?1 ?/ ?r|kubelka|^k ?- ?m\b|\bdrifts?\b",
    "emission": r"\bemi(ssion|ttan|sion|siv|tted)|emissiv|radian(ce|z)|luminescen|fluorescen",
    "a single beam": r"single[ -]?beam|einkanal|monofaisceau|interferogram|\bvolts?\b|\bcounts?\b",
    "absorptance (1 − transmittance)": r"absorptan|absorptionsgrad|absorption ?[\[(]? ?%"
    r"|% ?absorption|% ?a(bs)?\b",
    "an optical constant": r"refractive|brechungsindex|dielectric|^[nk]$|\bphase\b",
}
"""Ordinates that are not an absorption, which are refused: pattern by quantity."""
ORDINATES = {
    ABSORBANCE: r"log(10)? ?\(? ?1 ?/ ?t|- ?log",
    COEFFICIENT: r"cross.?section|absorptivit|absorption coeff|coefficient|epsilon|\bkm ?/ ?mol"
    r"|\bmolar|micromol|napierian|- ?ln|\bl ?/ ?\(?mol",
    TRANSMITTANCE: r"transmi|trasmi|durchlass|% ?t(rans)?\b|\bt ?[\[(]? ?%|^t$|\btrans\b"
    r"|^t ?[\[(] ?[\])]?$",
    "absorbance ": r"absorb|assorb|absor(c|ç|p)|extin[ck]tion|optical density|optische dichte"
    r"|densite optique|^o\.? ?d\.?$|\babs\b|^a$|^a ?[\[(]|^a\.? ?u\.?$",
}
"""Pattern by quantity; the first match counts."""
INDEX = r"|#|i|n|nr\.?|no\.?|num|number|index|idx|point|points|row|unnamed: ?\d+|id"
"""Pattern of the headings of row numbers."""
ERRORS = r"\berr|error|\bstd|stdev|sigma|uncert|fehler|unsicher|deviation|±|noise"


@dataclass(frozen=True)
class Heading:
    """The meaning of the heading of one column.

    Attributes
    ----------
    text : str
        As written.
    abscissa : str
        Unit of the abscissa; empty if the column is not one.
    ordinate : str
        Quantity; empty if it is not stated.
    refused : str
        What it is instead of an absorption or its abscissa.
    per_cent : bool
        Whether it is in per cent.
    counts : bool
        Whether it is a row number.
    is_error : bool
        Whether it is the error of another column.
    """

    text: str
    abscissa: str = ""
    ordinate: str = ""
    refused: str = ""
    per_cent: bool = False
    counts: bool = False
    is_error: bool = False

    @property
    def says(self) -> bool:
        """Whether anything was understood."""
        return bool(self.abscissa or self.ordinate or self.refused or self.counts or self.is_error)


def understood(text: str) -> Heading:
    """Return the meaning of a heading."""
    plain = _plain(text)
    if re.fullmatch(INDEX, plain):
        return Heading(text, counts=True)
    if re.search(ERRORS, plain):
        return Heading(text, is_error=True)
    if refused := _first(OTHER_ABSCISSAS, plain) or _first(REFUSED, plain):
        return Heading(text, refused=refused)
    quantity, unit = _first(ORDINATES, plain).strip(), _first(ABSCISSAS, plain)
    if quantity and not (unit and re.match(r"wave|wellen|longueur|nombre|numero", plain)):
        return Heading(text, ordinate=quantity, per_cent="%" in text or "percent" in plain)
    return Heading(text, abscissa=unit)


def _plain(text: str) -> str:
    """Return a text in lower case without accents, superscripts as digits."""
    parts = unicodedata.normalize("NFKD", text.replace("_", " ").replace("ß", "ss"))
    letters = "".join(part for part in parts if not unicodedata.combining(part))
    letters = letters.replace("−", "-").replace("µ", "μ").replace("μ", "µ")
    return re.sub(r"\s+", " ", letters).strip(" \"'").lower()


def _first(patterns: dict[str, str], text: str) -> str:
    return next((name for name, pattern in patterns.items() if re.search(pattern, text)), "")
