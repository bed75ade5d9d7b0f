from __future__ import annotations

import json
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from epp.core.errors import BadRequestError
from epp.core.jsontext import MAX_TOKENS
from epp.formats.jsonbody import (
    TokenIdError,
    compact,
    pack_token_ids,
    present,
    read_token_ids,
    rename_model,
    token_limit,
)
from tests.formats.bodies import values


@pytest.mark.parametrize(
    ("members", "limit"),
    [
        ([b"7"], 7),
        ([b"0", b"7"], 0),
        ([b"7.0"], 7),
        ([b"7e2"], 700),
        ([b"null", b"7"], 7),
        ([b"-1", b"7"], 7),
        ([b"1.5", b'"7"', b"true", b"[7]", b"1e300", b"9" * 30, b"9" * 9000, b"x", b"7"], 7),
        ([b"null"], None),
        ([], None),
    ],
)
def test_a_limit_is_the_first_whole_number(members: list[bytes], limit: int | None) -> None:
    assert token_limit(*map(msgspec.Raw, members)) == limit


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"[1, 2]", struct.pack("<2I", 1, 2)),
        (b"[1.0]", struct.pack("<I", 1)),
        (b"[]", b""),
        (b"7", None),
        (b"null", None),
        (b'"x"', None),
        (b"[%b]" % (b"9" * 9000), None),
    ],
)
def test_token_ids_are_four_bytes_each(value: bytes, expected: bytes | None) -> None:
    assert read_token_ids(msgspec.Raw(value)) == expected


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"[1,-1]", "[1]: invalid value -1"),
        (b"[1.5]", "[0]: invalid value 1.5"),
        (b"[1,2,4294967296]", "[2]: invalid value 4294967296"),
        (b'["x"]', "[0]: invalid value x"),
        (b"[true]", "[0]: invalid value True"),
        (b"[[1]]", "[0]: invalid value a list"),
        (b"[{}]", "[0]: invalid value an object"),
        (b'["%b"]' % (b"x" * 70), f"[0]: invalid value {'x' * 64}..."),
    ],
)
def test_what_is_no_token_id_is_named(value: bytes, shown: str) -> None:
    with pytest.raises(TokenIdError) as raised:
        read_token_ids(msgspec.Raw(value))
    assert str(raised.value) == shown


@given(st.lists(st.integers(0, 2**32 - 1)))
def test_both_ways_to_pack_token_ids_agree(ids: list[int]) -> None:
    packed = pack_token_ids(list(ids))
    assert read_token_ids(msgspec.Raw(json.dumps(ids).encode())) == packed
    assert list(struct.unpack(f"<{len(ids)}I", packed)) == ids


@pytest.mark.parametrize(
    ("member", "expected"),
    [(b"null", b""), (b"[ ]", b""), (b"", b""), (b"[ 1 ]", b"[ 1 ]"), (b"7", b"7")],
)
def test_an_empty_member_is_absent(member: bytes, expected: bytes) -> None:
    assert present(msgspec.Raw(member)) == expected


@given(values("a", "b"))
def test_compact_changes_white_space_only(value: Any) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "replace")
    assume(b"Infinity" not in text and b"NaN" not in text)
    short = compact(msgspec.Raw(text))
    if b"\n" in text:
        assert len(short) < len(text)
    assert repr(json.loads(short)) == repr(json.loads(text))


def test_a_name_that_cannot_be_found_in_reasonable_time_is_the_clients_fault() -> None:
    body = b'{"x":"model","a":[%b]' % b",".join([b"[]"] * MAX_TOKENS) + b',"model":"m"}'
    with pytest.raises(BadRequestError, match="the model cannot be renamed: "):
        rename_model(body, "t")
