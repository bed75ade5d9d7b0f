"""The decoder against the ``hpack`` package, which is the plain version.

The two agree on every block: the same list and the same table, or an error in both. Only what an
error is called differs, and that the package tells apart what may never be indexed.
"""

from __future__ import annotations

from typing import TypeAlias

import hpack
import pytest
from hpack.hpack import encode_integer
from hypothesis import given
from hypothesis import strategies as st

from epp.http2.hpack import BlockCache, Field, HeaderDecoder, HpackError

LIMIT = 2000
# A field list as (name, value, never to be indexed), the table sizes that are set before it, and
# whether Huffman coding is used.
Encoding: TypeAlias = tuple[list[tuple[bytes, bytes, bool]], list[int], bool]
# What a block is and the dynamic table after it, newest first; None where it is an error.
Result: TypeAlias = tuple[list[Field], list[Field]] | None

NAMES = st.sampled_from([b":path", b":method", b"a", b"traceparent", b""]) | st.binary(max_size=80)
VALUES = (
    st.sampled_from([b"GET", b"/", b"", b"b"])
    | st.binary(max_size=60)
    | st.text("0123456789abcdef-", max_size=60).map(str.encode)
    | st.integers(0, 1500).map(lambda length: b"v" * length)
)
LISTS = st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=6)
SIZES = st.lists(st.sampled_from([0, 33, 34, 50, 100, 200, 1000, 4096]), max_size=2)
ENCODINGS = st.lists(st.tuples(LISTS, SIZES, st.booleans()), min_size=1, max_size=8)


def encoded(encodings: list[Encoding]) -> list[bytes]:
    encoder = hpack.Encoder()
    blocks: list[bytes] = []
    for made, sizes, is_huffman in encodings:
        for size in sizes:
            if size != encoder.header_table_size:  # the package forgets what it sets twice
                encoder.header_table_size = size
        blocks.append(encoder.encode(made, huffman=is_huffman))
    return blocks


BLOCKS = ENCODINGS.map(encoded)


@st.composite
def damaged_blocks(draw: st.DrawFn) -> list[bytes]:
    """Blocks of an encoder, some bytes of which are changed, inserted or lost."""
    blocks = [bytearray(block) for block in draw(BLOCKS)]
    for block in draw(st.lists(st.sampled_from(blocks), min_size=1, max_size=4)):
        start = draw(st.integers(0, len(block)))
        end = draw(st.integers(start, min(start + 2, len(block))))
        block[start:end] = draw(
            st.binary(max_size=2) | st.sampled_from([b"\xff", b"\x7f", b"\x20"])
        )
    return [bytes(block) for block in blocks]


def results_of_the_package(blocks: list[bytes]) -> list[Result]:
    decoder = hpack.Decoder(LIMIT)
    results: list[Result] = []
    for block in blocks:
        try:
            fields = [(name, value) for name, value in decoder.decode(block, raw=True)]
        except hpack.HPACKError:
            return [*results, None]
        results.append((fields, list(decoder.header_table.dynamic_entries)))
    return results


def table(decoder: HeaderDecoder) -> list[Field]:
    """The dynamic table, newest first, read as a peer can: one index at a time."""
    fields: list[Field] = []
    try:
        while True:
            index = encode_integer(62 + len(fields), 7)
            index[0] |= 0x80
            fields += decoder.decode(bytes(index))
    except HpackError:
        return fields


def results_of_ours(blocks: list[bytes]) -> list[Result]:
    decoder = HeaderDecoder(LIMIT)
    results: list[Result] = []
    for block in blocks:
        try:
            fields = decoder.decode(block)
        except HpackError:
            return [*results, None]
        results.append((fields, table(decoder)))
    return results


@given(ENCODINGS)
def test_what_an_encoder_sent_is_read(encodings: list[Encoding]) -> None:
    decoder = HeaderDecoder(1 << 20)
    for (made, _, _), block in zip(encodings, encoded(encodings), strict=True):
        assert decoder.decode(block) == [(name, value) for name, value, _ in made]


@given(BLOCKS | damaged_blocks() | st.lists(st.binary(max_size=40), max_size=4))
def test_whatever_comes_is_read_as_the_package_reads_it(blocks: list[bytes]) -> None:
    assert results_of_ours(blocks) == results_of_the_package(blocks)


@given(BLOCKS, st.lists(st.integers(0, 3), max_size=40))
def test_blocks_read_through_the_cache_are_what_they_are_without(
    blocks: list[bytes], order: list[int]
) -> None:
    plain = HeaderDecoder(LIMIT)
    cache: BlockCache[list[Field]] = BlockCache(HeaderDecoder(LIMIT), list)
    for block in [*blocks, *(blocks[number % len(blocks)] for number in order)]:
        try:
            expected = plain.decode(block)
        except HpackError:
            with pytest.raises(HpackError):
                cache.read(block)
            return
        assert cache.read(block) == expected
