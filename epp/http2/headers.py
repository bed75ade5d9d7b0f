"""From a header block to what a gRPC server wants to know of a request.

Source: RFC 9113, section 8; gRPC over HTTP/2, "Requests".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from string import ascii_uppercase

import msgspec

from epp.http2.hpack import INDEXED_STATUS_200, literal_field

_PSEUDO = frozenset({b":method", b":path", b":scheme", b":authority"})
_CONNECTION_SPECIFIC = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
_TE = b"trailers"
_IN_A_NAME = bytes(byte for byte in range(0x21, 0x7F) if chr(byte) not in ":" + ascii_uppercase)
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_MAX_LENGTH_DIGITS = 19
_FIELD_BYTES = 100


class HeaderFields(msgspec.Struct, frozen=True):
    """One header list; repeated names are joined by commas.

    ``is_malformed``: it breaks a rule of HTTP/2, and so does the request that has it.
    ``timeout_seconds`` is None where the client sets no deadline, ``content_length`` -1 where it is
    no number. ``size_bytes`` is about what it takes of our memory.
    """

    fields: Mapping[bytes, bytes]
    is_malformed: bool = False
    is_request: bool = False
    is_grpc: bool = False
    path: str = ""
    timeout_seconds: float | None = None
    content_length: int | None = None
    size_bytes: int = 0

    @property
    def are_trailers(self) -> bool:
        """Whether the list may end a request: it has no pseudo field."""
        return not self.is_malformed and not any(name.startswith(b":") for name in self.fields)


def read_fields(pairs: Iterable[tuple[bytes, bytes]]) -> HeaderFields:
    """A decoded header list, checked."""
    fields: dict[bytes, bytes] = {}
    regular: list[bytes] = []
    for name, value in pairs:
        if name[:1] == b":":
            if regular or name in fields or name not in _PSEUDO:
                return HeaderFields(fields, is_malformed=True)
            fields[name] = value
            continue
        if not name or name in _CONNECTION_SPECIFIC:
            return HeaderFields(fields, is_malformed=True)
        regular.append(name)
        fields[name] = fields[name] + b"," + value if name in fields else value
    values = b"".join(fields.values())
    if _has_forbidden_bytes(b"".join(regular), values) or fields.get(b"te", _TE) != _TE:
        return HeaderFields(fields, is_malformed=True)
    path = fields.get(b":path", b"")
    return HeaderFields(
        fields,
        is_request=bool(path) and b":method" in fields and b":scheme" in fields,
        is_grpc=_is_grpc(fields.get(b"content-type", b"")),
        path=path.decode("latin-1"),
        timeout_seconds=_timeout(fields.get(b"grpc-timeout")),
        content_length=_length(fields.get(b"content-length")),
        size_bytes=len(values) + _FIELD_BYTES * len(fields),
    )


def _has_forbidden_bytes(names: bytes, values: bytes) -> bool:
    """All names and all values are joined, as one look costs less than one at each."""
    return (
        b"\n" in values
        or b"\r" in values
        or b"\0" in values
        or names.translate(None, _IN_A_NAME) != b""
    )


def _is_grpc(content_type: bytes) -> bool:
    return content_type.startswith(b"application/grpc") and content_type[16:17] in (b"", b"+", b";")


def _timeout(value: bytes | None) -> float | None:
    """Seconds from now on; a value that cannot be read sets no deadline."""
    match = _TIMEOUT.fullmatch(value) if value else None
    return int(match[1]) * _SECONDS[match[2]] if match else None


def _length(value: bytes | None) -> int | None:
    if value is None:
        return None
    return int(value) if value.isdigit() and len(value) <= _MAX_LENGTH_DIGITS else -1


def encode_text(text: str) -> bytes:
    """``text`` as a ``grpc-message``: percent-encoded UTF-8, at most 1,000 bytes of it."""
    raw = text.encode("utf-8", "replace")[:1000]
    return b"".join([_PERCENT[byte] for byte in raw])


_PERCENT = [
    bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte
    for byte in range(256)
]

RESPONSE_HEADERS = INDEXED_STATUS_200 + literal_field(b"content-type", b"application/grpc")
"""``:status: 200`` of the static table, and the content type."""

NOT_GRPC_HEADERS = literal_field(b":status", b"415") + literal_field(b"content-type", b"text/plain")

OK_TRAILERS = literal_field(b"grpc-status", b"0")


def encode_trailers(status: int, text: str, extra: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """The header block that ends a call."""
    if not status and not text and not extra:
        return OK_TRAILERS
    block = literal_field(b"grpc-status", b"%d" % status)
    if text:
        block += literal_field(b"grpc-message", encode_text(text))
    return block + b"".join([literal_field(name, value) for name, value in extra])
