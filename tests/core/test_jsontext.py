from __future__ import annotations

import json
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.jsontext import replace_member


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"model":"a"}', b'{"model":"B"}'),
        (b' \r\n{ "model" :\t"a" , "n":1}\n', b' \r\n{ "model" :\t"B" , "n":1}\n'),
        (b'{"model":"a","model":"b"}', b'{"model":"B","model":"B"}'),
        (b'{"mod\\u0065l":"a"}', b'{"mod\\u0065l":"B"}'),
        (b'{"model\\u0000":"a","model":"b"}', b'{"model\\u0000":"a","model":"B"}'),
        (b'{"x":{"model":"a"},"model":"b"}', b'{"x":{"model":"a"},"model":"B"}'),
        (b'{"x":[{"model":"a"}],"model":"b"}', b'{"x":[{"model":"a"}],"model":"B"}'),
        (b'{"x":"model","model":"b"}', b'{"x":"model","model":"B"}'),
        (b'{"x":"\\"model\\":\\"a","model":"b"}', b'{"x":"\\"model\\":\\"a","model":"B"}'),
        (b'{"x":"}],{","model":"b"}', b'{"x":"}],{","model":"B"}'),
        (b'{"x":"\\\\","model":"b"}', b'{"x":"\\\\","model":"B"}'),
        (b'{"Model":"a","model":"b"}', b'{"Model":"a","model":"B"}'),
        (b'{"model":{"model":[1,{}]},"n":2}', b'{"model":"B","n":2}'),
        (b'{"model":[],"n":2}', b'{"model":"B","n":2}'),
        (b'{"model":null }', b'{"model":"B" }'),
        (b'{"model":-1.5e3,"n":9007199254740993}', b'{"model":"B","n":9007199254740993}'),
        (b'{"\xff":1,"model":"\xff"}', b'{"\xff":1,"model":"B"}'),
        (b"{}", b'{"model":"B"}'),
        (b" { } ", b' {"model":"B" } '),
        (b'{"n":1}', b'{"model":"B","n":1}'),
    ],
)
def test_only_the_value_of_the_member_changes(text: bytes, expected: bytes) -> None:
    assert replace_member(text, "model", b'"B"') == expected


class Written(NamedTuple):
    """One JSON text twice: as it is, and as it is to become."""

    before: str
    after: str


SPACE = st.text(" \t\r\n", max_size=3)
ESCAPED_NAMES = st.sampled_from(['"model"', '"\\u006dodel"', '"mode\\u006C"'])
STRINGS = st.text(st.characters(codec="utf-8"), max_size=8).flatmap(
    lambda s: st.sampled_from([json.dumps(s), json.dumps(s, ensure_ascii=False)])
)
KEYS = STRINGS | ESCAPED_NAMES | st.sampled_from(['"Model"', '"model "', '"a\\"model"', '""'])
LEAVES = (
    STRINGS
    | st.integers().map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.sampled_from(["null", "true", "false", "1E400", "-0", '"model"', '"model\\":1"'])
)


@st.composite
def an_array(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    items = draw(st.lists(values, max_size=3))
    return "[" + ",".join([draw(SPACE) + item + draw(SPACE) for item in items]) + "]"


@st.composite
def an_object(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    return draw(written(values)).before


@st.composite
def written(draw: st.DrawFn, values: st.SearchStrategy[str]) -> Written:
    """An object in odd white space; ``after`` has 7 wherever the name "model" has a value."""
    pieces: list[Written] = []
    for key, value in draw(st.lists(st.tuples(KEYS, values), max_size=4)):
        head = draw(SPACE) + key + draw(SPACE) + ":" + draw(SPACE)
        tail = draw(SPACE)
        new = "7" if json.loads(key) == "model" else value
        pieces.append(Written(head + value + tail, head + new + tail))
    inside = draw(SPACE) if not pieces else ""
    before = "{" + inside + ",".join([p.before for p in pieces]) + "}"
    after = "{" + inside + ",".join([p.after for p in pieces]) + "}"
    return Written(before, after)


VALUES = st.recursive(LEAVES, lambda inner: an_array(inner) | an_object(inner), max_leaves=6)


@given(written(VALUES), SPACE, SPACE)
def test_every_other_byte_stays_as_it_was(text: Written, before: str, after: str) -> None:
    if text.before == text.after:  # no such member, or its value is 7 already
        return
    whole = (before + text.before + after).encode()
    assert replace_member(whole, "model", b"7") == (before + text.after + after).encode()


@given(written(VALUES))
def test_the_member_has_the_value_afterwards(text: Written) -> None:
    changed = json.loads(replace_member(text.before.encode(), "model", b"7"))
    assert changed == json.loads(text.before) | {"model": 7}
