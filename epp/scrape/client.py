"""A client that reads one page of one model server, again and again, over one connection.

It works by callbacks: a scrape on a connection that is open starts no task and awaits nothing. Only
making a connection takes a task, which ends with the connection made.

Differs: redirects are not followed; the Go picker follows them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

import msgspec

from epp.core.endpoint import join_host_port
from epp.scrape.response import (
    ResponseReader,
    ScrapeConnectionError,
    ScrapeError,
    ScrapeResponseError,
    ScrapeTimeoutError,
)

_OK = 200


class Target(msgspec.Struct, frozen=True):
    """Where the page is, and when to give up; ``tls`` is None for plain HTTP."""

    address: str
    port: int
    path: str = "/metrics"
    tls: ssl.SSLContext | None = None
    timeout_seconds: float = 5.0
    max_page_bytes: int = 4 * 1024 * 1024

    def request(self) -> bytes:
        """The request's bytes.

        No Accept: servers then answer with plain Prometheus text.
        """
        return (
            f"GET {self.path} HTTP/1.1\r\nHost: {join_host_port(self.address, self.port)}\r\n"
            "User-Agent: epp\r\nAccept-Encoding: identity\r\n\r\n"
        ).encode()


class MetricsClient:
    """Fetches the page of ``target``; at most one request is in flight.

    Each ``fetch`` is answered by one call of ``done``, with the page or with what went wrong,
    unless the client is closed first. A kept connection that turns out to be closed is replaced,
    once, within the same fetch.
    """

    def __init__(
        self,
        target: Target,
        tasks: asyncio.TaskGroup,
        done: Callable[[bytes | ScrapeError], None],
    ) -> None:
        self._target = target
        self._request = target.request()
        self._tasks = tasks
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a fetch is under way."""
        return self._timer is not None

    def fetch(self) -> None:
        """Begin to read the page."""
        assert self._timer is None, "one fetch at a time"
        self._timer = self._loop.call_later(self._target.timeout_seconds, self._time_out)
        connection = self._connection
        if connection is not None and connection.is_usable:
            connection.send(self._request, ResponseReader(self._target.max_page_bytes))
        else:
            self._connect()

    def close(self) -> None:
        """Drop the connection and whatever is under way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        self._drop_connection()

    def _connect(self) -> None:
        self._drop_connection()
        self._connecting = self._tasks.create_task(self._open_connection())

    async def _open_connection(self) -> None:
        target = self._target
        try:
            _, connection = await self._loop.create_connection(
                lambda: _Connection(self._answered, self._lost),
                target.address,
                target.port,
                ssl=target.tls,
                server_hostname=target.address if target.tls else None,
            )
        except OSError as error:
            self._connecting = None
            self._finish(ScrapeConnectionError(error.strerror or str(error)))
            return
        self._connecting = None
        self._connection = connection
        connection.send(self._request, ResponseReader(target.max_page_bytes))

    def _answered(self, reader: ResponseReader) -> None:
        if not reader.keeps_alive:
            self._drop_connection()
        if reader.status == _OK:
            self._finish(reader.body)
        else:
            self._finish(ScrapeResponseError(f"status {reader.status}"))

    def _lost(self, error: ScrapeError, *, is_stale: bool) -> None:
        """The connection ended within a fetch; ``is_stale``: a kept one, and before any answer."""
        self._drop_connection()
        if is_stale:
            self._connect()
        else:
            self._finish(error)

    def _time_out(self) -> None:
        self.close()
        self._done(ScrapeTimeoutError(f"no answer within {self._target.timeout_seconds} s"))

    def _finish(self, result: bytes | ScrapeError) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._done(result)

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()


class _Connection(asyncio.Protocol):
    """One connection; says nothing more once it was aborted."""

    def __init__(
        self, answered: Callable[[ResponseReader], None], lost: Callable[..., None]
    ) -> None:
        self._answered = answered
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._reader: ResponseReader | None = None
        self._is_used = False

    @property
    def is_usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, reader: ResponseReader) -> None:
        self._reader = reader
        if self._transport is None:  # lost between being made and its first use
            self._fail(ScrapeConnectionError("closed without an answer"))
            return
        self._transport.write(request)

    def abort(self) -> None:
        self._reader = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:
            self.abort()  # nobody asked; whatever this is, the next answer would be mixed up
            return
        try:
            is_complete = reader.feed(data)
        except ScrapeResponseError as error:
            self._fail(error)
            return
        if is_complete:
            self._complete(reader)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        reader = self._reader
        if reader is None:
            return
        if exc is None and reader.end():
            self._complete(reader)
        else:
            self._fail(ScrapeConnectionError(str(exc) if exc else "closed before the end"))

    def _complete(self, reader: ResponseReader) -> None:
        self._reader = None
        self._is_used = True
        self._answered(reader)

    def _fail(self, error: ScrapeError) -> None:
        reader, self._reader = self._reader, None
        is_stale = self._is_used and reader is not None and not reader.has_begun
        self._lost(error, is_stale=is_stale)
