"""HTTP/2 frames: their numbers, and how they are written.

Reading is a loop in ``connection.py``; a frame's head is 9 bytes: length (3), type, flags, stream.

Source: RFC 9113, sections 4, 6 and 7.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES: Final = 9

# Types. Plain numbers: they are compared for every frame.
DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

# Flags.
ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20

DEFAULT_WINDOW: Final = 65_535
DEFAULT_FRAME_BYTES: Final = 16_384
MAX_WINDOW: Final = 0x7FFF_FFFF
MAX_FRAME_BYTES: Final = 0xFF_FFFF
STREAM_MASK: Final = 0x7FFF_FFFF
"""The highest bit of a stream's number, of an increment and of a dependency is reserved."""


class ErrorCode(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC


class Setting(IntEnum):
    """What a SETTINGS frame can set."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


class Http2Error(Exception):
    """The peer broke a rule that ends the connection."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


read_head = struct.Struct(">HBBBI").unpack_from
"""Length (its upper 16 bits and its lower 8), type, flags and stream of the frame at an offset."""

read_u32 = struct.Struct(">I").unpack_from
write_u32 = struct.Struct(">I").pack
_write_head = struct.Struct(">HBBBI").pack
_write_message_head = struct.Struct(">HBBBIBI").pack
_write_two = struct.Struct(">II").pack
_read_settings = struct.Struct(">HI").iter_unpack
_write_setting = struct.Struct(">HI").pack


def head(kind: int, flags: int, stream_id: int, size: int) -> bytes:
    """The head of a frame whose payload has ``size`` bytes."""
    return _write_head(size >> 8, size & 0xFF, kind, flags, stream_id)


def message_head(stream_id: int, message_bytes: int) -> bytes:
    """The heads of a DATA frame and of the one gRPC message that fills it."""
    size = message_bytes + 5
    return _write_message_head(size >> 8, size & 0xFF, DATA, 0, stream_id, 0, message_bytes)


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return head(kind, flags, stream_id, len(payload)) + payload


def header_block(stream_id: int, block: bytes, *, end: bool) -> bytes:
    """A HEADERS frame, and CONTINUATIONs where the block is too long for one."""
    flags = END_STREAM if end else 0
    if len(block) <= DEFAULT_FRAME_BYTES:
        return frame(HEADERS, flags | END_HEADERS, stream_id, block)
    starts = range(0, len(block), DEFAULT_FRAME_BYTES)
    first, *middle, last = [block[at : at + DEFAULT_FRAME_BYTES] for at in starts]
    written = [frame(HEADERS, flags, stream_id, first)]
    written += [frame(CONTINUATION, 0, stream_id, piece) for piece in middle]
    return b"".join([*written, frame(CONTINUATION, END_HEADERS, stream_id, last)])


def rst_stream(stream_id: int, code: ErrorCode) -> bytes:
    """End one stream."""
    return frame(RST_STREAM, 0, stream_id, write_u32(code))


def window_update(stream_id: int, increment: int) -> bytes:
    """Allow so many bytes more; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream_id, write_u32(increment))


def goaway(last_stream_id: int, code: ErrorCode, text: str = "") -> bytes:
    """No stream after that one will be served."""
    payload = _write_two(last_stream_id, code) + text.encode("utf-8", "replace")[:200]
    return frame(GOAWAY, 0, 0, payload)


def settings(values: Sequence[tuple[Setting, int]]) -> bytes:
    """Announce settings."""
    return frame(SETTINGS, 0, 0, b"".join([_write_setting(key, value) for key, value in values]))


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """The settings of a frame as numbers and values; unknown ones included.

    Raises:
        Http2Error: it is not made of whole settings, or a value is out of its range.
    """
    if len(payload) % 6:
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a broken length")
    for key, value in _read_settings(payload):
        if key == Setting.ENABLE_PUSH and value > 1:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
        if key == Setting.INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is too large")
        if key == Setting.MAX_FRAME_SIZE and not DEFAULT_FRAME_BYTES <= value <= MAX_FRAME_BYTES:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of range")
        yield key, value


def without_padding(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Where the payload ``data[start:end]`` of a padded frame really starts and ends.

    Raises:
        Http2Error: there is more padding than payload.
    """
    if start >= end or data[start] >= end - start:
        raise Http2Error(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
    return start + 1, end - data[start]


def header_fragment(payload: bytes, flags: int, stream_id: int) -> tuple[bytes, bool]:
    """The block in a HEADERS frame, and whether the stream is said to depend on itself.

    Raises:
        Http2Error: padding or priority do not fit the frame.
    """
    if flags & PADDED:
        start, end = without_padding(payload, 0, len(payload))
        payload = payload[start:end]
    if not flags & HAS_PRIORITY:
        return payload, False
    if len(payload) < 5:
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for a priority")
    return payload[5:], depends_on(payload) == stream_id


def depends_on(payload: bytes) -> int:
    """The stream that a priority names."""
    return int(read_u32(payload, 0)[0] & STREAM_MASK)


def increment(payload: bytes) -> int:
    """How much a WINDOW_UPDATE allows.

    Raises:
        Http2Error: it has another length than 4 bytes.
    """
    if len(payload) != 4:
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE has 4 bytes")
    return int(read_u32(payload, 0)[0] & STREAM_MASK)
