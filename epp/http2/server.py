"""The gRPC server on a port: sockets and timers round ``Connection``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from random import Random
from typing import cast

from epp.http2.connection import Connection, ConnectionFailure
from epp.http2.frames import ErrorCode
from epp.http2.lifetime import Action, Lifetime
from epp.http2.limits import Limits
from epp.rpc import Services, Status

logger = logging.getLogger("http2")

# below INFO, as whoever can reach the port can cause such lines
_LOG_LEVEL = logging.INFO - 2

_TICK_SECONDS = 1.0
_BACKLOG = 1024
_READ_BYTES = 64 * 1024
"""What is read at once, and handled before anybody else has a turn."""

_CLOSE_SECONDS = 2.0
"""How long a peer whose connection is given up may take to read why."""

_LINGER_SECONDS = 20.0
"""How long a peer may take to read the last answers of a connection that ends in order."""

_STOP_SECONDS = 0.5
_AGE_SPREAD = 0.1


class Server:
    """Serves gRPC services on one port, with TLS where a context is given.

    ``drain`` lets running calls end and takes no new ones, ``stop`` ends them. ``errors`` counts
    connections that were given up because of what the peer did, by the name of the error code.
    """

    def __init__(
        self,
        services: Services,
        limits: Limits,
        *,
        random: Random,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._services = services
        self._limits = limits
        self._random = random
        self._tls = tls
        self.errors: dict[str, int] = {}
        self.buffer = memoryview(bytearray(_READ_BYTES))
        self._protocols: set[_Protocol] = set()
        self._listener: asyncio.Server | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self._is_draining = False
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    @property
    def port(self) -> int:
        """The port that is listened on; 0 while there is none."""
        sockets = self._listener.sockets if self._listener else ()
        return int(sockets[0].getsockname()[1]) if sockets else 0

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._protocols)

    @property
    def streams(self) -> int:
        """How many calls are running."""
        return sum(protocol.streams for protocol in self._protocols)

    async def start(self, host: str | None, port: int) -> None:
        """Listen; ``host`` None is every address, ``port`` 0 any free one.

        Raises:
            OSError: the address cannot be had.
        """
        loop = asyncio.get_running_loop()
        handshake_seconds = self._limits.handshake_seconds or None
        self._listener = await loop.create_server(
            lambda: _Protocol(self),
            host,
            port,
            backlog=_BACKLOG,
            ssl=self._tls,
            ssl_handshake_timeout=handshake_seconds if self._tls else None,
            ssl_shutdown_timeout=_LINGER_SECONDS if self._tls else None,
        )
        self._ticking = loop.call_later(_TICK_SECONDS, self._tick)

    def drain(self) -> None:
        """Listen no longer; running calls go on, and connections end with their last one."""
        self._is_draining = True
        if self._listener is not None:
            self._listener.close()
        for protocol in list(self._protocols):
            protocol.drain()

    async def stop(self, text: str = "the server is stopping") -> None:
        """End every call with UNAVAILABLE and every connection, within a second."""
        self.drain()
        if self._ticking is not None:
            self._ticking.cancel()
        if not self.streams:
            # Requests may be on their way from peers who do not know yet.
            await self._until_all_gone()
        for protocol in list(self._protocols):
            protocol.finish(text)
        await self._until_all_gone()
        for protocol in list(self._protocols):
            protocol.abort()

    async def _until_all_gone(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self._all_gone.wait()

    def opened(self, protocol: _Protocol) -> Connection:
        """A socket was accepted."""
        self._protocols.add(protocol)
        self._all_gone.clear()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            loop.call_soon(protocol.flush)

        def call_later(seconds: float, call: Callable[[], None]) -> Callable[[], None]:
            return loop.call_later(seconds, call).cancel

        connection = Connection(
            self._services,
            self._limits,
            write=protocol.write,
            wake=wake,
            call_later=call_later,
        )
        if self._is_draining:
            connection.drain()
        return connection

    def lifetime(self) -> Lifetime:
        """The timers of a new connection."""
        factor = 1.0 + _AGE_SPREAD * self._random.uniform(-1.0, 1.0)
        return Lifetime(self._limits, asyncio.get_running_loop().time(), factor)

    def gone(self, protocol: _Protocol, error: ConnectionFailure | None) -> None:
        """A socket was closed; ``error`` is what the peer did wrong, if that was why."""
        if error is not None:
            code = error.code.name
            self.errors[code] = self.errors.get(code, 0) + 1
            logger.log(_LOG_LEVEL, "gRPC connection ended: %s (%s)", error.text, code)
        self._protocols.discard(protocol)
        if not self._protocols:
            self._all_gone.set()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._ticking = loop.call_later(_TICK_SECONDS, self._tick)
        now = loop.time()
        for protocol in list(self._protocols):
            protocol.tick(now)


class _Protocol(asyncio.BufferedProtocol):
    """One socket.

    Reads into the server's one buffer: what came is handled before anything else is read. Against
    ``data_received`` that saves about 5 % of a small request under TLS, where uvloop would allocate
    256 KiB for every read.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._is_closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's
        self._transport = cast(asyncio.Transport, transport)
        self._lifetime = self._server.lifetime()
        self._connection = self._server.opened(self)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            # as the gRPC libraries do; whoever offers nothing may well speak another protocol
            self._connection.fail(ErrorCode.INADEQUATE_SECURITY, "no h2 by ALPN")
        self.flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        connection = self._connection
        connection.receive(self._server.buffer[:nbytes].tobytes())
        if connection.is_dead or connection.is_done:
            self._close()
        elif nbytes == _READ_BYTES and self._transport is not None:
            # There is more. Read on at once, many small messages would block the loop for seconds.
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def eof_received(self) -> None:
        """The peer has gone: it takes no answers either, so the transport may close."""

    def pause_writing(self) -> None:
        self._connection.pause()

    def resume_writing(self) -> None:
        self._connection.resume()
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._connection.lost()
        self._server.gone(self, self._connection.failure)

    @property
    def streams(self) -> int:
        return self._connection.streams

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def flush(self) -> None:
        connection = self._connection
        connection.flush()
        if connection.is_dead or connection.is_done:
            self._close()

    def drain(self) -> None:
        self._connection.drain()

    def finish(self, text: str) -> None:
        connection = self._connection
        connection.finish_all(Status.UNAVAILABLE, text)
        connection.fail(ErrorCode.NO_ERROR, text)
        self.flush()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def tick(self, now: float) -> None:
        """Do what the time demands."""
        connection = self._connection
        connection.refill(now)
        action = self._lifetime.check(
            now,
            heard=connection.heard(),
            is_ready=connection.is_ready,
            streams=connection.streams,
            last_stream=connection.last_stream,
        )
        match action:
            case Action.REFUSE:
                connection.fail(ErrorCode.SETTINGS_TIMEOUT, "no handshake")
                self.flush()
            case Action.PING:
                connection.ping()
            case Action.DRAIN:
                connection.drain()
            case Action.ABORT:
                self.abort()

    def _close(self) -> None:
        """Let the last bytes out, but not for ever."""
        if self._transport is None or self._is_closing:
            return
        self._is_closing = True
        self._transport.close()
        seconds = _CLOSE_SECONDS if self._connection.is_dead else _LINGER_SECONDS
        asyncio.get_running_loop().call_later(seconds, self.abort)
