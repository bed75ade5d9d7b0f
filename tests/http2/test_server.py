"""The server on real sockets, plain and with TLS, with grpcio's client."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import grpc
import pytest

from epp.http2 import frames
from epp.http2.limits import Limits
from epp.http2.server import Server
from epp.rpc import Call
from epp.tls.certificates import KeyPair, make_self_signed
from epp.tls.contexts import LiveContext, server_context
from tests.http2.wire import PATH, Peer, Recorder, data, echo, eventually, finish, message
from tests.tls.handshakes import client_context, local_pair

HELLO = frames.PREFACE + frames.settings(()) + frames.frame(frames.SETTINGS, frames.ACK, 0)
FAST = Limits(handshake_seconds=0.5, keepalive_seconds=0.5, keepalive_timeout_seconds=0.5)


class Running:
    """A server, and what its handlers were told."""

    def __init__(self, server: Server, handlers: list[Recorder], pair: KeyPair | None) -> None:
        self.server = server
        self.handlers = handlers
        self.pair = pair

    def channel(self) -> Any:
        address = f"127.0.0.1:{self.server.port}"
        if self.pair is None:
            return grpc.aio.insecure_channel(address)
        credentials = grpc.ssl_channel_credentials(self.pair.chain)
        return grpc.aio.secure_channel(
            address, credentials, [("grpc.ssl_target_name_override", "localhost")]
        )

    async def until(self, connections: int) -> None:
        """Wait, some seconds at most, until so many connections are open."""
        await eventually(lambda: self.server.connections == connections)


@asynccontextmanager
async def running(
    limits: Limits | None = None,
    *,
    pair: KeyPair | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Running]:
    handlers: list[Recorder] = []

    def service(call: Call) -> Recorder:
        handlers.append(Recorder(call, echo, finish))
        return handlers[-1]

    server = Server(
        {PATH: service},
        limits or Limits(),
        random=Random(1),
        tls=tls or (server_context(pair) if pair else None),
    )
    await server.start("127.0.0.1", 0)
    try:
        yield Running(server, handlers, pair)
    finally:
        await server.stop()


def open_call(channel: Any) -> Any:
    return channel.stream_stream(PATH)()


@pytest.mark.parametrize("tls", [False, True])
async def test_grpcios_client_gets_its_messages_back(tls: bool) -> None:
    pair = local_pair() if tls else None
    async with running(pair=pair) as it, it.channel() as channel:
        for size in (0, 1, 100_000, 3_000_000):
            call = open_call(channel)
            await call.write(b"x" * size)
            assert await call.read() == b"x" * size
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK
        assert it.server.streams == 0


async def test_a_tls_client_is_offered_http2() -> None:
    async with running(pair=make_self_signed()) as it:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", it.server.port, ssl=client_context(protocols=["h2", "http/1.1"])
        )
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        writer.close()


@pytest.mark.parametrize("protocols", [[], ["http/1.1"]])
async def test_a_tls_client_that_does_not_ask_for_http2_is_refused(protocols: list[str]) -> None:
    async with running(pair=make_self_signed()) as it:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", it.server.port, ssl=client_context(protocols=protocols)
        )
        assert b"no h2 by ALPN" in await reader.read()
        writer.close()
        await it.until(connections=0)
        assert it.server.errors == {"INADEQUATE_SECURITY": 1}


async def test_an_open_connection_outlives_its_certificate() -> None:
    old = local_pair()
    live = LiveContext(server_context(old))
    async with running(pair=old, tls=live) as it, it.channel() as channel:
        call = open_call(channel)
        await call.write(b"one")
        assert await call.read() == b"one"
        live.current = server_context(make_self_signed())
        await call.write(b"two")
        assert await call.read() == b"two"
        assert it.server.connections == 1


async def test_a_clients_deadline_is_kept_by_the_server() -> None:
    async with running() as it, it.channel() as channel:
        call = channel.stream_stream(PATH)(timeout=0.3)
        await call.write(b"x")
        assert await call.read() == b"x"
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(lambda: not it.server.streams)
        assert it.handlers[0].events[-1] == "ended"


async def test_a_client_that_cancels_ends_its_call() -> None:
    async with running() as it, it.channel() as channel:
        call = open_call(channel)
        await call.write(b"x")
        assert await call.read() == b"x"
        call.cancel()
        await eventually(lambda: not it.server.streams)
        assert it.handlers[0].events == ["message", "ended"]


async def test_a_connection_that_breaks_ends_its_calls() -> None:
    async with running() as it:
        _, writer = await asyncio.open_connection("127.0.0.1", it.server.port)
        writer.write(HELLO + Peer(greet=False).headers(1))
        await eventually(lambda: it.server.streams == 1)
        writer.transport.abort()
        await it.until(0)
        assert it.handlers[0].events == ["ended"]


async def test_draining_lets_the_running_call_end_and_takes_no_connection() -> None:
    async with running() as it, it.channel() as channel:
        call = open_call(channel)
        await call.write(b"one")
        assert await call.read() == b"one"
        port = it.server.port
        it.server.drain()
        await call.write(b"two")
        assert await call.read() == b"two"
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK
        await it.until(0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_stopping_ends_running_calls_and_says_why() -> None:
    async with running() as it, it.channel() as channel:
        call = open_call(channel)
        await call.write(b"x")
        assert await call.read() == b"x"
        async with asyncio.timeout(5):
            await it.server.stop("bye")
        assert await call.code() is grpc.StatusCode.UNAVAILABLE
        assert await call.details() == "bye"
        assert it.server.connections == 0


async def test_a_request_on_its_way_while_an_idle_server_stops_is_served() -> None:
    async with running() as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.server.port)
        peer = Peer(greet=False)
        writer.write(HELLO)
        await eventually(lambda: it.server.connections == 1)
        await asyncio.sleep(0.05)
        stopping = asyncio.get_running_loop().create_task(it.server.stop())
        await asyncio.sleep(0.05)  # the server has said that it goes, and this crosses it
        writer.write(peer.headers(1) + data(1, message(b"just in time"), end=True))
        await eventually(lambda: bool(it.handlers) and it.handlers[0].events[-1:] == ["ended"])
        writer.write(frames.frame(frames.PING, frames.ACK, 0, b"drainnow"))
        assert b"just in time" in await reader.read()
        await stopping
        writer.close()


async def test_many_small_messages_of_one_peer_let_others_have_their_turn() -> None:
    async with running() as it:
        _, writer = await asyncio.open_connection("127.0.0.1", it.server.port)
        peer = Peer(greet=False)
        writer.write(HELLO + peer.headers(1))
        await eventually(lambda: it.server.streams == 1)
        turns = 0
        writer.write(data(1, message(b"") * 3000) * 60)
        while len(it.handlers[0].messages) < 180_000 and turns < 10_000:
            await asyncio.sleep(0)
            turns += 1
        assert len(it.handlers[0].messages) == 180_000
        assert turns > 10
        writer.transport.abort()


async def test_who_does_not_speak_is_not_kept() -> None:
    async with running(FAST) as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.server.port)
        await it.until(1)
        await it.until(0)
        assert it.server.errors == {"SETTINGS_TIMEOUT": 1}
        await reader.read()
        writer.close()


async def test_who_does_not_answer_a_ping_is_not_kept() -> None:
    async with running(FAST) as it:
        _, writer = await asyncio.open_connection("127.0.0.1", it.server.port)
        writer.write(HELLO)
        await it.until(1)
        await it.until(0)
        writer.close()


async def test_who_answers_pings_is_kept() -> None:
    async with running(FAST) as it, it.channel() as channel:
        call = open_call(channel)
        await call.write(b"x")
        assert await call.read() == b"x"
        await asyncio.sleep(2.5)
        await call.write(b"y")
        assert await call.read() == b"y"


async def test_an_old_connection_makes_place_without_losing_a_call() -> None:
    limits = Limits(max_age_seconds=0.5)
    async with running(limits) as it, it.channel() as channel:
        running_call = open_call(channel)
        await running_call.write(b"x")
        assert await running_call.read() == b"x"
        await asyncio.sleep(1.5)
        fresh = open_call(channel)  # the client has to make a new connection for it
        await fresh.write(b"y")
        assert await fresh.read() == b"y"
        await running_call.write(b"z")
        assert await running_call.read() == b"z"


async def test_errors_of_peers_are_counted() -> None:
    async with running() as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.read()
        await it.until(0)
        assert it.server.errors == {"PROTOCOL_ERROR": 1}
        writer.close()


async def test_who_takes_nothing_holds_nobody_up() -> None:
    limits = Limits(max_unsent_total_bytes=1 << 20)
    async with running(limits) as it:
        _, slow = await asyncio.open_connection("127.0.0.1", it.server.port)
        slow.transport.pause_reading()  # type: ignore[attr-defined]
        async with it.channel() as channel:
            call = open_call(channel)
            await call.write(b"x" * 1_000_000)
            assert len(await call.read()) == 1_000_000
        slow.close()


async def test_a_taken_port_is_an_error() -> None:
    async with running() as it:
        other = Server({}, Limits(), random=Random(1))
        with pytest.raises(OSError, match="in use"):
            await other.start("127.0.0.1", it.server.port)
