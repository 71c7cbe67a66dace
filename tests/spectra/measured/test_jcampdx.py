"""Reading JCAMP-DX: every form of the table, and every contradiction told."""

import contextlib
import io
import sys

import jcamp
import numpy as np
import pytest

from palirs.spectra.measured.jcampdx import RecordError, blocks
from palirs.spectra.measured.ordinates import table
from tests.benchmarks.mutations import spoil

# the same five ordinates, 1 2 3 3 2 and -10 -12 -12 -12 7, as McDonald and Wilks write them
FORMS = {
    "fixed": "100 1 2 3 3 2\n105 -10 -12 -12 -12 7",
    "packed": "100+1+2+3+3+2\n105-10-12-12-12+7",
    "squeezed": "100ABCCB\n105a0a2a2a2G",
    "squeezed, repeated": "100ABCTB\n105a0a2UG",
    "difference": "100AJJ%j\n104Bj2k%%J9\n109G",
    "difference, repeated": "100AJT%j\n104Bj2k%TJ9\n109G",
    "exponents": "100 1E+00 2.0E+00 30e-1 3 2\n105 -1.0E+1 -12 -12 -12 .7E+01",
}
VALUES = [1, 2, 3, 3, 2, -10, -12, -12, -12, 7]


def record(
    data, head="", npoints=10, first=100, last=109, factor="##YFACTOR=1\n", form="(X++(Y..Y))"
):
    return (
        "##TITLE=t\n##JCAMP-DX=4.24\n##DATA TYPE=INFRARED SPECTRUM\n"
        "##XUNITS=1/CM\n##YUNITS=ABSORBANCE\n"
        f"##FIRSTX={first}\n##LASTX={last}\n"
        f"##NPOINTS={npoints}\n##XFACTOR=1\n{factor}{head}##XYDATA={form}\n{data}\n##END=\n"
    )


def parsed(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return table(blocks(path)[0])


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_table(form, tmp_path):
    x, y = parsed(tmp_path / "a.jdx", record(FORMS[form]))
    np.testing.assert_array_equal(x, np.arange(100, 110))
    np.testing.assert_array_equal(y, VALUES)


def test_descending_scaled_and_with_comments_dos_lines_and_ctrl_z(tmp_path):
    text = record(
        "109 1 2 3 3 2 $$ the first half\n$$ nothing\n104 -10 -12 -12 -12 7",
        first=109,
        last=100,
        factor="##Y-FACTOR = 0.5\n",
    )
    x, y = parsed(tmp_path / "a.jdx", text.replace("\n", "\r\n").encode() + b"\x1a\0\0\0")
    np.testing.assert_array_equal(x, np.arange(109, 99, -1))
    np.testing.assert_array_equal(y, np.array(VALUES) / 2)


def test_gaps_stay_gaps(tmp_path):
    y = parsed(tmp_path / "a.jdx", record("100 1 ? 3 ??2 7 7 7 7"))[1]
    np.testing.assert_array_equal(y, [1, np.nan, 3, np.nan, np.nan, 2, 7, 7, 7, 7])


def test_pairs(tmp_path):
    x, y = parsed(
        tmp_path / "a.jdx", record("100,1; 101,2\n103 5 109 , 7", npoints=4, form="(XY..XY)")
    )
    np.testing.assert_array_equal(x, [100, 101, 103, 109])
    np.testing.assert_array_equal(y, [1, 2, 5, 7])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (record("100 1 2 3 3\n105 -10 -12 -12 -12 7"), "NPOINTS = 10, but there are 9 values"),
        (
            record("100 1 2 3 3 2\n105 -10 -12 -12 7"),
            "line 8: NPOINTS = 10, but there are 9 values",
        ),
        (record("100 1 2 3 3 2\n105 1 2 3 4 5 6 7"), "line 13: more than NPOINTS"),
        (
            record(FORMS["difference"].replace("104B", "104C")),
            r"line 13: the line should repeat the last value of the line before, 2, and",
        ),
        (record(FORMS["fixed"], last=209), "line 13: .* LASTX"),
        (record(FORMS["fixed"], npoints="ten"), "line 8: NPOINTS = 'ten' is no number"),
        (record(FORMS["fixed"], npoints=1e99), "line 8: NPOINTS"),
        (
            record(FORMS["fixed"], head="##NPOINTS=11\n"),
            "line 11: NPOINTS is given twice, '10' and '11'",
        ),
        (
            record(FORMS["fixed"], head="##MAXY=70\n"),
            "line 11: MAXY = 70, but the table times YFACTOR = 1 has 7",
        ),
        (record(FORMS["fixed"], factor="", head="##MAXY=70\n"), "MAXY = 70"),
        (record(FORMS["fixed"], factor=""), "YFACTOR is missing"),
        (record(FORMS["fixed"]).replace("##FIRSTX=100\n", ""), "FIRSTX is missing"),
        (record("100 1 2 3 3 2\n~~~"), "line 13: '~~~' is no number"),
        (record("100 1 2 3 3 2\nhello"), "line 13: the line begins at -8"),
        (
            record("100.0 1 2 3\n105.0 -10 -12 -12 -12 7 5 5"),
            "line 13: the line begins at 105, but point 4 of 10 lies at 103",
        ),
        (record("100 T 2"), "line 12: a repetition with nothing to repeat"),
        (record("100 J 2"), "line 12: a difference with no value before it"),
        (record("100 1s9999999"), "line 12: a repetition of more than a million"),
        (record("100 1S9\n" * 3, npoints=4e6, last=4000099), "line 13"),
        (record("100,1 103,5 101,2 109,7", npoints=4, form="(XY..XY)"), "point 3 at 101"),
        (record("100,1 103", npoints=2, form="(XY..XY)"), "line 12: the line does not hold pairs"),
        (record("100,1 103,2", form="(XY..XY)"), "there are 2 pairs"),
        (record(FORMS["fixed"], form="(R++(A..A))"), r"should be \(X\+\+"),
        (record(FORMS["fixed"], head="##XYPOINTS=(XY..XY)\n"), "second table"),
        (record(FORMS["fixed"]).replace("XYDATA", "PEAK TABLE"), "no continuous spectrum"),
        (record("100 ? ? ? ? ?\n105 ? ? ? ? ?"), "nothing|gaps"),
        ("##JCAMP-DX=4.24\n1 2", "line 1: .*begins with ##TITLE="),
        ("##TITLE=t\n##XYDATA\n", "line 2: .*label without '='"),
        ("##TITLE=t\n##END=\n", "no JCAMP-DX file with a table"),
        ("", "no JCAMP-DX file"),
    ],
)
def test_what_contradicts_itself_is_told_with_line_and_reason(text, says, tmp_path):
    file = tmp_path / "a.jdx"
    with pytest.raises(RecordError, match=says) as told:
        parsed(file, text)
    assert str(file) in str(told.value)


def test_a_label_for_all_lines_but_the_first_may_be_one_point_off(tmp_path):
    """As in NIST's quantitative collection.

    A value that is missing on the way is reported nevertheless.
    """
    lines = [f"{100 + 5 * number - (number > 0)}.0 1 2 3 4 5" for number in range(4)]
    x, _ = parsed(tmp_path / "a.jdx", record("\n".join(lines), npoints=20, last=119))
    np.testing.assert_array_equal(x, np.arange(100, 120))
    lines[2] = lines[2].removesuffix(" 5")
    with pytest.raises(RecordError, match="line 15"):
        parsed(tmp_path / "a.jdx", record("\n".join(lines), npoints=19, last=118))


def test_long_remarks_are_passed_over_and_not_kept(tmp_path):
    """A label that goes on over 400,000 lines; what is kept of it is looked at again and again."""
    text = record(FORMS["fixed"], head="##COMMENTS=\n" + "of no use at all\n" * 400_000)
    np.testing.assert_array_equal(parsed(tmp_path / "a.jdx", text)[1], VALUES)
    (block,) = blocks(tmp_path / "a.jdx")
    assert sum(len(value) for value, _ in block.labels.values()) < 200
    assert len(block.table) == 2


def test_each_line_is_read_once(tmp_path):
    """Twice the lines take twice the steps: counted, on remarks and on a table."""
    for made in (remarks, rows):
        few, twice, more = (steps(tmp_path / "a.jdx", made(count)) for count in (200, 400, 600))
        assert few > 200
        assert twice - few == pytest.approx(more - twice, rel=0.05)


def remarks(count):
    return record(FORMS["fixed"], head="##COMMENTS=\n" + "of no use at all\n" * count)


def rows(count):
    lines = [f"{100 + 5 * number} 1 2 3 4 5" for number in range(count)]
    return record("\n".join(lines), npoints=5 * count, last=99 + 5 * count)


def steps(path, text):
    """Return how many lines of Python are executed to read a file."""
    counted = [0]

    def count(frame, event, argument):
        counted[0] += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        parsed(path, text)
    finally:
        sys.settrace(before)
    return counted[0]


def test_it_reads_what_the_jcamp_package_reads(shared):
    for file in sorted((shared / "experiment").glob("*.jdx")):
        x, y = table(blocks(file)[0])
        with contextlib.redirect_stdout(io.StringIO()):
            theirs = jcamp.readfile(str(file))
        np.testing.assert_allclose(x, theirs["x"])
        np.testing.assert_allclose(y, theirs["y"])


def test_spoilt_files_give_the_right_spectrum_or_a_named_error(shared, tmp_path):
    """``python -m tests.benchmarks.mutations`` does the same for more."""
    files = sorted((shared / "experiment").glob("*.jdx"))
    verdicts, wrong, _ = spoil(files, 400, seed=11, folder=tmp_path)
    assert wrong == []
    assert verdicts["right"] > 50
