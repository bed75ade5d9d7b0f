from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from epp.grpcio_server import GrpcioServer
from epp.rpc import Call, Message, Status
from tests.http2.wire import PATH, Recorder, echo, eventually, finish


class Running:
    def __init__(self, server: GrpcioServer, handlers: list[Recorder], channel: Any) -> None:
        self.server = server
        self.handlers = handlers
        self.call = channel.stream_stream(PATH)

    async def until_ended(self) -> None:
        await eventually(lambda: bool(self.handlers) and "ended" in self.handlers[0].events)


@asynccontextmanager
async def running(on_message: Any = echo) -> AsyncIterator[Running]:
    handlers: list[Recorder] = []

    def service(call: Call) -> Recorder:
        handlers.append(Recorder(call, on_message, finish))
        return handlers[-1]

    async with asyncio.TaskGroup() as tasks:
        server = GrpcioServer({PATH: service}, tasks, max_message_bytes=2**20)
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


async def test_stopping_ends_running_calls() -> None:
    async with running() as it:
        call = it.call()
        await call.write(b"x")
        assert await call.read() == b"x"
        await it.server.stop()
        assert await call.code() is grpc.StatusCode.UNAVAILABLE
