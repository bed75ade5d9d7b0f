"""The sidecar's stand-in between model servers that say what they were asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, web

from lab.endpoints import LabEndpoint
from lab.ports import free_port
from lab.sidecar import ASK_FOR_BLOCKS, Sidecar, run_sidecar

BLOCKS = {"do_remote_prefill": True, "remote_engine_id": "e", "remote_block_ids": [1, [2, 3]]}
WANTED = {
    "model": "m",
    "prompt": "hello",
    "max_tokens": 20,
    "stream": True,
    "stream_options": {"include_usage": True},
}
EVENTS = b'data: {"choices":[]}\n\ndata: [DONE]\n\n'


class Server:
    """A model server: remembers what it was asked, answers as told."""

    def __init__(self) -> None:
        self.port = free_port()
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.answer = web.json_response({"kv_transfer_params": BLOCKS})
        self.never_answers = False
        self.came = asyncio.Event()
        self.left = asyncio.Event()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((request.path_qs, headers, json.loads(body) if body else None))
        self.came.set()
        if self.never_answers:
            try:
                await asyncio.sleep(3600)
            finally:
                self.left.set()
        return self.answer

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Server]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield self
        finally:
            await runner.cleanup()


class World:
    """A prefiller, a sidecar before the server that decodes, and a client."""

    def __init__(
        self, prefiller: Server, decoder: Server, sidecar: Sidecar, client: ClientSession
    ) -> None:
        self.prefiller = prefiller
        self.decoder = decoder
        self.sidecar = sidecar
        self.client = client
        decoder.answer = web.Response(body=EVENTS, content_type="text/event-stream")

    async def post(
        self, prefiller: str | None = None, body: Any = WANTED, path: str = "/v1/completions"
    ) -> tuple[int, bytes]:
        headers = {"x-request-id": "r1"}
        if prefiller is not None:
            headers["x-prefiller-host-port"] = prefiller
        url = f"http://127.0.0.1:{self.sidecar.port}{path}"
        async with self.client.post(url, json=body, headers=headers) as response:
            return response.status, await response.read()


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as parts:
        prefiller = await parts.enter_async_context(Server().running())
        decoder = await parts.enter_async_context(Server().running())
        endpoint = LabEndpoint("decoder", "127.0.0.1", decoder.port)
        sidecar = await parts.enter_async_context(run_sidecar(endpoint))
        client = await parts.enter_async_context(ClientSession())
        yield World(prefiller, decoder, sidecar, client)


async def test_without_a_prefiller_everything_goes_straight_through(world: World) -> None:
    assert await world.post() == (200, EVENTS)
    ((_, headers, asked),) = world.decoder.asked
    assert (asked, headers["x-request-id"]) == (WANTED, "r1")
    assert world.prefiller.asked == []
    (served,) = world.sidecar.served
    assert served.destinations == [world.decoder.address]


async def test_the_prefiller_is_asked_for_one_token_and_its_blocks(world: World) -> None:
    assert await world.post(world.prefiller.address) == (200, EVENTS)
    ((path, headers, asked),) = world.prefiller.asked
    assert asked == {
        "model": "m",
        "prompt": "hello",
        "stream": False,
        "max_tokens": 1,
        "max_completion_tokens": 1,
        "min_tokens": 1,
        "kv_transfer_params": ASK_FOR_BLOCKS,
    }
    assert (path, headers["x-request-id"]) == ("/v1/completions", "r1")
    ((path, headers, asked),) = world.decoder.asked
    assert asked == {**WANTED, "kv_transfer_params": BLOCKS}
    assert (path, headers["x-request-id"]) == ("/v1/completions", "r1")
    assert "x-prefiller-host-port" not in headers
    (served,) = world.sidecar.served
    assert served.destinations == [world.prefiller.address, world.decoder.address]


async def test_of_a_list_the_first_prefiller_counts(world: World) -> None:
    await world.post(f" {world.prefiller.address} , 127.0.0.1:1")
    assert len(world.prefiller.asked) == 1


async def test_a_prefiller_s_error_is_the_client_s(world: World) -> None:
    world.prefiller.answer = web.json_response({"error": "full"}, status=429)
    status, told = await world.post(world.prefiller.address)
    assert (status, json.loads(told)) == (429, {"error": "full"})
    assert world.decoder.asked == []


async def test_a_prefiller_that_is_not_there_is_a_bad_gateway(world: World) -> None:
    status, _ = await world.post(f"127.0.0.1:{free_port()}")
    assert status == 502


@pytest.mark.parametrize("path", ["/tokenize", "/v1/embeddings"])
async def test_other_paths_are_passed_on_whatever_the_header_says(world: World, path: str) -> None:
    assert await world.post(world.prefiller.address, path=path) == (200, EVENTS)
    assert world.prefiller.asked == []
    assert (world.sidecar.served, world.sidecar.others) == ([], 1)


async def test_metrics_are_the_model_server_s(world: World) -> None:
    world.decoder.answer = web.Response(text="vllm:num_requests_waiting 0\n")
    url = f"http://127.0.0.1:{world.sidecar.port}/metrics?x=1"
    async with world.client.get(url) as response:
        assert (response.status, await response.text()) == (200, "vllm:num_requests_waiting 0\n")
    assert [path for path, _, _ in world.decoder.asked] == ["/metrics?x=1"]


async def test_a_client_that_leaves_ends_the_prefill(world: World) -> None:
    world.prefiller.never_answers = True
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        task = group.create_task(world.post(world.prefiller.address))
        await world.prefiller.came.wait()
        task.cancel()
        await world.prefiller.left.wait()
    assert world.decoder.asked == []
