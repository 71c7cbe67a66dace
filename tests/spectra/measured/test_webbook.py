"""Fetching from the NIST WebBook, against a server of our own.

It answers as the library expects it to.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import nistchempy.requests as library
import numpy as np
import pytest

from palirs.recipes import PalirsError
from palirs.spectra.measured import webbook

PAGE = """<html><body><h1 id="Top">Methanol</h1><ul>
<li><strong>Formula:</strong> CH4O</li><li><strong>CAS Registry Number:</strong> 67-56-1</li>
<li><strong>Other data available:</strong><ul><li>\
<a href="/cgi/cbook.cgi?ID=C67561&amp;Units=SI&amp;Mask=80">IR Spectrum</a></li></ul></li>
<li><a href="/cgi/cbook.cgi?ID=C67561&amp;Units=CAL">Switch to calorie-based units</a></li>\
</ul></body></html>"""
SPECTRA = """<html><body><a href="/cgi/cbook.cgi?JCAMP=C67561&amp;Index=0&amp;Type=IR">one</a>
<a href="/cgi/cbook.cgi?ID=C67561&amp;Units=SI&amp;Type=IR-SPEC&amp;Index=2#IR-SPEC">another</a>
<a href="/cgi/cbook.cgi?JCAMP=C67561&amp;Index=1&amp;Type=IR">a third</a></body></html>"""
SEVERAL = """<html><body><h1>Search Results</h1><ol><li><a href="/cgi/cbook.cgi?ID=C1">a</a></li>
<li><a href="/cgi/cbook.cgi?ID=C2">b</a></li></ol></body></html>"""


def jdx(state, source, first=500, last=3900, step=10):
    x = np.arange(first, last + 1, step)
    y = np.round(1000 * np.exp(-(((x - 1030) / 60) ** 2))).astype(int)
    lines = "\n".join(f"{a} {b}" for a, b in zip(x, y, strict=True))
    return (
        "##TITLE=Methanol\n##JCAMP-DX=4.24\n##DATA TYPE=INFRARED SPECTRUM\n"
        f"##$NIST SOURCE={source}\n##STATE={state}\n##XUNITS=1/CM\n"
        f"##YUNITS=ABSORBANCE\n##XFACTOR=1.0\n##YFACTOR=0.001\n##DELTAX={step}\n"
        f"##FIRSTX={x[0]}\n##LASTX={x[-1]}\n##FIRSTY={0.001 * y[0]}\n"
        f"##NPOINTS={len(x)}\n##XYDATA=(X++(Y..Y))\n{lines}\n##END=\n"
    )


FILES = {
    "0": jdx("LIQUID", "COBLENTZ"),
    "1": jdx("gas", "MSDC-IR"),
    "2": jdx("gas", "QUANT-IR", 600, 3900),
}


@pytest.fixture
def asked(monkeypatch):
    """A WebBook on this machine, and what it was asked."""
    questions = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            query = {key: values[0] for key, values in parse_qs(urlparse(self.path).query).items()}
            questions.append(query)
            kind, text, status = "text/html", PAGE, 200
            if "JCAMP" in query:
                kind, text = "chemical/x-jcamp-dx", FILES[query["Index"]]
            elif query.get("Mask") == "80":
                text = SPECTRA
            elif query.get("Name") == "twins":
                text = SEVERAL
            elif query.get("Name") == "broken":
                text, status = "no", 500
            elif query.get("Name", "methanol") not in ("methanol", "wood alcohol"):
                text = (
                    "<html><body><h1>Name Not Found</h1>"
                    "<p>The requested name was not found in the database.</p></body></html>"
                )
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(library, "BASE_URL", address)
    monkeypatch.setattr(library, "SEARCH_URL", f"{address}/cgi/cbook.cgi")
    yield questions
    server.shutdown()


@pytest.mark.parametrize("identifier", ["67-56-1", "methanol", "wood alcohol"])
def test_every_spectrum_is_fetched_once_and_the_best_of_the_gas_phase_chosen(
    asked, tmp_path, identifier
):
    records = webbook.fetch("methanol", identifier, tmp_path, delay=0)
    assert [record.path.name for record in records] == [
        "C67561-0.jdx",
        "C67561-1.jdx",
        "C67561-2.jdx",
    ]
    assert [record.gas for record in records] == [False, True, True]
    for record, text in zip(records, FILES.values(), strict=True):
        assert record.path.read_text() == text
    chosen = webbook.best(records, (500.0, 4000.0))
    assert chosen.path.name == "C67561-1.jdx", (
        "all of the window but a hundredth against a twentieth less"
    )
    assert webbook.best(records, (700.0, 3800.0)).path.name == "C67561-2.jdx", (
        "the better collection where both cover it"
    )
    before = len(asked)
    assert [record.path for record in webbook.fetch("methanol", identifier, tmp_path, delay=0)] == [
        record.path for record in records
    ]
    assert len(asked) == before, "asked again for what is there"


@pytest.mark.parametrize(
    ("identifier", "says"),
    [
        ("unobtainium", "does not know it.*give another name, or its CAS number"),
        ("twins", "knows 2 molecules of that name; give the CAS number"),
        ("broken", "does not know it|cannot be reached"),
    ],
)
def test_what_cannot_be_had_is_said(asked, tmp_path, identifier, says):
    with pytest.raises(PalirsError, match=says):
        webbook.fetch("x", identifier, tmp_path, delay=0)
    assert list(tmp_path.iterdir()) == []


def test_a_webbook_that_is_not_there_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "SEARCH_URL", "http://127.0.0.1:9/cgi/cbook.cgi")
    with pytest.raises(PalirsError, match="cannot be reached"):
        webbook.fetch("methanol", "67-56-1", tmp_path, delay=0)


def test_a_file_that_cannot_be_read_is_kept_and_not_chosen(tmp_path):
    place = Path(tmp_path / "methanol")
    place.mkdir()
    (place / "C67561-0.jdx").write_text("##TITLE=Methanol\n##STATE=gas\n##END=\n")
    (record,) = webbook.fetch("methanol", "methanol", tmp_path, delay=0)
    assert record.gas and record.spectrum is None and "C67561-0.jdx" in record.problem
    assert webbook.best([record], (500.0, 4000.0)) is None
