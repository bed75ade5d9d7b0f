"""The edge on real sockets: decisions that wait, proxies that leave, bytes that mean nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Any

import grpc
import pytest

from epp.core.decision import Decision, SchedulingResult
from epp.core.errors import ResourceExhaustedError
from epp.core.request import IncomingRequest, InferenceRequest, RequestBody
from epp.datastore.store import Datastore
from epp.exchange import Exchange
from epp.extproc.pb import ext_proc_pb2 as pb
from epp.extproc.servicer import SERVICE, ExternalProcessor
from epp.grpcio_server import GrpcioServer
from epp.http2.limits import Limits
from epp.http2.server import Server
from epp.rpc import Services
from tests.fakes import FakeClock, FakeProbe, make_endpoint, make_run

HEADERS = pb.ProcessingRequest(request_headers=pb.HttpHeaders())
LAST = pb.ProcessingRequest(request_body=pb.HttpBody(body=b"{}", end_of_stream=True))
EARLY = pb.ProcessingRequest(response_headers=pb.HttpHeaders(end_of_stream=True))

Wait = Callable[[], Awaitable[None]]


class FakeDirector:
    """Decides after ``wait``; remembers whether it was cancelled."""

    def __init__(self, wait: Wait | None) -> None:
        self.wait = wait
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def decide(self, exchange: Exchange, incoming: IncomingRequest) -> Decision:
        self.started.set()
        if self.wait is not None:
            try:
                await self.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        request = InferenceRequest(
            request_id="r",
            headers=incoming.headers,
            body=RequestBody(model="m"),
            incoming_model="m",
            target_model="m",
        )
        exchange.name_models("m", "m")
        endpoint = make_endpoint("a")
        result = SchedulingResult("p", {"p": make_run(endpoint, picked=[endpoint])})
        return Decision(request, result, "10.0.0.1:8000", (), incoming.body)


class Edge:
    """A server on loopback, its director and probe, and a way to call it."""

    def __init__(self, director: FakeDirector, probe: FakeProbe, channel: Any) -> None:
        self.director = director
        self.probe = probe
        self._call = channel.stream_stream(f"/{SERVICE}/Process")

    def call(self) -> Any:
        return self._call()

    async def settled(self) -> int:
        for _ in range(200):
            if (running := sum(change for _, change in self.probe.running)) == 0:
                break
            await asyncio.sleep(0.01)
        return running


OpenEdge = Callable[..., AbstractAsyncContextManager[Edge]]


@pytest.fixture(params=["http2", "grpcio"])
def edge(request: pytest.FixtureRequest) -> OpenEdge:
    """Opens an edge on one transport after the other."""

    @asynccontextmanager
    async def open_edge(
        wait: Wait | None = None, deadline_seconds: float = 30
    ) -> AsyncIterator[Edge]:
        probe, director = FakeProbe(), FakeDirector(wait)
        async with asyncio.TaskGroup() as tasks:
            processor = ExternalProcessor(
                director,  # type: ignore[arg-type]
                lambda: Exchange(clock=FakeClock(), probe=probe, datastore=Datastore()),
                tasks,
                decision_timeout_seconds=deadline_seconds,
            )
            server = make_server(request.param, processor.services, tasks)
            await server.start("127.0.0.1", 0)
            try:
                async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                    yield Edge(director, probe, channel)
            finally:
                await server.stop()

    return open_edge


def make_server(
    transport: str, services: Services, tasks: asyncio.TaskGroup
) -> Server | GrpcioServer:
    if transport == "http2":
        return Server(services, Limits(), random=Random(1))
    return GrpcioServer(services, tasks, max_message_bytes=2**20)


async def read(call: Any) -> str:
    """The kind of the next answer, ``end`` at the end."""
    data = await call.read()
    if data is grpc.aio.EOF:
        return "end"
    return str(pb.ProcessingResponse.FromString(data).WhichOneof("response"))


async def send(call: Any, *messages: pb.ProcessingRequest) -> None:
    for message in messages:
        await call.write(message.SerializeToString())


async def test_a_request_is_answered_in_the_order_of_the_wire(edge: OpenEdge) -> None:
    async with edge() as it:
        call = it.call()
        await send(call, HEADERS, LAST)
        assert [await read(call), await read(call)] == ["request_headers", "request_body"]
        await call.done_writing()
        assert await read(call) == "end"
        assert await call.code() is grpc.StatusCode.OK
        assert await it.settled() == 0


async def test_a_decision_that_waits_is_answered_when_it_is_made(edge: OpenEdge) -> None:
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    async with edge(wait) as it:
        call = it.call()
        await send(call, HEADERS, LAST)
        await it.director.started.wait()
        gate.set()
        assert [await read(call), await read(call)] == ["request_headers", "request_body"]
        await send(call, EARLY)
        assert await read(call) == "response_headers"
        await call.done_writing()
        assert await read(call) == "end"
        assert await it.settled() == 0


async def test_a_half_close_does_not_end_a_decision_that_waits(edge: OpenEdge) -> None:
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    async with edge(wait) as it:
        call = it.call()
        await send(call, HEADERS, LAST)
        await call.done_writing()
        await it.director.started.wait()
        gate.set()
        assert [await read(call) for _ in range(3)] == ["request_headers", "request_body", "end"]
        assert await call.code() is grpc.StatusCode.OK


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_a_proxy_that_leaves_cancels_the_decision(edge: OpenEdge) -> None:
    async with edge(forever) as it:
        call = it.call()
        await send(call, HEADERS, LAST)
        await it.director.started.wait()
        call.cancel()
        await asyncio.wait_for(it.director.cancelled.wait(), 20)
        assert await it.settled() == 0


async def test_an_early_answer_cancels_the_decision_and_is_answered(edge: OpenEdge) -> None:
    async with edge(forever) as it:
        call = it.call()
        await send(call, HEADERS, LAST)
        await it.director.started.wait()
        await send(call, EARLY)
        assert await read(call) == "response_headers"
        await asyncio.wait_for(it.director.cancelled.wait(), 20)
        await call.done_writing()
        assert await read(call) == "end"


async def test_a_decision_has_a_deadline_of_its_own(edge: OpenEdge) -> None:
    async with edge(forever, deadline_seconds=0.05) as it:
        call = it.call()
        await send(call, HEADERS, LAST)
        answer = pb.ProcessingResponse.FromString(await call.read())
        assert answer.immediate_response.status.code == 503
        assert await read(call) == "end"
        assert await call.code() is grpc.StatusCode.OK
        assert [code for _, _, code in it.probe.failed] == ["ServiceUnavailable"]


async def test_a_refusal_after_waiting_is_an_immediate_response(edge: OpenEdge) -> None:
    async def wait() -> None:
        await asyncio.sleep(0)
        raise ResourceExhaustedError("full")

    async with edge(wait) as it:
        call = it.call()
        await send(call, HEADERS, LAST)
        answer = pb.ProcessingResponse.FromString(await call.read())
        assert answer.immediate_response.status.code == 429
        assert await read(call) == "end"


@pytest.mark.parametrize("waits", [False, True])
async def test_an_unforeseen_error_fails_the_stream_and_not_the_server(
    edge: OpenEdge, waits: bool
) -> None:
    async def wait() -> None:
        if waits:
            await asyncio.sleep(0)
        raise KeyError("oops")

    async with edge(wait) as it:
        for _ in range(2):
            call = it.call()
            await send(call, HEADERS, LAST)
            assert await call.code() is grpc.StatusCode.UNKNOWN
            assert "failed to handle request" in await call.details()


async def test_bytes_that_are_no_message_end_the_stream_with_an_error(edge: OpenEdge) -> None:
    async with edge() as it:
        call = it.call()
        await call.write(b"\xff\xff\xff")
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_half_close_within_the_body_never_ends_well(edge: OpenEdge) -> None:
    async with edge() as it:
        call = it.call()
        await send(call, HEADERS)
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.ABORTED


async def test_a_stream_without_a_message_ends_well(edge: OpenEdge) -> None:
    async with edge() as it:
        call = it.call()
        await call.done_writing()
        assert await read(call) == "end"
        assert await call.code() is grpc.StatusCode.OK


WHOLE = [
    HEADERS,
    LAST,
    pb.ProcessingRequest(response_headers=pb.HttpHeaders()),
    pb.ProcessingRequest(response_body=pb.HttpBody(body=b"{}")),
    pb.ProcessingRequest(response_body=pb.HttpBody(end_of_stream=True)),
]
ANSWERS = [0, 2, 1, 1, 1]


@pytest.mark.parametrize("length", range(len(WHOLE) + 1))
async def test_a_reset_after_each_message_leaves_the_gauges_at_zero(
    edge: OpenEdge, length: int
) -> None:
    async with edge() as it:
        call = it.call()
        for message, answers in zip(WHOLE[:length], ANSWERS, strict=False):
            await send(call, message)
            for _ in range(answers):
                assert await read(call) != "end"
        call.cancel()
        assert await it.settled() == 0
