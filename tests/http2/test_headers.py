from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st

from epp.http2.headers import HeaderFields, encode_text, encode_trailers, read_fields

REQUEST = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"))


def read(*more: tuple[bytes, bytes]) -> HeaderFields:
    return read_fields([*REQUEST, *more])


def test_a_request_has_its_path_and_fields() -> None:
    fields = read((b"x-a", b"1"), (b"x-a", b"2"))
    assert (fields.path, fields.is_request, fields.is_malformed) == ("/a", True, False)
    assert fields.fields[b"x-a"] == b"1,2"
    assert not fields.are_trailers


@pytest.mark.parametrize(
    "field",
    [
        (b":path", b"/b"),
        (b":status", b"200"),
        (b"Upper", b"x"),
        (b"with space", b"x"),
        (b"with:colon", b"x"),
        (b"null\0", b"x"),
        (b"delete\x7f", b"x"),
        (b"latin-\xe9", b"x"),
        (b"x-value", b"one\ntwo"),
        (b"x-value", b"one\rtwo"),
        (b"x-value", b"one\0"),
        (b"", b"x"),
        (b"connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"te", b"gzip"),
    ],
)
def test_a_field_that_must_not_be_there_makes_it_malformed(field: tuple[bytes, bytes]) -> None:
    assert read(field).is_malformed


def test_a_header_list_has_a_size() -> None:
    assert read().size_bytes == len(b"POSThttp/a") + 3 * 100
    assert read((b"x", b"1" * 50), (b"x", b"2" * 50)).size_bytes == read().size_bytes + 100 + 101


def test_pseudo_fields_stand_first() -> None:
    assert read_fields([(b"x", b"1"), *REQUEST]).is_malformed


@pytest.mark.parametrize(
    ("content_type", "is_grpc"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc;x=1", True),
        (b"application/grpc-web", False),
        (b"text/plain", False),
    ],
)
def test_grpc_is_told_by_the_content_type(content_type: bytes, is_grpc: bool) -> None:
    assert read((b"content-type", content_type)).is_grpc is is_grpc


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"5S", 5.0),
        (b"100m", 0.1),
        (b"2M", 120.0),
        (b"1H", 3600.0),
        (b"7u", 7e-6),
        (b"8n", 8e-9),
        (b"5", None),
        (b"123456789S", None),
        (b"-1S", None),
        (b"1.5S", None),
    ],
)
def test_a_deadline_is_read_in_every_unit(text: bytes, seconds: float | None) -> None:
    assert read((b"grpc-timeout", text)).timeout_seconds == (
        None if seconds is None else pytest.approx(seconds)
    )


@pytest.mark.parametrize(
    ("text", "length"), [(b"0", 0), (b"12", 12), (b"x", -1), (b"", -1), (b"1" * 20, -1)]
)
def test_a_content_length_is_a_number(text: bytes, length: int) -> None:
    assert read((b"content-length", text)).content_length == length


@given(st.text(max_size=60))
def test_a_message_is_percent_encoded(text: str) -> None:
    encoded = encode_text(text)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert unquote_to_bytes(encoded) == text.encode("utf-8", "replace")[:1000]


def test_trailers_can_be_read_by_other_libraries() -> None:
    block = encode_trailers(10, "50% no", [(b"x-more", b"1")])
    assert Decoder().decode(block) == [
        ("grpc-status", "10"),
        ("grpc-message", "50%25 no"),
        ("x-more", "1"),
    ]
    assert Decoder().decode(encode_trailers(0, "")) == [("grpc-status", "0")]
