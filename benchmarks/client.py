"""An HTTP/1.1 connection of the load generator; it reads no more than what is checked."""

from __future__ import annotations

import asyncio
import zlib
from typing import cast

import msgspec

_REQUEST = (
    b"POST /v1/completions HTTP/1.1\r\nhost: benchmark.test\r\nuser-agent: epp-benchmarks\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
)


class Answer(msgspec.Struct):
    """One answer as it arrives; ``checksum`` is the CRC-32 of the body."""

    status: int = 0
    body_bytes: int = 0
    checksum: int = 0


class BadAnswerError(Exception):
    """The answer is no HTTP/1.1 as we know it, or it broke off."""


class Client(asyncio.Protocol):
    """One keep-alive connection with one request at a time; reads length and chunked bodies."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._in_head = True
        # Bytes of the current chunk or body that are still to come.
        self._left = 0
        self._chunked = False
        self._answer = Answer()
        self._done: asyncio.Future[Answer] | None = None

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail("connection closed")

    def send(self, body: bytes) -> asyncio.Future[Answer]:
        """Send a request; the future has its answer, or ``BadAnswerError``."""
        assert self._transport is not None
        self._buffer = b""
        self._in_head = True
        self._answer = Answer()
        self._done = asyncio.get_running_loop().create_future()
        self._transport.writelines([_REQUEST % len(body), body])
        return self._done

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        self._buffer = b""
        if self._in_head:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                return
            self._read_head(data[:end].lower())
            # The line end before the first chunk's size stays, as there is one before the others.
            data = data[end + 2 if self._chunked else end + 4 :]
        if self._chunked:
            self._read_chunks(data)
        else:
            self._take(data)
            if self._left <= 0:
                self._finish()

    def _read_head(self, head: bytes) -> None:
        self._in_head = False
        self._answer.status = int(head[9:12])
        self._chunked = b"\r\ntransfer-encoding: chunked" in head
        self._left = 0
        if not self._chunked:
            _, found, rest = head.partition(b"\r\ncontent-length:")
            self._left = int(rest.partition(b"\r\n")[0]) if found else 0

    def _read_chunks(self, data: bytes) -> None:
        position, size = 0, len(data)
        while position < size:
            if self._left == 0:
                # Behind the line end that closes the head or the chunk before.
                end = data.find(b"\r\n", position + 2)
                if end < 0:
                    break
                length = int(data[position:end], 16)
                if length == 0:
                    if size < end + 4:
                        break
                    self._finish()
                    return
                self._left = length
                position = end + 2
            piece = data[position : position + self._left]
            self._take(piece)
            position += len(piece)
        self._buffer = data[position:]

    def _take(self, piece: bytes) -> None:
        self._left -= len(piece)
        self._answer.body_bytes += len(piece)
        self._answer.checksum = zlib.crc32(piece, self._answer.checksum)

    def _finish(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(self._answer)

    def _fail(self, reason: str) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(BadAnswerError(reason))
