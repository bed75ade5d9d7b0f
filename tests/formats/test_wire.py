from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.formats.wire import (
    LEN,
    MAX_FIELDS,
    WireError,
    encode_varint,
    field_budget,
    fields,
    last,
    replace,
    uint32s,
)
from tests.formats.messages import CLASSES, message

IDS = st.lists(st.integers(0, 2**32 - 1) | st.sampled_from([0, 127, 128, 2**32 - 1]))


@given(IDS)
def test_packed_numbers_are_read_as_the_library_wrote_them(ids: list[int]) -> None:
    text = message("TokenizedInput", original_text="x", input_ids=ids)
    assert uint32s(text, fields(text), 2) == struct.pack(f"<{len(ids)}I", *ids)


@given(IDS)
def test_numbers_one_by_one_are_read_as_packed_ones(ids: list[int]) -> None:
    text = b"".join(b"\x10" + encode_varint(value) for value in ids)
    assert uint32s(text, fields(text), 2) == struct.pack(f"<{len(ids)}I", *ids)


def test_packed_numbers_may_come_in_many_pieces() -> None:
    text = (b"\x12\x01\x07" + b"\x12\x00" + b"\x10\xac\x02") * 30_000
    assert uint32s(text, fields(text), 2) == struct.pack("<2I", 7, 300) * 30_000


def test_no_number_goes_on_in_the_next_piece() -> None:
    text = b"\x12\x01\x87" + b"\x12\x01\x01"
    with pytest.raises(WireError, match="cut off"):
        uint32s(text, fields(text), 2)


def test_messages_in_a_message_have_one_budget_together() -> None:
    inner = b"\x08\x01" * 1000
    text = (b"\x12" + encode_varint(len(inner)) + inner) * 300
    budget = field_budget()
    together = (list(fields(text, part, budget)) for part in fields(text, None, budget))
    with pytest.raises(WireError, match="more than"):
        list(together)
    assert all(len(list(fields(text, part))) == 1000 for part in fields(text))


@given(st.text(), st.binary(), st.binary(), st.binary(max_size=300))
def test_one_field_is_replaced_and_no_other_byte(
    endpoint: str, data: bytes, unknown: bytes, new: bytes
) -> None:
    behind = b"\x7a" + encode_varint(len(unknown)) + unknown
    text = message("RawPredictRequest", endpoint=endpoint, http_body={"data": data or b"x"})
    outer = last(fields(text + behind), 2, LEN)
    assert outer is not None
    inner = last(fields(text, outer), 2, LEN)
    assert inner is not None
    replaced = replace(text + behind, (outer, inner), new)
    assert replaced.endswith(behind)
    read = CLASSES["RawPredictRequest"]()
    read.ParseFromString(replaced)
    assert (read.endpoint, read.http_body.data) == (endpoint, new)
    assert replace(text, (outer, inner), data or b"x") == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\x08", "a number is cut off"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "a number is cut off"),
        (b"\x0a\x02x", "a field is cut off"),
        (b"\x09\x00", "a field is cut off"),
        (b"\x00\x00", "a field has the number 0"),
        (b"\x0b", "wire type 3 is not supported"),
        (b"\x08\x01" * (MAX_FIELDS + 1), f"it has more than {MAX_FIELDS} fields"),
    ],
)
def test_bytes_that_are_no_message_are_told_apart(text: bytes, message: str) -> None:
    with pytest.raises(WireError, match=message):
        list(fields(text))


@pytest.mark.parametrize("packed", [b"\x80", b"\x01\x80", b"\xff" * 10 + b"\x01"])
def test_packed_numbers_that_do_not_end_are_refused(packed: bytes) -> None:
    text = b"\x12" + encode_varint(len(packed)) + packed
    with pytest.raises(WireError):
        uint32s(text, fields(text), 2)


@given(st.binary())
def test_any_bytes_are_fields_or_refused(text: bytes) -> None:
    try:
        found = list(fields(text))
    except WireError:
        return
    assert all(0 <= f.start <= f.end <= len(text) for f in found)
    assert [f.end for f in found] == sorted(f.end for f in found)
