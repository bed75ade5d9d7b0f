from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from epp.grpcio_server import GrpcioServer
from epp.rpc import Call, Message, Service, Status
from epp.tls.certificates import make_self_signed
from tests.http2.wire import PATH, Recorder, echo, eventually, finish
from tests.tls.handshakes import client_context, der


class Running:
    def __init__(self, server: GrpcioServer, handlers: list[Recorder], channel: Any) -> None:
        self.server = server
        self.handlers = handlers
        self.channel = channel
        self.call = channel.stream_stream(PATH)

    async def until_ended(self) -> None:
        await eventually(lambda: bool(self.handlers) and "ended" in self.handlers[0].events)


@asynccontextmanager
async def running(on_message: Any = echo, service: Service | None = None) -> AsyncIterator[Running]:
    handlers: list[Recorder] = []

    def record(call: Call) -> Recorder:
        handlers.append(Recorder(call, on_message, finish))
        return handlers[-1]

    async with asyncio.TaskGroup() as tasks:
        server = GrpcioServer({PATH: service or record}, tasks, max_message_bytes=2**20)
        await server.start("127.0.0.1", 0)
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                yield Running(server, handlers, channel)
        finally:
            await server.stop()


async def test_messages_come_back_and_the_call_ends_once() -> None:
    async with running() as it:
        call = it.call(metadata=(("x-a", "1"),))
        for text in (b"one", b"two"):
            await call.write(text)
            assert await call.read() == text
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
        await it.until_ended()
        assert it.handlers[0].events == ["message", "message", "half-closed", "ended"]
        assert it.handlers[0].call.metadata[b"x-a"] == b"1"


async def test_a_status_reaches_the_client_with_its_trailers() -> None:
    def refuse(call: Call, _data: Message) -> None:
        call.send_parts([b"a", b"b"])
        call.finish(Status.ABORTED, "no", [(b"x-more", b"1")])
        call.send(b"too late")

    async with running(refuse) as it:
        call = it.call()
        await call.write(b"x")
        assert await call.read() == b"ab"
        assert await call.code() is grpc.StatusCode.ABORTED
        assert await call.details() == "no"
        assert ("x-more", "1") in list(await call.trailing_metadata())


async def test_a_client_that_cancels_ends_its_call() -> None:
    async with running() as it:
        call = it.call()
        await call.write(b"x")
        assert await call.read() == b"x"
        call.cancel()
        await it.until_ended()
        assert it.handlers[0].events.count("ended") == 1


async def test_a_broken_handler_costs_its_call(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_call: Call, _data: Message) -> None:
        raise KeyError("oops")

    async with running(broken) as it:
        call = it.call()
        await call.write(b"x")
        assert await call.code() is grpc.StatusCode.INTERNAL
        assert "A gRPC handler failed" in caplog.text


@pytest.mark.parametrize("where", ["open", "half_closed", "ended"])
async def test_wherever_a_handler_breaks_only_its_call_is_lost(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    def service(call: Call) -> Recorder:
        if where == "open":
            raise KeyError("oops")

        def fail(*_: object) -> None:
            raise KeyError("oops")

        handler = Recorder(call, echo, fail if where == "half_closed" else finish)
        if where == "ended":
            handler.ended = fail  # type: ignore[method-assign]
        return handler

    async with running(service=service) as it:
        call = it.call()
        await call.done_writing()
        expected = grpc.StatusCode.OK if where == "ended" else grpc.StatusCode.INTERNAL
        assert await call.code() is expected
        await eventually(lambda: "A gRPC handler failed" in caplog.text)


async def test_who_has_finished_is_told_only_of_the_end() -> None:
    async with running() as it:
        call = it.call()
        await call.write(b"x")
        assert await call.read() == b"x"
        it.handlers[0].call.finish(Status.ABORTED)
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.ABORTED
        await it.until_ended()
        assert it.handlers[0].events == ["message", "ended"]


async def test_binary_metadata_is_what_it_is_on_the_wire() -> None:
    def answer(call: Call, _data: Message) -> None:
        call.finish(trailers=[(b"x-bin", call.metadata[b"x-bin"])])

    async with running(answer) as it:
        call = it.call(metadata=(("x-bin", b"\0\xff!"),))
        await call.write(b"x")
        assert ("x-bin", b"\0\xff!") in list(await call.trailing_metadata())
        assert it.handlers[0].call.metadata[b"x-bin"] == b"AP8h"


async def test_a_taken_port_is_an_error() -> None:
    async with running() as it, asyncio.TaskGroup() as tasks:
        other = GrpcioServer({}, tasks, max_message_bytes=100)
        with pytest.raises(OSError, match=str(it.server.port)):
            await other.start("127.0.0.1", it.server.port)


async def test_new_handshakes_have_the_new_pair() -> None:
    pairs = [make_self_signed(is_rsa=True)]
    async with asyncio.TaskGroup() as tasks:
        server = GrpcioServer(
            {},
            tasks,
            max_message_bytes=100,
            key_pair=lambda: (pairs[-1].key, pairs[-1].chain),
        )
        await server.start("127.0.0.1", 0)
        for _ in range(2):
            for _ in range(2):
                _, writer = await asyncio.open_connection(
                    "127.0.0.1", server.port, ssl=client_context()
                )
                connection = writer.get_extra_info("ssl_object")
                assert connection.getpeercert(binary_form=True) == der(pairs[-1])
                assert connection.selected_alpn_protocol() == "h2"
                writer.close()
            pairs.append(make_self_signed())
        await server.stop()


async def test_an_unknown_method_is_unimplemented() -> None:
    async with running() as it:
        call = it.channel.stream_stream("/unknown")()
        assert await call.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_message_over_the_limit_exhausts_it() -> None:
    async with running() as it:
        call = it.call()
        await call.write(bytes(2**20 + 1))
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await it.until_ended()


async def test_stopping_ends_running_calls() -> None:
    async with running() as it:
        call = it.call()
        await call.write(b"x")
        assert await call.read() == b"x"
        await it.server.stop()
        assert await call.code() is grpc.StatusCode.UNAVAILABLE
