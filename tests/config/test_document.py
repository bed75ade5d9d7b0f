from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.config.document import MAX_BYTES, read_document
from epp.config.findings import ConfigError, Severity
from tests.config.loading import dump
from tests.config.told import errors, told


def value_of(text: str) -> Any:
    return read_document(text, "c.yaml").value


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read_document(text, "c.yaml")
    return errors(raised.value.findings)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing\n", None),
        ("null", None),
        ("a: 1\n---\na: [\n", {"a": 1}),
        ('{"a": {"b": [1, 2.5, "x", null, true]}}', {"a": {"b": [1, 2.5, "x", None, True]}}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("a: yes\nb: off\nc: 010\nd: '12'", {"a": True, "b": False, "c": 8, "d": "12"}),
        ("1: a\ntrue: b\n~: c", {"1": "a", "true": "b", "~": "c"}),
        ("\ufeffa: 1", {"a": 1}),
        ("a: {<<: {x: 1, y: 1}, x: 2}", {"a": {"x": 2, "y": 1}}),
        ("a: {x: 2, <<: [{x: 1, y: 1}, {y: 3, z: 3}]}", {"a": {"x": 2, "y": 1, "z": 3}}),
        ("a: {'<<': 1}", {"a": {"<<": 1}}),
    ],
)
def test_a_document_becomes_plain_values(text: str, value: Any) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000.0),
        ("1.5e300", 1.5e300),
        (".5E-1", 0.05),
        ("1e400", "1e400"),
        ("-.inf", float("-inf")),
        ("08", 8.0),
        ("-017", -15),
        ("0o17", 15),
        ("0x_1F", 31),
        ("-0b11", -3),
        ("1_000", 1000),
        ("0", 0),
        ("9223372036854775808", 2**63),
        ("190:20:30", "190:20:30"),
        ("2001-99-99", "2001-99-99"),
        ("2001-01-01", "2001-01-01"),
        ("y", True),
        ("N", False),
        ("oN", "oN"),
        ("=", "="),
        ("1e", "1e"),
        ("'1e3'", "1e3"),
        ("!!str 1e3", "1e3"),
        ("!!float 1", 1.0),
    ],
)
def test_a_plain_scalar_is_what_go_reads(text: str, value: Any) -> None:
    read = value_of(f"a: {text}")["a"]
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: ]", "c.yaml:2: no YAML: did not find expected node content"),
        ("a: 1\na: 2", 'c.yaml:2: key "a" already set in map'),
        ("x:\n  p: {a: 1,\n   a: 1}", 'c.yaml:3: key "a" already set in map'),
        ("a: *b", "c.yaml:1: no YAML: found undefined alias"),
        ("a:\n  !!int ''", "c.yaml:2: no int"),
        ("a: !!bool x", "c.yaml:1: no bool"),
        ("a: !!timestamp x", "c.yaml:1: no timestamp"),
        ("a: !!binary zz", "c.yaml:1: no YAML: failed to decode base64 data: "),
        (
            "a: !!python/object/apply:os.system [x]\nb: !x y",
            "c.yaml:2: no YAML: could not determine a constructor for the tag '!x'",
        ),
        ("a: {<<: 1}", "c.yaml:1: only mappings can be merged"),
        ("a: " + "9" * 200, "c.yaml:1: this number is too long"),
        ("a: b\0", "c.yaml:1: no YAML: unacceptable character"),
        ("a: \ud800", "c.yaml:1: no YAML: 'utf-8' codec can't encode character"),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_line(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert problem in found


def test_all_repeated_keys_are_reported() -> None:
    assert problems("a: 1\na: 1\nb: {c: 1, c: 1}") == [
        'c.yaml:2: key "a" already set in map',
        'c.yaml:3: key "c" already set in map',
    ]


BOMB = "a0: &a0 [x]\n" + "".join(
    [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)]
)
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 12)]
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BOMB, "more than 100000 values"),
        (MERGE_BOMB, "more than 100000 values"),
        ("a: [" + "x," * 110_000 + "]", "more than 100000 values"),
        ("a: &a [*a]", "maximum recursion depth exceeded"),
        ("a: &a {<<: *a}", "maximum recursion depth exceeded"),
        ("[" * 500_000, "exceeded maximum nesting depth"),
        ("{a: " * 200_000, "exceeded maximum nesting depth"),
        ("- " * 200_000, "exceeded maximum nesting depth"),
        ("x" * 2 * MAX_BYTES, "larger than 1048576 bytes"),
        ("a: " + "1" * 100_000, "this number is too long"),
    ],
    ids=["bomb", "merge-bomb", "list", "ring", "merge-ring", "[", "{", "-", "large", "number"],
)
def test_a_hostile_file_is_refused(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert problem in found
    assert len(found) < 200


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("$.plugins[1].type", "c.yaml:4: plugins[1].type: wrong"),
        ("$.plugins[1].name", "c.yaml:4: plugins[1].name: wrong"),
        ("$.plugins[7].name.x", "c.yaml:2: plugins[7].name.x: wrong"),
        ("$.other", "c.yaml:1: other: wrong"),
        ("$", "c.yaml:1: wrong"),
    ],
)
def test_a_problem_has_the_line_of_the_nearest_place_that_is_there(path: str, place: str) -> None:
    document = read_document("kind: x\nplugins:\n- type: a\n- type: b\n", "c.yaml")
    assert told([document.places.finding(Severity.ERROR, path, "x", "wrong")]) == [place]


# Without the line breaks that PyYAML itself writes wrongly.
TEXT = st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029\ufeff")
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(TEXT, max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc<.[]", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(PLAIN, st.booleans())
def test_what_yaml_writes_is_read_back(value: Any, is_flow: bool) -> None:
    text = dump(value, default_flow_style=is_flow, allow_unicode=True)
    assert value_of(text) == value


@given(st.text() | st.text("{}[]:,-?!&*<>|'\"#% \n\ta1"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_document(text, "c.yaml")
    except ConfigError as error:
        found = errors(error.findings)
    else:
        return
    assert found
    assert all("\n" not in problem for problem in found)
