"""Values need no quotes but those of the shell: what arrives is what was typed, or a sentence."""

import logging
import random
import re
import shlex
import typing
from pathlib import Path

import pytest

from palirs.cli.kinds import ANYTHING, TEXT, Takes, takes
from palirs.cli.overrides import parse, readable
from palirs.cli.quoting import is_whole, quote, split
from palirs.cli.sweeps import typed_settings
from palirs.cli.values import Reader
from palirs.recipes import PalirsError

MAYBE = TEXT | Takes(null=True)
TEXTS, PAIRS = Takes(members=TEXT), Takes(values=TEXT)
FILES = MAYBE | PAIRS
NUMBER, NUMBERS = takes(float), takes(tuple[float, ...])
CHOICE = takes(typing.Literal["physical", "schnetpack"])


def means(value, kind, swept=False):
    """Return what arrives of a value: that of each job, if it is swept."""
    override = parse(readable(f"key={value}", swept))
    assert override is not None, "Hydra reads it"
    if not (swept and override.is_sweep_override()):
        return Reader("key", value.strip(), "-m " * swept).read(kind)
    jobs = [f"key={text}" for text in override.sweep_string_iterator()]
    typed = [setting for job in jobs for setting in typed_settings([job], [f"key={value}"])]
    return [Reader("key", text.removeprefix("key="), "-m ").read(kind) for text in typed]


AS_TYPED = """
plain|a b|Mölln|größe/αβ|日本|a (1)|67-56-1 (1).jdx|a=b.jdx|studies/x/a=1,b=2|a#b|50%|a&b|it's
say "hi"|'abc|a'b'c|'a'b'|a;b|a!b|^x|<x>|`x`|~/x|~|a~b|a|x)|(x|()|x]|[x|x}|{x|{x}|a{b}.jdx
[2H]O[2H]|C#N|CC(=O)O|C/C=C\\C|F/C=C/F|[C@@H](F)(Cl)Br|C[N+](=O)[O-]|smile :)|yes|No|-x|--x
1e3|1_000|007|12|+5|.5|5.|inf|NaN|true|FALSE|2026-11-27|12:30:00|0x10|0o7|1.2.3|null_x|@x|x@y
C:\\data\\x|C:\\my data (1)|dir\\|dir (1)\\|$HOME/x|a$|a???|*.xyz|a*b?|a:b|a: b|models:/a (b)/1
http://h:5000/a?b=c|sqlite:///m.db|Übung, zweite|"a" und "b"|x(y)|f(a,b)|range(1,3).jdx
6-31G(d,p)|6-311++G(2d,2p)|6-31G**|cc-pV(T+d)Z|b3lyp,|,lyp|0.5*hf+0.5*b88,lyp|pbe,pbe
"""
ONES = [value for line in AS_TYPED.strip().splitlines() for value in line.split("|")]
SIGNS = "aB1 .,;:=#()[]{}'\"\\/~$%&+*@!?<>|^`öα\t\n"
SWEEP = "several values are a sweep, and that needs -m: python run.py -m"


@pytest.mark.parametrize("value", ONES)
def test_a_text_arrives_as_it_was_typed(value):
    assert means(value, TEXT) == value
    assert means(value, MAYBE) == value
    assert means(f"  {value}\t", TEXT) == value
    if not is_whole(value, "{}"):
        assert means(value, FILES) == value
    if (
        not ({*"'\","} & set(value))
        and value[-1] != "\\"
        and all(value.count(one) == value.count(other) for one, other in ("()", "[]", "{}"))
    ):
        assert means(f"[{value}, b]", TEXTS) == [value, "b"]
        assert means(f"{value},b", TEXT, swept=True) == [value, "b"]
        if ":" not in value:
            assert means(f"{{a: {value}}}", PAIRS) == {"a": value}


def test_any_text_can_be_quoted():
    rng = random.Random(1)
    for _ in range(400):
        text = "".join(rng.choices(SIGNS, k=rng.randint(0, 9)))
        for mark in "'\"":
            assert parse(f"key={quote(text, mark)}").value() == text


@pytest.mark.parametrize(
    ("value", "kind", "is_"),
    [
        ("null", MAYBE, None),
        ("NULL", takes(float | None), None),
        ("'1e3'", TEXT, "1e3"),
        ('"a, (b)"', TEXT, "a, (b)"),
        ("'null'", MAYBE, "null"),
        ("my\\ dir", TEXT, "my dir"),
        ("a\\(1\\)", TEXT, "a(1)"),
        ("${seed}", TEXT, "${seed}"),
        ("run-${seed} (1)", TEXT, "run-${seed} (1)"),
        ("str(1)", TEXT, "1"),
        ("1e3", NUMBER, 1000.0),
        ("true", takes(bool), True),
        ("1_000", takes(int), 1000),
        ("300 K", NUMBER, "300 K"),
        ("300 (K)", NUMBER, "300 (K)"),
        ("[300,5e2]", NUMBERS, [300, 500.0]),
        ("[]", TEXTS, []),
        ("${molecules.names}", TEXTS, "${molecules.names}"),
        ("['null','a,b']", TEXTS, ["null", "a,b"]),
        (
            "{H: -13.6, C: -1029}",
            takes(typing.Literal["fitted"] | dict[str, float]),
            {"H": -13.6, "C": -1029},
        ),
        ("{a: [1,2], b: {c: d}}", ANYTHING, {"a": [1, 2], "b": {"c": "d"}}),
        ("1e3", ANYTHING, 1000.0),
        ("6-31G(d,p)", ANYTHING, "6-31G(d,p)"),
        ("[a (1).model, b]", ANYTHING, ["a (1).model", "b"]),
        ("{a: b (1)}", ANYTHING, {"a": "b (1)"}),
        ("{ö: 1}", ANYTHING, {"ö": 1}),
        ("%pal\nnprocs 4\nend", ANYTHING, "%pal\nnprocs 4\nend"),
    ],
)
def test_what_hydra_reads_as_it_is_meant_stays(value, kind, is_):
    found = means(value, kind)
    assert found == is_ and type(found) is type(is_)


@pytest.mark.parametrize(
    ("value", "members"),
    [
        ("[my file (1).xyz, b.xyz]", ["my file (1).xyz", "b.xyz"]),
        ("[[2H]O[2H],CCO]", ["[2H]O[2H]", "CCO"]),
        (r"[F/C=C\F, C\C=C/[2H]]", [r"F/C=C\F", r"C\C=C/[2H]"]),
        ("[CO, CC(C)=O acetone]", ["CO", "CC(C)=O acetone"]),
        ("[1,3-butadiene, methanol]", ["1,3-butadiene", "methanol"]),
        ("[methanol,1,3-butadiene]", ["methanol", "1,3-butadiene"]),
        ("['a,b', \"c,d\", it's]", ["a,b", "c,d", "it's"]),
        (
            "[--constraint=icelake, module load aims (1)]",
            ["--constraint=icelake", "module load aims (1)"],
        ),
        ("[1e3, 007, true]", ["1e3", "007", "true"]),
    ],
)
def test_members_of_lists(value, members):
    assert means(value, TEXTS) == members


def test_names_with_commas_that_are_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a=1,b=2", "a=2,b=2", "x,y.jdx", "c"):
        Path(name).touch()
    assert means("[a=1,b=2, c]", TEXTS) == ["a=1,b=2", "c"]
    assert means("[c,a=*,b=2,d]", TEXTS) == ["c", "a=*,b=2", "d"]
    assert means("a=1,b=2,c", TEXT, swept=True) == ["a=1,b=2", "c"]
    assert means("{m: x,y.jdx, n: c}", PAIRS) == {"m": "x,y.jdx", "n": "c"}
    for name in ("a=1", "b=2"):
        Path(name).touch()
    assert means("[a=1,b=2]", TEXTS) == ["a=1", "b=2"], "each of them is there"


@pytest.mark.parametrize(
    ("value", "values"),
    [
        ("{methanol: 67-56-1 (1).jdx}", {"methanol": "67-56-1 (1).jdx"}),
        ("{1,3-butadiene: a (1).jdx}", {"1,3-butadiene": "a (1).jdx"}),
        ("{a,b(c)[d]+*%: x.jdx}", {"a,b(c)[d]+*%": "x.jdx"}),
        (
            "{methanol: a.jdx, 1,3-butadiene: b=c.jdx}",
            {"methanol": "a.jdx", "1,3-butadiene": "b=c.jdx"},
        ),
        ("{Mölln: x.jdx, C#N: it's.jdx}", {"Mölln": "x.jdx", "C#N": "it's.jdx"}),
        ('{\'a: b\': "c,d.jdx", "e,f": ~/g.jdx}', {"a: b": "c,d.jdx", "e,f": "~/g.jdx"}),
        (r"{a\,b\(c\): 1 (1).jdx}", {"a,b(c)": "1 (1).jdx"}),
        ("{1: 1e3, true: null_x}", {"1": "1e3", "true": "null_x"}),
        ("{a: C:\\x (1).jdx}", {"a": "C:\\x (1).jdx"}),
        ("{methanol: 67-56-1}", {"methanol": "67-56-1"}),
        ("{}", {}),
    ],
)
def test_pairs(value, values):
    assert means(value, FILES) == values


@pytest.mark.parametrize(
    ("value", "kind", "jobs"),
    [
        ("6-31G(d,p),def2-svp", TEXT, ["6-31G(d,p)", "def2-svp"]),
        ("'0.5*hf+0.5*b88,lyp',pbe", TEXT, ["0.5*hf+0.5*b88,lyp", "pbe"]),
        ("Mölln, a (1)", TEXT, ["Mölln", "a (1)"]),
        ("null,d4", MAYBE, [None, "d4"]),
        ("1e3,1e4", NUMBER, [1000.0, 10000.0]),
        ("[300],[300,500]", NUMBERS, [[300], [300, 500]]),
        ("[C#N],[CC(C)=O,CO]", TEXTS, [["C#N"], ["CC(C)=O", "CO"]]),
        ("{m: a (1).jdx},{m: b.jdx}", FILES, [{"m": "a (1).jdx"}, {"m": "b.jdx"}]),
        ("range(1,4)", NUMBER, [1, 2, 3]),
        ("choice(a,b)", TEXT, ["a", "b"]),
        ("choice('6-31G(d,p)',b)", TEXT, ["6-31G(d,p)", "b"]),
    ],
)
def test_commas_between_studies(value, kind, jobs):
    assert means(value, kind, swept=True) == jobs


UNCLEAR = [
    ("", MAYBE, False, ["needs a value after the =", "key=null"]),
    (" ", NUMBER, False, ["needs a value after the ="]),
    ("None", MAYBE, False, ["key=null", 'key="None"']),
    ("None", takes(float | None), False, ["key=null"]),
    ("null", TEXT, False, ["needs a value, which null is not"]),
    ("null", NUMBER, True, ["needs a value, which null is not"]),
    ("null", TEXTS, False, ["key=[]"]),
    ("[a,null]", TEXTS, False, ["needs a value, which null is not"]),
    ("???", TEXT, False, ["needs a value"]),
    ("[a]", TEXT, False, ["takes one text", 'key="[a]"']),
    ("{a: b}", TEXT, False, ["takes one text", 'key="{a: b}"']),
    ("[a.jdx]", FILES, False, ["pairs {name: value}"]),
    ("a (1).xyz", TEXTS, False, ["takes a list", "key=[a (1).xyz]"]),
    ("300", NUMBERS, False, ["takes a list", "key=[300]"]),
    ("(300,500)", NUMBERS, False, ["takes a list", "key=[300,500]"]),
    ("300", NUMBERS, True, ["takes a list", "-m 'key=[300]'"]),
    ("x", PAIRS, False, ["takes pairs"]),
    ("{a}", FILES, False, ["pairs are written"]),
    ("{a: }", FILES, False, ["pairs are written"]),
    ("{a: x.jdx, b, c: y.jdx}", FILES, False, ["pairs are written", "needs quotes"]),
    ("{a: x, a: y}", FILES, False, ["a name is there twice"]),
    ("[a,,b]", TEXTS, False, ["an empty member"]),
    ("300,", NUMBER, False, ["a value is missing"]),
    ("b3lyp,", TEXT, True, ["a value is missing", "-m 'key=\"b3lyp,\"'"]),
    ("(2,2,2)", ANYTHING, False, ["key=[2,2,2]", 'key="(2,2,2)"']),
    ("choice(6-31G(d,p),x)", TEXT, True, ["need quotes"]),
    ("a\\(1\\) (2)", TEXT, False, ['key="a(1) (2)"', 'key="a\\(1\\) (2)"']),
]


@pytest.mark.parametrize(("value", "kind", "swept", "says"), UNCLEAR)
def test_what_is_not_clear_is_told_with_a_line_that_works(value, kind, swept, says):
    with pytest.raises(PalirsError) as error:
        means(value, kind, swept)
    told = str(error.value)
    assert told.startswith("key")
    for text in says:
        assert text in told
    for text in says:
        if line := re.fullmatch(r"(?:-m ')?key=(.+?)'?", text):
            means(line[1], kind, swept)


@pytest.mark.parametrize(
    ("value", "kind", "advice"),
    [
        ("300,500", NUMBERS, "'key=[300,500]'"),
        ("[300],[500,700]", NUMBERS, "'key=[300,500,700]'"),
        ("ethanol, C#N", TEXTS, "'key=[ethanol,C#N]'"),
        ("a,b", ANYTHING, "'key=[a,b]' for a list, or 'key=\"a,b\"' for a text"),
        ("300,5", NUMBER, "the decimal mark of a number is a point"),
        ("1,2", takes(int), ""),
        ("true,false", takes(bool), ""),
        ("physical,schnetpack", CHOICE, ""),
        ("range(1,4)", NUMBERS, ""),
        ("'a','b'", TEXT, ""),
    ],
)
def test_a_list_is_advised_only_where_one_is_allowed(value, kind, advice):
    with pytest.raises(PalirsError) as error:
        means(value, kind)
    told = str(error.value)
    line = shlex.quote(f"key={value}")
    assert told.startswith(f"key={value}: {SWEEP} {line} …")
    told = told.partition(" …")[2].removeprefix("; ")
    assert told.removeprefix("if one study is meant, write ") == advice


def test_a_text_with_a_comma_is_one_text_and_that_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        assert means("studies/a,studies/b", TEXT) == "studies/a,studies/b"
        assert "taken as one text" in caplog.text
        caplog.clear()
        for value in ("6-31G(d,p)", "b3lyp,", "1,3-butadiene", "plain"):
            assert means(value, TEXT) == value
        assert not caplog.text


def test_brackets_that_do_not_match_are_letters():
    assert split("a(b,c") == ["a(b", "c"]
    assert split("a)b,c") == ["a)b", "c"]
    assert split("(a]b),c[,d],'e,f',it's,\"g'h,\"") == [
        "(a]b)",
        "c[,d]",
        "'e,f'",
        "it's",
        '"g\'h,"',
    ]
    assert is_whole("[a,[b]]", "[]")
    assert not is_whole("[2H]O[2H]", "[]")
    assert not is_whole("[a", "[]")
