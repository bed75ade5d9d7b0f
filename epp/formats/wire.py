"""Protobuf messages as they are on the wire, for the few fields that the picker looks at.

Unlike a generated class this keeps the places of the fields, so that one of them can be replaced
without touching any other byte.

Source: Protocol Buffers, encoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import NamedTuple, TypeAlias

import numpy as np

VARINT, I64, LEN, I32 = 0, 1, 2, 5
MAX_FIELDS = 200_000
"""How many fields of a message are looked at: a fifth of a second's worth."""

Budget: TypeAlias = Iterator[None]
"""How many more fields are looked at, of several messages together."""

_MAX_VARINT_BYTES = 10


class WireError(ValueError):
    """The bytes are no protobuf message, or one with too many fields."""


class Field(NamedTuple):
    """One occurrence of a field.

    Its value is ``message[start:end]``, and ``value`` where it is a number; at ``head`` its length
    or its number begins.
    """

    number: int
    kind: int
    head: int
    start: int
    end: int
    value: int


def field_budget() -> Budget:
    """As many as of one message: for messages in a message, of which there may be many."""
    return repeat(None, MAX_FIELDS)


def fields(
    message: bytes, outer: Field | None = None, budget: Budget | None = None
) -> Iterator[Field]:
    """The fields of a message, or of the one that a field of it holds, as they come.

    Raises:
        WireError: they cannot be told apart.
    """
    at, end = (0, len(message)) if outer is None else (outer.start, outer.end)
    for _ in field_budget() if budget is None else budget:
        if at == end:
            return
        tag, head = _varint(message, at, end)
        number, kind = tag >> 3, tag & 7
        start, value = head, 0
        if kind == VARINT:
            value, at = _varint(message, head, end)
        elif kind == LEN:
            length, start = _varint(message, head, end)
            at = start + length
        elif kind in (I64, I32):
            at = start + (8 if kind == I64 else 4)
        else:
            raise WireError(f"wire type {kind} is not supported")
        if not number or at > end:
            raise WireError("a field is cut off" if number else "a field has the number 0")
        yield Field(number, kind, head, start, at, value)
    raise WireError(f"it has more than {MAX_FIELDS} fields")


def last(found: Iterable[Field], number: int, kind: int) -> Field | None:
    """The occurrence that counts of a field that is not repeated."""
    field = None
    for candidate in found:
        if candidate.number == number and candidate.kind == kind:
            field = candidate
    return field


def replace(message: bytes, path: tuple[Field, ...], value: bytes) -> bytes:
    """``message`` with ``value`` in the last field of ``path``, each of which holds the next."""
    for depth in range(len(path) - 1, -1, -1):
        field = path[depth]
        begin, end = (path[depth - 1].start, path[depth - 1].end) if depth else (0, len(message))
        length = encode_varint(len(value))
        value = b"".join((message[begin : field.head], length, value, message[field.end : end]))
    return value


def encode_varint(value: int) -> bytes:
    """A number of 0 or more as it is on the wire."""
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def uint32s(message: bytes, found: Iterable[Field], number: int) -> bytes:
    """All values of a repeated number, packed or not, as four bytes each, little-endian.

    Raises:
        WireError: packed ones cannot be told apart.
    """
    parts: list[bytes] = []
    for field in found:
        if field.number == number and field.kind in (LEN, VARINT):
            part = message[field.start : field.end]
            if part and part[-1] > 0x7F:
                raise WireError("a number is cut off")
            parts.append(part)
    return _packed(b"".join(parts))  # all at once: there may be one number in each of many


def _packed(varints: bytes) -> bytes:
    """Many numbers at once: 100,000 token ids take 4 ms, one by one they would take 60."""
    if not varints:
        return b""
    octets = np.frombuffer(varints, np.uint8)
    ends = np.flatnonzero(octets < 0x80)
    if not len(ends) or ends[-1] != len(octets) - 1:
        raise WireError("a number is cut off")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _MAX_VARINT_BYTES:
        raise WireError("a number is too long")
    place = np.arange(len(octets)) - np.repeat(starts, lengths)
    shifted = (octets & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.add.reduceat(shifted, starts).astype("<u4").tobytes()


def _varint(message: bytes, at: int, end: int) -> tuple[int, int]:
    """The number at ``at``, cut to 64 bits, and where it ends."""
    value = 0
    for i, octet in enumerate(message[at : min(end, at + _MAX_VARINT_BYTES)]):
        value |= (octet & 0x7F) << 7 * i
        if octet < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + i + 1
    raise WireError("a number is cut off")
