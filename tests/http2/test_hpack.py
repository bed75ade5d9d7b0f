from __future__ import annotations

from typing import SupportsIndex, TypeAlias

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.http2.hpack import (
    INDEXED_STATUS_200,
    MAX_KEPT_BLOCK_BYTES,
    MAX_KEPT_BLOCKS,
    NO_TABLE,
    BlockCache,
    Field,
    HeaderDecoder,
    HpackError,
    literal_field,
)

LIMIT = 65536
Fields: TypeAlias = list[Field]

INSERT_A = b"\x40\x01a\x01b"  # a: b, to be indexed
A = ("a", "b")
NEWEST = b"\xbe"  # index 62


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


def fields(*pairs: tuple[str, str]) -> Fields:
    return [(name.encode(), value.encode()) for name, value in pairs]


def decoder_with(*blocks: bytes, limit: int = LIMIT, table: int = 4096) -> HeaderDecoder:
    decoder = HeaderDecoder(limit, table)
    for block in blocks:
        decoder.decode(block)
    return decoder


# The examples of RFC 7541, appendix C.2.
@pytest.mark.parametrize(
    ("block", "pair", "is_indexed"),
    [
        (
            "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
            ("custom-key", "custom-header"),
            True,
        ),
        ("040c2f73616d706c652f70617468", (":path", "/sample/path"), False),
        ("100870617373776f726406736563726574", ("password", "secret"), False),
        ("82", (":method", "GET"), False),
    ],
)
def test_each_form_of_a_field_is_read(block: str, pair: tuple[str, str], is_indexed: bool) -> None:
    decoder = HeaderDecoder(LIMIT)
    assert decoder.decode(hexed(block)) == fields(pair)
    if is_indexed:
        assert decoder.decode(NEWEST) == fields(pair)
    else:
        with pytest.raises(HpackError):
            decoder.decode(NEWEST)


REQUESTS = [
    fields(
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
    ),
    fields(
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
        ("cache-control", "no-cache"),
    ),
    fields(
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ),
]
RESPONSES = [
    fields(
        (":status", "302"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ),
    fields(
        (":status", "307"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ),
    fields(
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        ("location", "https://www.example.com"),
        ("content-encoding", "gzip"),
        ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ),
]


@pytest.mark.parametrize(
    "blocks",
    [
        pytest.param(
            [
                "828684410f7777772e6578616d706c652e636f6d",
                "828684be58086e6f2d6361636865",
                "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
            ],
            id="C.3, plain",
        ),
        pytest.param(
            [
                "828684418cf1e3c2e5f23a6ba0ab90f4ff",
                "828684be5886a8eb10649cbf",
                "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
            ],
            id="C.4, Huffman",
        ),
    ],
)
def test_the_requests_of_the_rfc_are_read(blocks: list[str]) -> None:
    decoder = HeaderDecoder(LIMIT)
    assert [decoder.decode(hexed(block)) for block in blocks] == REQUESTS


@pytest.mark.parametrize(
    "blocks",
    [
        pytest.param(
            [
                "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a3231"
                "20474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
                "4803333037c1c0bf",
                "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a697077"
                "38666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d616765"
                "3d333630303b2076657273696f6e3d31",
            ],
            id="C.5, plain",
        ),
        pytest.param(
            [
                "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad17"
                "1863c78f0b97c8e9ae82ae43d3",
                "4883640effc1c0bf",
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6"
                "c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
            ],
            id="C.6, Huffman",
        ),
    ],
)
def test_the_responses_of_the_rfc_are_read_with_a_table_that_evicts(blocks: list[str]) -> None:
    decoder = decoder_with(hexed("3fe101"))  # a table of 256 bytes
    assert [decoder.decode(hexed(block)) for block in blocks] == RESPONSES


@pytest.mark.parametrize(
    "block",
    [
        pytest.param("80", id="index 0"),
        pytest.param("8001610162", id="index 0, then what would be a literal"),
        pytest.param("be", id="an index behind an empty table"),
        pytest.param("ffffffffff07", id="an index of billions"),
        pytest.param("7f00", id="a name behind an empty table, then nothing"),
        pytest.param("7f000161", id="a name behind an empty table"),
        pytest.param("0f2f0161", id="the same without indexing"),
        pytest.param("ff", id="an integer that does not begin"),
        pytest.param("ff80", id="an integer that breaks off"),
        pytest.param("0001617f808080808000" + "62" * 127, id="an integer of six bytes more"),
        pytest.param("ffffffffffffff7f", id="an integer over 64 bits"),
        pytest.param("00", id="a literal without a name"),
        pytest.param("40", id="the same, to be indexed"),
        pytest.param("10", id="the same, never to be indexed"),
        pytest.param("000261", id="a name that breaks off"),
        pytest.param("000161", id="a literal without a value"),
        pytest.param("0001610262", id="a value that breaks off"),
        pytest.param("0001617fffffffff07", id="a value of gigabytes"),
        pytest.param("00016181fe", id="a value that breaks off in a code"),
        pytest.param("00016181ff", id="a value that is padding only"),
        pytest.param("00016184ffffffff", id="a value with the end mark"),
        pytest.param("0081ff0162", id="a name that is padding only"),
        pytest.param("3fe21f", id="a table of one byte over the limit"),
        pytest.param("3f", id="a table size that breaks off"),
        pytest.param("8220", id="a table size after a field"),
    ],
)
def test_a_malformed_block_is_an_error(block: str) -> None:
    with pytest.raises(HpackError):
        HeaderDecoder(LIMIT).decode(hexed(block))


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param("000000", [("", "")], id="an empty name and value"),
        pytest.param("00016180", [("a", "")], id="an empty Huffman string"),
        pytest.param("3fe11f", [], id="the largest table allowed"),
        pytest.param("203fe11f82", [(":method", "GET")], id="two table sizes, then a field"),
        pytest.param("0001617f8080808000" + "62" * 127, [("a", "b" * 127)], id="zeros in a length"),
    ],
)
def test_what_is_odd_but_allowed_is_read(block: str, expected: list[tuple[str, str]]) -> None:
    assert HeaderDecoder(LIMIT).decode(hexed(block)) == fields(*expected)


@pytest.mark.parametrize("limit", [2 * (2 + 32), 2 * (2 + 32) + 1])
def test_a_list_may_be_as_long_as_the_limit(limit: int) -> None:
    assert len(HeaderDecoder(limit).decode(INSERT_A + NEWEST)) == 2


def test_a_list_over_the_limit_is_an_error() -> None:
    with pytest.raises(HpackError):
        HeaderDecoder(2 * (2 + 32) - 1).decode(INSERT_A + NEWEST)


class CountedBytes(bytes):
    """Bytes that count how often they are looked at."""

    looks = 0

    def __getitem__(self, key: SupportsIndex | slice) -> int | bytes:  # type: ignore[override]
        self.looks += 1
        return super().__getitem__(key)


def test_a_bomb_is_put_out_where_the_list_passes_the_limit() -> None:
    decoder = decoder_with(b"\x40\x01a" + b"\x7f\xa1\x1e" + b"b" * 4000)
    bomb = CountedBytes(NEWEST * 1_000_000)
    with pytest.raises(HpackError):
        decoder.decode(bomb)
    assert bomb.looks == LIMIT // (1 + 4000 + 32) + 1


def test_table_sizes_without_end_are_read_once_each() -> None:
    block = CountedBytes(b"\x20" * 10_000)
    assert decoder_with(INSERT_A).decode(block) == []
    assert block.looks <= 2 * len(block)


def test_a_table_holds_what_fits_and_forgets_the_oldest_first() -> None:
    decoder = decoder_with(hexed("3f25"))  # 68 bytes: two fields of 34
    decoder.decode(b"\x40\x01a\x01b" + b"\x40\x01c\x01d")
    assert decoder.decode(b"\xbe\xbf") == fields(("c", "d"), ("a", "b"))
    decoder.decode(b"\x40\x01e\x01f")
    assert decoder.decode(b"\xbe\xbf") == fields(("e", "f"), ("c", "d"))
    with pytest.raises(HpackError):
        decoder.decode(b"\xc0")


def test_every_entry_of_a_full_table_is_found_by_its_number() -> None:
    names = [bytes([number]) for number in range(4096 // 33)]
    decoder = decoder_with(*(b"\x40\x01" + name + b"\x00" for name in reversed(names)))
    indexes = [indexed(62 + number) for number in range(len(names))]
    assert decoder.decode(b"".join(indexes)) == [(name, b"") for name in names]


def indexed(index: int) -> bytes:
    return bytes([0x80 + index]) if index < 127 else bytes([0xFF, index - 127])


def test_a_field_over_the_table_size_empties_the_table_and_is_read() -> None:
    decoder = decoder_with(hexed("3f03"), INSERT_A)  # 34 bytes
    assert decoder.decode(b"\x40\x01a\x02bc") == fields(("a", "bc"))
    with pytest.raises(HpackError):
        decoder.decode(NEWEST)


def test_a_field_may_take_its_name_from_the_one_it_evicts() -> None:
    decoder = decoder_with(hexed("3f03"), INSERT_A)
    assert decoder.decode(b"\x7e\x01c") == fields(("a", "c"))
    assert decoder.decode(NEWEST) == fields(("a", "c"))


def test_a_table_of_no_size_is_empty_and_stays_so_when_it_grows() -> None:
    decoder = decoder_with(INSERT_A, b"\x20", hexed("3fe11f"))
    with pytest.raises(HpackError):
        decoder.decode(NEWEST)


def test_a_table_may_grow_to_what_was_advertised_once_its_size_says_so() -> None:
    entry = b"\x40\x01a" + b"\x7f\xa1\x1e" + b"b" * 4000
    decoder = decoder_with(entry, entry, table=8192)
    with pytest.raises(HpackError):
        decoder.decode(b"\xbf")
    decoder = decoder_with(hexed("3fe13f"), entry, entry, table=8192)
    assert len(decoder.decode(b"\xbe\xbf")) == 2
    with pytest.raises(HpackError):
        decoder.decode(hexed("3fe23f"))


def test_a_table_begins_with_the_default_size_though_less_was_advertised() -> None:
    decoder = decoder_with(INSERT_A, table=0)
    assert decoder.decode(NEWEST) == fields(A)
    with pytest.raises(HpackError):
        decoder.decode(b"\x21")


@pytest.mark.parametrize(
    ("block", "changes"),
    [
        pytest.param(b"", False, id="nothing"),
        pytest.param(b"\x82\xbe", False, id="indexes"),
        pytest.param(b"\x00\x01a\x01b", False, id="a literal"),
        pytest.param(b"\x10\x01a\x01b", False, id="a literal never to be indexed"),
        pytest.param(b"\x0f\x2f\x01c", False, id="a literal with an indexed name"),
        pytest.param(INSERT_A, True, id="an insertion"),
        pytest.param(b"\x82" + INSERT_A, True, id="an insertion behind an index"),
        pytest.param(b"\x7e\x01c", True, id="an insertion with an indexed name"),
        pytest.param(hexed("4001617fa11f") + b"b" * 4128, True, id="an insertion over the size"),
        pytest.param(b"\x20", True, id="a resize that evicts"),
        pytest.param(hexed("3fe11f"), True, id="a resize to the size it has"),
    ],
)
def test_the_generation_changes_when_the_table_does(block: bytes, changes: bool) -> None:
    decoder = decoder_with(INSERT_A)
    before = decoder.generation
    decoder.decode(block)
    assert (decoder.generation != before) is changes


def test_the_generation_changes_when_a_block_fails_behind_an_insertion() -> None:
    decoder = HeaderDecoder(LIMIT)
    with pytest.raises(HpackError):
        decoder.decode(INSERT_A + b"\x80")
    assert decoder.generation != 0


class Reading:
    """A block cache, and the lists that it had to make something of."""

    def __init__(self) -> None:
        self.made: list[Fields] = []
        self.cache = BlockCache(HeaderDecoder(LIMIT), self.make)

    def make(self, made: Fields) -> Fields:
        self.made.append(made)
        return made

    def read(self, *blocks: bytes) -> list[Fields]:
        return [self.cache.read(block) for block in blocks]


def test_a_block_that_comes_again_is_made_something_of_once() -> None:
    reading = Reading()
    assert reading.read(b"\x82", b"\x83", b"\x82", b"\x83") == 2 * [
        fields((":method", "GET")),
        fields((":method", "POST")),
    ]
    assert len(reading.made) == 2


def test_nothing_may_be_made_of_a_block_and_is_kept_too() -> None:
    made: list[Fields] = []
    cache = BlockCache(HeaderDecoder(LIMIT), made.append)
    cache.read(b"\x82")
    cache.read(b"\x82")
    assert len(made) == 1


def test_a_block_that_inserts_does_so_every_time() -> None:
    reading = Reading()
    reading.read(INSERT_A, INSERT_A, INSERT_A)
    assert reading.read(b"\xbe\xbf\xc0") == [fields(A, A, A)]


def test_a_block_that_resizes_does_so_every_time() -> None:
    reading = Reading()
    reading.read(b"\x20", hexed("3fe11f"), INSERT_A, b"\x20")
    with pytest.raises(HpackError):
        reading.read(NEWEST)


def test_a_block_means_something_else_once_the_table_has_changed() -> None:
    reading = Reading()
    first, _, second = reading.read(INSERT_A, NEWEST, NEWEST)
    assert first == second == fields(A)
    assert reading.read(b"\x40\x01c\x01d", NEWEST)[1] == fields(("c", "d"))


def test_a_block_of_an_older_table_is_decoded_again_though_nothing_was_read_between() -> None:
    reading = Reading()
    reading.read(INSERT_A, NEWEST, b"\x40\x01c\x01d" + NEWEST)
    assert reading.read(NEWEST) == [fields(("c", "d"))]


def test_only_a_few_blocks_are_kept() -> None:
    reading = Reading()
    blocks = [bytes([0x82 + number]) for number in range(MAX_KEPT_BLOCKS + 1)]
    reading.read(*blocks[:-1], *blocks[:-1])
    assert len(reading.made) == MAX_KEPT_BLOCKS
    reading.read(blocks[-1], blocks[-1], blocks[0])
    assert len(reading.made) == MAX_KEPT_BLOCKS + 2


@pytest.mark.parametrize(
    ("length", "made"), [(MAX_KEPT_BLOCK_BYTES, 1), (MAX_KEPT_BLOCK_BYTES + 1, 2)]
)
def test_only_short_blocks_are_kept(length: int, made: int) -> None:
    reading = Reading()
    reading.read(b"\x82" * length, b"\x82" * length)
    assert len(reading.made) == made


def test_what_cannot_be_made_something_of_is_told_every_time() -> None:
    def refuse(_: Fields) -> None:
        raise LookupError

    cache = BlockCache(HeaderDecoder(LIMIT), refuse)
    for _ in range(2):
        with pytest.raises(LookupError):
            cache.read(b"\x82")


@given(st.binary(max_size=300), st.binary(max_size=70_000) | st.integers(0, 300).map(bytes))
def test_an_answer_s_field_is_read_and_never_indexed(name: bytes, value: bytes) -> None:
    block = literal_field(name, value)
    peer = hpack.Decoder(1 << 20)
    assert peer.decode(block, raw=True) == [(name, value)]
    assert not peer.header_table.dynamic_entries
    assert HeaderDecoder(1 << 20).decode(block) == [(name, value)]


@pytest.mark.parametrize("length", [0, 126, 127, 128, 254, 255, 256, 16510, 16511, 2**21 + 127])
def test_a_field_may_have_any_length(length: int) -> None:
    value = b"v" * length
    assert HeaderDecoder(1 << 22).decode(literal_field(b"n", value)) == [(b"n", value)]


def test_an_answer_may_give_up_its_table_and_begin_with_its_status() -> None:
    assert hpack.Decoder().decode(NO_TABLE + INDEXED_STATUS_200) == [(":status", "200")]
