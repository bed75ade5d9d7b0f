"""Header compression: the blocks that a peer sends, and the few fields that we answer with.

Theory of operation: a peer names the fields that it has sent before by number. The static table
and behind it the dynamic one, newest first, are one list here, so that an index is an index of the
list. Every block moves the decoder on, hence all blocks of a connection must pass through it, in
order, and after an ``HpackError`` the connection cannot go on.

Source: RFC 7541.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from epp.http2.huffman import HuffmanError
from epp.http2.huffman import decode as decode_huffman
from epp.http2.static_table import STATIC_TABLE

T = TypeVar("T")
Field = tuple[bytes, bytes]
# A field and what it counts for, in the table and in a header list.
_Entry = tuple[Field, int]

DEFAULT_TABLE_BYTES = 4096
FIELD_OVERHEAD_BYTES = 32
MAX_KEPT_BLOCKS = 16
MAX_KEPT_BLOCK_BYTES = 1024

INDEXED_STATUS_200 = b"\x88"
# Begins our next block when the peer changes SETTINGS_HEADER_TABLE_SIZE: we use no table at all.
NO_TABLE = b"\x20"

_INDEXED = 0x80
_WITH_INDEXING = 0x40
_SIZE_UPDATE = 0x20
_HUFFMAN = 0x80


class HpackError(Exception):
    """A header block that cannot be decoded: a connection error, COMPRESSION_ERROR."""


def _entry(name: bytes, value: bytes) -> _Entry:
    return (name, value), len(name) + len(value) + FIELD_OVERHEAD_BYTES


_STATIC_ENTRIES = [_entry(b"", b""), *(_entry(*field) for field in STATIC_TABLE)]
_NEWEST = len(_STATIC_ENTRIES)


class HeaderDecoder:
    """Decodes the header blocks of one direction of one connection.

    ``generation`` changes whenever a block changes the dynamic table or its size. While it stays,
    the same block is the same list, and need not be decoded again; see ``BlockCache``.

    Nine indexes and one new ``traceparent``, Huffman-coded and to be indexed, take 3.1 us (the
    ``hpack`` package: 20), ten indexes 0.8 us (12).

    Args:
        max_header_list_bytes: The longest list to accept: names, values and 32 bytes per field. It
            bounds what a small block can grow to that names one long entry many times.
        max_table_bytes: What we advertise as SETTINGS_HEADER_TABLE_SIZE. A table begins with the
            4096 bytes of the protocol whatever that says, since the peer may send before it knows.
    """

    __slots__ = (
        "_entries",
        "_max_header_list_bytes",
        "_max_table_bytes",
        "_table_bytes",
        "_used_bytes",
        "generation",
    )

    def __init__(
        self, max_header_list_bytes: int, max_table_bytes: int = DEFAULT_TABLE_BYTES
    ) -> None:
        self.generation = 0
        self._max_header_list_bytes = max_header_list_bytes
        self._max_table_bytes = max_table_bytes
        self._table_bytes = DEFAULT_TABLE_BYTES
        self._used_bytes = 0
        self._entries = _STATIC_ENTRIES.copy()

    def decode(self, block: bytes) -> list[Field]:
        """The fields of a block, in order; whether one may be indexed is not told.

        Raises:
            HpackError: the block is malformed, or its list is over the limit.
        """
        try:
            return self._fields(block)
        except IndexError:
            raise HpackError("a block ends early, or names an entry that is not there") from None
        except HuffmanError as error:
            raise HpackError(str(error)) from None

    def _fields(self, block: bytes) -> list[Field]:
        entries = self._entries
        left_bytes = self._max_header_list_bytes
        fields: list[Field] = []
        at = 0
        while at < len(block):
            byte = block[at]
            if _INDEXED < byte < 0xFF:  # an index below 127, by far the most: no integer to read
                field, size = entries[byte & 0x7F]
                at += 1
            elif byte > _INDEXED:
                index, at = _integer(block, at, 0x7F)
                field, size = entries[index]
            elif byte == _INDEXED:
                raise HpackError("a field has index 0")
            elif byte & 0xE0 == _SIZE_UPDATE:
                if fields:
                    raise HpackError("a table size update follows a field")
                at = self._update_size(block, at)
                continue
            else:
                (field, size), at = self._literal(block, at)
            left_bytes -= size
            if left_bytes < 0:
                raise HpackError(f"a header list is over {self._max_header_list_bytes} bytes")
            fields.append(field)
        return fields

    def _literal(self, block: bytes, at: int) -> tuple[_Entry, int]:
        with_indexing = block[at] & _WITH_INDEXING
        index, at = _integer(block, at, 0x3F if with_indexing else 0x0F)
        if index:
            name = self._entries[index][0][0]
        else:
            name, at = _string(block, at)
        value, at = _string(block, at)
        entry = _entry(name, value)
        if with_indexing:
            self._insert(entry)
        return entry, at

    def _insert(self, entry: _Entry) -> None:
        self.generation += 1
        room = self._table_bytes - entry[1]
        self._evict_down_to(max(room, 0))
        if room >= 0:  # else it only empties the table: RFC 7541, section 4.4
            self._entries.insert(_NEWEST, entry)
            self._used_bytes += entry[1]

    def _update_size(self, block: bytes, at: int) -> int:
        size, at = _integer(block, at, 0x1F)
        if size > self._max_table_bytes:
            raise HpackError(f"a table of {size} bytes is over {self._max_table_bytes}")
        self.generation += 1
        self._table_bytes = size
        self._evict_down_to(size)
        return at

    def _evict_down_to(self, size: int) -> None:
        while self._used_bytes > size:
            self._used_bytes -= self._entries.pop()[1]


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """The integer whose prefix is under the mask, and where it ends."""
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    for shift in (0, 7, 14, 21, 28):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise HpackError("an integer does not end")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    is_huffman = block[at] & _HUFFMAN
    length, at = _integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise HpackError("a string is longer than its block")
    text = block[at:end]
    return decode_huffman(text) if is_huffman else text, end


class BlockCache(Generic[T]):
    """What the caller makes of header blocks, kept for blocks that come again.

    A client that sends the same headers in every request sends the same few bytes, all of them
    indexes, which mean the same while the dynamic table stays: 0.1 us instead of 0.8 and ``make``.
    It costs 0.4 us where every block changes the table. Such a block is never kept: who skipped its
    decoding would lose what it inserts.
    """

    __slots__ = ("_decoder", "_generation", "_kept", "_make")

    def __init__(self, decoder: HeaderDecoder, make: Callable[[list[Field]], T]) -> None:
        self._decoder = decoder
        self._make = make
        self._generation = decoder.generation
        self._kept: dict[bytes, T] = {}

    def read(self, block: bytes) -> T:
        """What ``make`` returns for the block's fields, perhaps an earlier time.

        Raises:
            HpackError: as ``HeaderDecoder.decode``; errors of ``make`` pass through.
        """
        decoder = self._decoder
        generation = decoder.generation
        if generation != self._generation:
            self._kept.clear()
            self._generation = generation
        elif block in self._kept:
            return self._kept[block]
        made = self._make(decoder.decode(block))
        if decoder.generation == generation and len(block) <= MAX_KEPT_BLOCK_BYTES:
            if len(self._kept) >= MAX_KEPT_BLOCKS:
                self._kept.clear()
            self._kept[block] = made
        return made


def literal_field(name: bytes, value: bytes) -> bytes:
    """A field for an answer: never indexed by either side's table, without Huffman coding."""
    return b"".join((b"\x00", _length(name), name, _length(value), value))


def _length(text: bytes) -> bytes:
    """A string's length as an integer with a prefix of 7 bits."""
    rest = len(text) - 0x7F
    if rest < 0:
        return bytes((len(text),))
    encoded = bytearray(b"\x7f")
    while rest >= 0x80:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)
