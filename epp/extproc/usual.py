"""The usual messages, read and written by hand; ``codec.py`` does the others with protobuf.

Theory of operation
-------------------
A ``ProcessingRequest`` begins with one field, the headers or a body, and what follows (metadata)
repeats from message to message: ``fields.read_rest`` knows it by its bytes. A body is an
``HttpBody``, whose length settles every byte in front of the data as long as it is spelled the
usual way; so the bytes are compared with the only ones they could be. Anything else, be it odd or
broken, is ``None`` here and left to protobuf.

An answer's ``StreamedBodyResponse`` has the field numbers of ``HttpBody``, inside four wrappers
whose lengths the size settles as well.
"""

from __future__ import annotations

from functools import lru_cache

from google.protobuf.message import DecodeError

from epp.core.response import ResponseStart
from epp.extproc.events import (
    MAX_PIECE_BYTES,
    Direction,
    Event,
    RequestBody,
    RequestHeaders,
    ResponseBody,
    ResponseHeaders,
)
from epp.extproc.fields import (
    NO_SURROUNDINGS,
    Surroundings,
    read_rest,
    request_headers,
    response_headers,
)
from epp.extproc.pb.ext_proc_pb2 import HttpHeaders
from epp.rpc import Message

# Tags: field number * 8 + 2 (length-delimited), field number * 8 (varint).
_REQUEST_HEADERS, _RESPONSE_HEADERS, _REQUEST_BODY, _RESPONSE_BODY = 0x12, 0x1A, 0x22, 0x2A
_TAGS = frozenset({_REQUEST_HEADERS, _RESPONSE_HEADERS, _REQUEST_BODY, _RESPONSE_BODY})
_BODY = b"\x0a"  # HttpBody.body = 1, StreamedBodyResponse.body = 1
_END = b"\x10\x01"  # HttpBody.end_of_stream = 2, StreamedBodyResponse.end_of_stream = 2
_STREAMED_RESPONSE = b"\x1a"  # BodyMutation.streamed_response = 3
_BODY_MUTATION = b"\x1a"  # CommonResponse.body_mutation = 3
_RESPONSE = b"\x0a"  # BodyResponse.response = 1
_DIRECTION = {Direction.REQUEST: b"\x1a", Direction.RESPONSE: b"\x22"}  # ProcessingResponse 3, 4

LONG_BYTES = 4096
"""From here on a slice that shares its bytes is cheaper than one of its own."""


def read(data: Message) -> Event | None:
    """A usual message as an event; None for any other.

    Saves protobuf's trees and, for a long body, two copies: 0.6 us instead of 2 us for a chunk with
    its metadata, 0.8 us instead of 9.9 us for 400 kB.
    """
    try:
        tag = data[0]
        if tag not in _TAGS:
            return None
        size = data[1]
        start = 2
        if size > 0x7F:
            size, start = _varint_at(data, 1)
        end = start + size
        if end == len(data):
            around = NO_SURROUNDINGS
        else:
            rest = read_rest(data[end:]) if end < len(data) else None
            if rest is None:
                return None
            around = rest
        if tag >= _REQUEST_BODY:
            return _body(data, start, end, around)
        return _headers(bytes(data[start:end]), around, is_request=tag == _REQUEST_HEADERS)
    except (IndexError, DecodeError):
        return None  # cut short, or broken: protobuf says what is wrong


def rest_of(data: Message) -> bytes | None:
    """What follows the first field of a message; None when it cannot be told from it."""
    try:
        size, start = _varint_at(data, 1)
        rest = data[start + size :]
        if start + size > len(data) or read_rest(rest) is None:
            return None
    except (IndexError, DecodeError):
        return None
    return bytes(rest)


@lru_cache(maxsize=4096)
def piece_heads(size: int) -> tuple[bytes, bytes] | None:
    """What stands in front of a piece of an answer: in a message of this size, and in our answer.

    The message is nothing but the piece, not its last one. None where there is no such message,
    and where the piece is too long for one answer.
    """
    length = _length(size)
    inner = size - 1 - len(length)
    body_head = _body_head(inner)
    if not length or body_head is None:
        return None
    head = bytes((_RESPONSE_BODY,)) + length + body_head
    body_size = size - len(head)
    if body_size > MAX_PIECE_BYTES:
        return None
    return head, _answer_head(Direction.RESPONSE, body_size, False)


def _body(data: Message, start: int, end: int, around: Surroundings) -> Event | None:
    size = end - start
    is_last = False
    head = _body_head(size)
    if head is None or not data.startswith(head, start):
        is_last = data.endswith(_END, start, end)
        if not is_last:
            return None
        end -= 2
        head = _body_head(size - 2)
        if head is None or not data.startswith(head, start):
            return None
    start += len(head)
    if data[0] == _RESPONSE_BODY:
        return ResponseBody(data[start:end], is_last)
    return RequestBody(
        data[start:end] if end - start < LONG_BYTES else memoryview(data)[start:end],
        is_last,
        around.subset if is_last else None,
    )


@lru_cache(maxsize=4096)
def _body_head(size: int) -> bytes | None:
    """What stands in front of the data in an ``HttpBody`` of this size that is nothing but data.

    None where there is no such body.
    """
    if size == 0:
        return b""
    length = _length(size)
    return _BODY + length if length else None


def _length(size: int) -> bytes:
    """The length in a field that is ``size`` bytes long with its tag, its length and its data.

    Empty where there is none: no field is 130 bytes long, for the length of 127 bytes takes one
    byte and that of 128 two.
    """
    for width in range(1, 5):
        data_size = size - 1 - width
        if data_size > 0 and len(length := _varint(data_size)) == width:
            return length
    return b""


def _headers(data: bytes, around: Surroundings, *, is_request: bool) -> Event:
    message = HttpHeaders.FromString(data)
    is_last = message.end_of_stream
    if is_request:
        return RequestHeaders(
            request_headers(message.headers), is_last, around.subset, around.modes
        )
    headers = response_headers(message.headers)
    return ResponseHeaders(
        ResponseStart(headers, around.served, around.has_lb_metadata), is_last, around.modes
    )


def answer_parts(
    direction: Direction, body: Message | memoryview, is_last: bool
) -> tuple[bytes, Message | memoryview, bytes]:
    """A streamed body answer in three parts, so that the body need not be copied."""
    end = _END if is_last else b""
    return _answer_head(direction, len(body), is_last), body, end


@lru_cache(maxsize=4096)
def _answer_head(direction: Direction, size: int, is_last: bool) -> bytes:
    """What stands in front of a body of this size: the lengths of five messages, inside out."""
    head = _BODY + _varint(size) if size else b""
    size += 2 if is_last else 0
    for tag in (_STREAMED_RESPONSE, _BODY_MUTATION, _RESPONSE, _DIRECTION[direction]):
        head = tag + _varint(len(head) + size) + head
    return head


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _varint_at(data: Message, at: int) -> tuple[int, int]:
    """The number that starts there, of at most four bytes, and where it ends.

    Raises:
        IndexError: it is cut short, or longer.
    """
    value = 0
    for shift in (0, 7, 14, 21):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError
