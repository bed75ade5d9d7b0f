from __future__ import annotations

import uuid

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import example, given
from hypothesis import strategies as st

from epp.http2.huffman import HuffmanError, decode

CODES = [
    f"{code:0{length}b}" for code, length in zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)
]
END_MARK = CODES[256]
SYMBOLS = {code: symbol for symbol, code in enumerate(CODES)}
ENCODER = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


def packed(bits: str) -> bytes:
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def padded(bits: str) -> bytes:
    return packed(bits + "1" * (-len(bits) % 8))


def decode_bit_by_bit(data: bytes) -> bytes | None:
    """The plain version: None where it is no Huffman-coded string."""
    text = bytearray()
    code = ""
    for bit in "".join(f"{byte:08b}" for byte in data):
        code += bit
        symbol = SYMBOLS.get(code)
        if symbol == 256:
            return None
        if symbol is not None:
            text.append(symbol)
            code = ""
    return bytes(text) if len(code) < 8 and "0" not in code else None


def decode_or_none(data: bytes) -> bytes | None:
    try:
        return decode(data)
    except HuffmanError:
        return None


@pytest.mark.parametrize(
    ("coded", "text"),
    [
        ("", b""),
        ("f1e3c2e5f23a6ba0ab90f4ff", b"www.example.com"),
        ("a8eb10649cbf", b"no-cache"),
        ("25a849e95ba97d7f", b"custom-key"),
        ("25a849e95bb8e8b4bf", b"custom-value"),
        ("6402", b"302"),
        ("640eff", b"307"),
        ("aec3771a4b", b"private"),
        ("d07abe941054d444a8200595040b8166e082a62d1bff", b"Mon, 21 Oct 2013 20:13:21 GMT"),
        ("9d29ad171863c78f0b97c8e9ae82ae43d3", b"https://www.example.com"),
        ("9bd9ab", b"gzip"),
        (
            "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b106"
            "3d5007",
            b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ),
    ],
)
def test_the_strings_of_the_rfc_are_read(coded: str, text: bytes) -> None:
    assert decode(bytes.fromhex(coded)) == text


@pytest.mark.parametrize("symbol", range(256))
def test_every_symbol_is_read(symbol: int) -> None:
    assert decode(padded(CODES[symbol])) == bytes([symbol])


@given(st.binary())
@example(bytes(range(256)))
@example(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
@example(str(uuid.UUID(int=1 << 100)).encode())
def test_what_was_coded_is_read(text: bytes) -> None:
    assert decode(ENCODER.encode(text)) == text


@given(st.binary() | st.lists(st.sampled_from(CODES)).map("".join).map(padded))
def test_bytes_mean_what_they_mean_bit_by_bit(data: bytes) -> None:
    assert decode_or_none(data) == decode_bit_by_bit(data)


@pytest.mark.parametrize("before", [b"", b"0", b"a:", b"\x00\xff"])
def test_the_end_mark_is_refused_wherever_it_stands(before: bytes) -> None:
    bits = "".join(CODES[byte] for byte in before)
    for data in (padded(bits + END_MARK), padded(bits + END_MARK + CODES[ord("0")])):
        with pytest.raises(HuffmanError):
            decode(data)


@pytest.mark.parametrize("length", range(8, 25, 8))
def test_a_whole_byte_of_padding_or_more_is_refused(length: int) -> None:
    with pytest.raises(HuffmanError):
        decode(packed("1" * length))
    with pytest.raises(HuffmanError):
        decode(padded(CODES[ord("a")]) + packed("1" * length))


@pytest.mark.parametrize("padding", ["000", "110", "011", "101"])
def test_padding_with_a_zero_is_refused(padding: str) -> None:
    code = CODES[ord("a")]
    assert decode(packed(code + "111")) == b"a"
    with pytest.raises(HuffmanError):
        decode(packed(code + padding))


def test_a_failed_string_does_not_spoil_the_next() -> None:
    for _ in range(2):
        assert decode_or_none(padded(END_MARK) * 3) is None
        assert decode(padded(CODES[ord("a")])) == b"a"
