"""A client that reads one page of one model server, again and again, over one connection.

Theory of operation: the socket never blocks and no event loop watches it. It is registered with a
selector, and whoever owns that asks it now and then which sockets are ready, and calls ``proceed``
of their clients: one look for all of them. By then the whole page usually lies in the kernel and
is had with one read. With 100 endpoints that takes 34 us of processor time for a page of 15 kB,
from asking for it to the datastore, of which a bare send and receive take 15; on transports of the
event loop, with a timer for each time limit, it took 57. A connection that is refused takes 27 us
instead of 43: there is no task for it.

Differs: redirects are not followed; the Go picker follows them.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from errno import EINPROGRESS
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector

import msgspec

from epp.core.endpoint import join_host_port
from epp.scrape.response import (
    ResponseReader,
    ScrapeConnectionError,
    ScrapeError,
    ScrapeResponseError,
    ScrapeTimeoutError,
)

MIN_READ_BYTES = 64 * 1024
MAX_READ_BYTES = 256 * 1024
"""A read asks for more than the last page had, so that the next one comes in one piece.

That takes a page of 155 kB from 70 us to 48. Always to ask for the most would cost small pages.
"""

MAX_READS = 4
"""Reads of one ``proceed``: a large page must not keep the others waiting."""

_OK = 200
_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Target(msgspec.Struct, frozen=True):
    """Where the page is, and when to give up; ``tls`` is None for plain HTTP.

    ``address`` is a literal IP address: looking up a name would block.
    """

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

    Each fetch is answered by one call of ``done``, with the page or with what went wrong, unless
    the client is closed first. A kept connection that turns out to be closed is replaced, once,
    within the same fetch. No method blocks.
    """

    def __init__(
        self, target: Target, selector: BaseSelector, done: Callable[[bytes | ScrapeError], None]
    ) -> None:
        self._target = target
        self._request = target.request()
        self._selector = selector
        self._done = done
        self._deadline: float | None = None
        self._socket: socket.socket | None = None
        self._is_watched = False
        self._reader = ResponseReader(target.max_page_bytes)
        self._step: Callable[[socket.socket], None] = self._receive
        self._is_used = False
        self._read_bytes = MIN_READ_BYTES

    @property
    def is_busy(self) -> bool:
        """Whether a fetch is under way."""
        return self._deadline is not None

    def fetch(self, now: float) -> None:
        """Begin to read the page; while that is under way, give it up if it takes too long."""
        if self._deadline is not None:
            if now >= self._deadline:
                self._give_up()
            return
        self._deadline = now + self._target.timeout_seconds
        if self._socket is None:
            self._attempt(self._connect)
        else:
            self._attempt(self._send, self._socket)

    def proceed(self) -> None:
        """The socket is ready: do what can be done now."""
        if self._socket is not None:
            self._attempt(self._step, self._socket)

    def close(self) -> None:
        """Drop the connection and whatever is under way."""
        self._deadline = None
        self._disconnect()

    def _give_up(self) -> None:
        self.close()
        self._done(ScrapeTimeoutError(f"no answer within {self._target.timeout_seconds} s"))

    def _attempt(self, step: Callable[..., None], *arguments: socket.socket) -> None:
        try:
            step(*arguments)
        except _NOT_YET:
            pass
        except OSError as error:
            self._lose(error.strerror or str(error))
        except ScrapeResponseError as error:
            self._disconnect()
            self._finish(error)

    def _connect(self) -> None:
        target = self._target
        self._is_used = False
        family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
        self._socket = connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)
        code = connection.connect_ex((target.address, target.port))
        if code not in (0, EINPROGRESS):
            raise OSError(code, os.strerror(code))
        self._watch(connection, EVENT_WRITE)
        self._step = self._connected

    def _connected(self, connection: socket.socket) -> None:
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        if self._target.tls is None:
            self._open(connection)
            return
        self._unwatch(connection)
        self._socket = connection = self._target.tls.wrap_socket(
            connection, server_hostname=self._target.address, do_handshake_on_connect=False
        )
        # writable it is all the time: the handshake is tried again at every look
        self._watch(connection, EVENT_READ | EVENT_WRITE)
        self._step = self._shake_hands
        self._shake_hands(connection)

    def _shake_hands(self, connection: socket.socket) -> None:
        assert isinstance(connection, ssl.SSLSocket)
        connection.do_handshake()
        self._open(connection)

    def _open(self, connection: socket.socket) -> None:
        self._selector.modify(connection, EVENT_READ, self)
        self._step = self._receive
        self._send(connection)

    def _send(self, connection: socket.socket) -> None:
        self._reader.begin()
        if connection.send(self._request) != len(self._request):
            raise OSError("no room for a request")

    def _receive(self, connection: socket.socket) -> None:
        reader = self._reader
        for _ in range(MAX_READS):
            data = connection.recv(self._read_bytes)
            if self._deadline is None:
                # closed while idle, or bytes that nobody asked for and the next answer's are behind
                self._disconnect()
                return
            if reader.feed(data) if data else reader.end():
                self._complete()
                return
            if not data:
                self._lose("closed before the end")
                return

    def _complete(self) -> None:
        reader = self._reader
        self._is_used = True
        self._read_bytes = min(max(MIN_READ_BYTES, len(reader.body) * 2), MAX_READ_BYTES)
        if not reader.keeps_alive:
            self._disconnect()
        if reader.status == _OK:
            self._finish(reader.body)
        else:
            self._finish(ScrapeResponseError(f"status {reader.status}"))

    def _lose(self, reason: str) -> None:
        """The connection ended; within a fetch, a kept one that gave no byte is replaced."""
        self._disconnect()
        if self._deadline is None:
            return
        if self._is_used and not self._reader.has_begun:
            self._attempt(self._connect)
        else:
            self._finish(ScrapeConnectionError(reason))

    def _finish(self, result: bytes | ScrapeError) -> None:
        self._deadline = None
        self._done(result)

    def _disconnect(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            self._unwatch(connection)
            connection.close()

    def _watch(self, connection: socket.socket, events: int) -> None:
        self._selector.register(connection, events, self)
        self._is_watched = True

    def _unwatch(self, connection: socket.socket) -> None:
        if self._is_watched:
            self._selector.unregister(connection)
            self._is_watched = False
