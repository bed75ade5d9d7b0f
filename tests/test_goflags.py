from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.goflags import (
    Flag,
    HelpRequested,
    Kind,
    UsageError,
    Value,
    one_of,
    parse,
    parse_duration,
    parse_int,
    parse_quantity,
    spell_duration,
    usage,
)

FLAGS = (
    Flag("v", Kind.INT, "2", "How much."),
    Flag("pool-name", Kind.STRING, "", "Which pool."),
    Flag("secure", Kind.BOOL, "true", "TLS."),
    Flag("d", Kind.DURATION, "50ms", "How long."),
    Flag("size", Kind.QUANTITY, "64Mi", "How big."),
    Flag("names", Kind.STRINGS, "", "Which ones."),
    Flag("ports", Kind.INTS, "", "Which ports."),
    Flag("encoder", Kind.STRING, "", "Form.", one_of("json", error='invalid encoder "{value}"')),
)


@pytest.mark.parametrize(
    ("argv", "name", "expected"),
    [
        ([], "v", 2),
        ([], "secure", True),
        ([], "d", 0.05),
        ([], "size", 64 * 2**20),
        ([], "names", ()),
        (["-v4"], "v", 4),
        (["-v=4"], "v", 4),
        (["-v", "4"], "v", 4),
        (["--v=4"], "v", 4),
        (["--v", "4"], "v", 4),
        (["-v", "-1"], "v", -1),
        (["-v0x10"], "v", 16),
        (["--v", "1", "--v", "3"], "v", 3),
        (["-pool-name", "x"], "pool-name", "x"),
        (["--pool-name=a=b"], "pool-name", "a=b"),
        (["--pool-name", "--v"], "pool-name", "--v"),
        (["--pool-name", ""], "pool-name", ""),
        (["--pool-name="], "pool-name", ""),
        (["--secure"], "secure", True),
        (["--secure=F"], "secure", False),
        (["--secure=0"], "secure", False),
        (["--secure=TRUE"], "secure", True),
        (["--secure", "false"], "secure", False),
        (["--secure", "false", "-v", "4"], "v", 4),
        (["--secure", "x", "-v", "4"], "v", 4),
        (["-d", "1m30s"], "d", 90.0),
        (["--size", "10MiB"], "size", 10 * 2**20),
        (["--names", "a,b", "--names=c"], "names", ("a", "b", "c")),
        (["--ports", "1,0x2", "--ports=1"], "ports", (1, 2, 1)),
        (["--ports="], "ports", ()),
        (["--encoder", "JSON"], "encoder", "JSON"),
        (["--", "-v", "4"], "v", 2),
    ],
)
def test_a_command_line_is_read_as_go_reads_it(argv: list[str], name: str, expected: Value) -> None:
    assert parse(FLAGS, argv).values[name] == expected


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-x"], "flag provided but not defined: -x"),
        (["--x=1"], "flag provided but not defined: -x"),
        (["--v4"], "flag provided but not defined: -v4"),
        (["-vx"], "flag provided but not defined: -vx"),
        (["-d", "50"], 'invalid value "50" for flag -d: parse error'),
        (["-v4x"], 'invalid value "4x" for flag -v: parse error'),
        (["-v", ""], 'invalid value "" for flag -v: parse error'),
        (["-v=9223372036854775808"], 'invalid value "9223372036854775808" for flag -v: value out'),
        (["--secure=yes"], 'invalid boolean value "yes" for -secure: parse error'),
        (["--size=-1"], 'invalid value "-1" for flag -size: parse error'),
        (["--encoder", "xml"], 'invalid value "xml" for flag -encoder: invalid encoder "xml"'),
        (["--pool-name"], "flag needs an argument: -pool-name"),
        (["---v"], "bad flag syntax: ---v"),
        (["--=4"], "bad flag syntax: --=4"),
    ],
)
def test_what_go_refuses_is_refused_in_go_s_words(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(FLAGS, argv)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("argument", ["-h", "--help", "-help"])
def test_help_is_asked_for(argument: str) -> None:
    with pytest.raises(HelpRequested):
        parse(FLAGS, ["-v4", argument, "-x"])


@pytest.mark.parametrize(
    ("argv", "warning"),
    [
        (["--secure", "false"], "read '--secure false' as '--secure=false': write it that way"),
        (["stray", "-v4"], "ignored the argument 'stray': it belongs to no flag"),
        (["-"], "ignored the argument '-': it belongs to no flag"),
        (["--", "-v", "4"], "ignored everything after '--': '-v' '4'"),
    ],
)
def test_nothing_is_ignored_silently(argv: list[str], warning: str) -> None:
    assert parse(FLAGS, argv).warnings == (warning,)


def test_flags_that_were_given_are_told_apart_from_defaults() -> None:
    parsed = parse(FLAGS, ["-v", "2", "--secure"])
    assert parsed.given == {"v", "secure"}
    assert parsed.warnings == ()


def test_the_texts_are_what_stands_on_the_command_line() -> None:
    argv = ["-v0x3", "--secure", "false", "--names=a", "--names=b,c", "--pool-name", "--v"]
    assert parse(FLAGS, argv).texts == {
        "v": "0x3",
        "pool-name": "--v",
        "secure": "false",
        "d": "50ms",
        "size": "64Mi",
        "names": "a,b,c",
        "ports": "",
        "encoder": "",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), ("-0", 0), ("+4", 4), ("0x4", 4), ("0B100", 4), ("0o17", 15), ("017", 15),
        ("1_000", 1000), ("0x_ff", 255), ("0_7", 7), ("-9223372036854775808", -(2**63)),
    ],
)  # fmt: skip
def test_integers_are_go_literals(text: str, expected: int) -> None:
    assert parse_int(text) == expected


@pytest.mark.parametrize(
    "text", ["", "x", "1_", "_1", "1__0", "08", "0x", " 1", "1.0", "\u0661", "--1"]
)
def test_other_integers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="parse error"):
        parse_int(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0.0), ("-0", 0.0), ("50ms", 0.05), ("1.5s", 1.5), ("1m30s", 90.0), ("-2h", -7200.0),
        (".5s", 0.5), ("1.s", 1.0), ("3us", 3e-6), ("3\u00b5s", 3e-6), ("3\u03bcs", 3e-6),
        ("1ns", 1e-9), ("0.3ns", 0.0), ("1h1m1s1ms", 3661.001), ("2562047h", 9223369200.0),
    ],
)  # fmt: skip
def test_durations_are_go_s(text: str, expected: float) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "50", "+", "s", ".s", "1 s", "1d", "1S", "1s ", "--1s", "2562048h", "1e3s", "1_0s"]
)
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="parse error"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=2**53))
def test_whole_nanoseconds_keep_their_value(nanoseconds: int) -> None:
    assert round(parse_duration(f"{nanoseconds}ns") * 1e9) == pytest.approx(nanoseconds, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), ("64Mi", 2**26), ("10MiB", 10 * 2**20), ("25MB", 25_000_000), ("4k", 4000),
        ("1.5Ki", 1536), ("1e3", 1000), ("2E", 2 * 10**18), ("100m", 1), ("7b", 7), ("1.1", 2),
    ],
)  # fmt: skip
def test_quantities_are_kubernetes_s(text: str, expected: int) -> None:
    assert parse_quantity(text) == expected


@pytest.mark.parametrize(
    "text", ["", "B", "Mi", "-1", "1 Mi", "1mi", "1Kb i", "8Ei", "1e99", "10ee"]
)
def test_other_quantities_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"parse error|value out of range"):
        parse_quantity(text)


def test_the_usage_names_every_flag_with_kind_and_default() -> None:
    text = usage("epp", FLAGS)
    assert text.startswith("Usage of epp:\n  --d duration\n    \tHow long. (default 50ms)\n")
    assert "  --secure\n    \tTLS. (default true)\n" in text
    assert "  --pool-name string\n    \tWhich pool.\n" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "200ms"),
        (0.05, "50ms"),
        (0.000001, "0.001ms"),
        (1.0, "1s"),
        (6000.0, "6000s"),
        (1.5, "1.5s"),
    ],
)
def test_a_duration_is_spelt_so_that_it_can_be_read_again(seconds: float, text: str) -> None:
    assert spell_duration(seconds) == text
    assert parse_duration(text) == pytest.approx(seconds)


@given(st.integers(0, 10**15))
def test_a_duration_is_spelt_in_full(nanoseconds: int) -> None:
    assert parse_duration(spell_duration(nanoseconds / 1e9)) == nanoseconds / 1e9
