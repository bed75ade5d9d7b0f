"""gRPC messages in the bodies of requests and answers.

Each has five bytes in front: whether it is compressed, and its length, big-endian.

Source: gRPC over HTTP/2, length-prefixed messages.
"""

from __future__ import annotations

from collections.abc import Callable

from epp.core.request import Usage
from epp.usage import merged

MAX_MESSAGE_BYTES = 1024 * 1024
"""Of an answer's longer messages the usage stays unknown."""

_PREFIX_BYTES = 5


class FrameError(ValueError):
    """A body is not one gRPC message as it is on the wire."""


def unframe(body: bytes) -> bytes:
    """The only message in a body.

    Raises:
        FrameError: there is not exactly one, or it is compressed.
    """
    if len(body) < _PREFIX_BYTES:
        raise FrameError("it is cut off")
    if body[0]:
        raise FrameError("compressed messages are not supported")
    length = int.from_bytes(body[1:_PREFIX_BYTES], "big")
    if length != len(body) - _PREFIX_BYTES:
        raise FrameError(f"{len(body) - _PREFIX_BYTES} bytes are there where it says {length}")
    return body[_PREFIX_BYTES:]


def frame(message: bytes) -> bytes:
    """A message as it is in a body.

    Raises:
        FrameError: it is 4 GiB long or longer.
    """
    if len(message) >= 1 << 32:
        raise FrameError("it is too long")
    return b"".join((b"\0", len(message).to_bytes(4, "big"), message))


class FrameUsageReader:
    """Reads the messages of an answer, wherever the chunks cut them.

    ``read`` gets each of them and may raise ValueError; what several of them tell is merged.
    Compressed messages and those over 1 MiB are passed over.
    """

    __slots__ = ("_read", "_rest", "_skip", "_usage")

    def __init__(self, read: Callable[[bytes], Usage | None]) -> None:
        self._read = read
        self._rest = bytearray()
        self._skip = 0
        self._usage: Usage | None = None

    def feed(self, chunk: bytes | bytearray) -> None:
        """Take the next piece."""
        skipped = min(self._skip, len(chunk))
        self._skip -= skipped
        rest = self._rest
        rest += chunk[skipped:]
        at = 0
        while len(rest) - at >= _PREFIX_BYTES:
            start = at + _PREFIX_BYTES
            length = int.from_bytes(rest[at + 1 : start], "big")
            if rest[at] or length > MAX_MESSAGE_BYTES:
                at = min(start + length, len(rest))
                self._skip = start + length - at
            elif start + length <= len(rest):
                at = start + length
                self._take(bytes(rest[start:at]))
            else:
                break
        del rest[:at]

    def result(self) -> Usage | None:
        """What was told until now."""
        return self._usage

    def _take(self, message: bytes) -> None:
        try:
            usage = self._read(message)
        except ValueError:
            return
        if usage is not None:
            self._usage = merged(self._usage, usage)
