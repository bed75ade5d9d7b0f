import pytest

from epp.simulator.flags import Kind, parse_arguments, parse_duration, parse_yaml

KINDS = {"switch": Kind.SWITCH, "one": Kind.SCALAR, "many": Kind.LIST, "v": Kind.SCALAR}


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ("--one 1 --one 2", {"one": ["2"]}),
        ("--one=a=b", {"one": ["a=b"]}),
        ("--one -1", {"one": ["-1"]}),
        ("--many a b c --one 1", {"many": ["a", "b", "c"], "one": ["1"]}),
        ("--many=a --many b", {"many": ["a", "b"]}),
        ("--many", {"many": []}),
        ("--switch --one 1", {"switch": ["true"], "one": ["1"]}),
        ("--switch=false", {"switch": ["false"]}),
        ("--switch false", {"switch": ["false"]}),
        ("--many a -v 4", {"many": ["a"], "v": ["4"]}),
        ("--v=4", {"v": ["4"]}),
    ],
)
def test_flags_take_the_arguments_of_their_kind(
    arguments: str, values: dict[str, list[str]]
) -> None:
    flags = parse_arguments(arguments.split(), KINDS)
    assert (flags.values, flags.ignored, flags.problems) == (values, [], [])


def test_empty_items_of_a_list_are_skipped() -> None:
    assert parse_arguments(["--many", "", "a"], KINDS).values == {"many": ["a"]}


@pytest.mark.parametrize(
    ("arguments", "ignored"),
    [
        ("--gpu-memory-utilization 0.9 --one 1", ["--gpu-memory-utilization"]),
        ("--unknown=3 --one 1", ["--unknown=3"]),
        ("serve --one 1", ["serve"]),
    ],
)
def test_unknown_flags_are_ignored_with_their_values(arguments: str, ignored: list[str]) -> None:
    flags = parse_arguments(arguments.split(), KINDS)
    assert (flags.values, flags.ignored) == ({"one": ["1"]}, ignored)


def test_a_missing_value_is_a_problem() -> None:
    assert parse_arguments(["--one", "--switch"], KINDS).problems == ["--one: a value is missing"]


def test_yaml_is_spelled_as_on_the_command_line() -> None:
    flags = parse_yaml("one: 5\nswitch: true\nmany: ['x', {name: y}]\nother: 1\nv:\n", KINDS)
    assert flags.values == {"one": ["5"], "switch": ["true"], "many": ["x", '{"name":"y"}']}
    assert flags.ignored == ["other"]


@pytest.mark.parametrize("text", ["[1]", "one: [1, 2]", "{", "just text"])
def test_other_yaml_is_a_problem(text: str) -> None:
    assert len(parse_yaml(text, KINDS).problems) == 1


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("15", 15_000_000),
        ("500ms", 500_000_000),
        ("1.5s", 1_500_000_000),
        ("250us", 250_000),
        ("1h2m3s", 3_723_000_000_000),
        (".5s", 500_000_000),
    ],
)
def test_durations_are_those_of_go_or_milliseconds(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "-1", "-1s", "1.5", "s", "1 s", "1d", "9" * 30, "1s2"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)
