"""Every body mode of the real Envoy, on both transports: nothing hangs, nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout

from lab.envoy import BodyMode, run_envoy
from lab.picker import run_picker
from tests.system.conftest import Gateway
from tests.system.upstreams import DONE_EVENT, EVENT, USAGE_EVENT, run_upstream

pytestmark = pytest.mark.system

REWRITE = "x-gateway-model-name-rewrite"
READ = (BodyMode.FULL_DUPLEX_STREAMED, BodyMode.BUFFERED, BodyMode.BUFFERED_PARTIAL)
"""The modes in which the picker sees the body before it decides."""


@pytest.fixture(params=BodyMode)
def mode(request: pytest.FixtureRequest) -> BodyMode:
    """How Envoy hands over bodies, in both directions."""
    found: BodyMode = request.param
    return found


@pytest_asyncio.fixture
async def moded(tmp_path: Path, transport: str, mode: BodyMode) -> AsyncIterator[Gateway]:
    async with AsyncExitStack() as parts:
        upstreams = [await parts.enter_async_context(run_upstream()) for _ in range(2)]
        endpoints = [upstream.endpoint for upstream in upstreams]
        picker = parts.enter_context(run_picker(tmp_path, endpoints, flags=[transport]))
        envoy = parts.enter_context(
            run_envoy(tmp_path, picker_port=picker.port, endpoints=endpoints, body_mode=mode)
        )
        client = await parts.enter_async_context(
            ClientSession(envoy.url, timeout=ClientTimeout(total=30))
        )
        yield Gateway(envoy, picker, upstreams, client)


async def test_requests_and_answers_are_whole_in_every_mode(moded: Gateway, mode: BodyMode) -> None:
    client = moded.client
    async with client.get("/v1/models") as answer:
        assert (answer.status, (await answer.json())["method"]) == (200, "GET")
    for size in (10, 100_000):
        body = json.dumps({"model": "m", "prompt": "x" * size}).encode()
        async with client.post("/v1/completions", data=body) as answer:
            told = await answer.json()
        assert (answer.status, told["length"]) == (200, len(body))
        assert told["sha256"] == hashlib.sha256(body).hexdigest()
    async with client.post("/v1/completions?events=200", data=body) as answer:
        assert await answer.read() == EVENT * 200 + USAGE_EVENT + DONE_EVENT
    decisions = moded.picker.decisions()
    assert len(decisions) == 4
    assert decisions[0]["target_model"] == ("m" if mode in READ else "")


async def test_a_model_is_renamed_where_the_body_is_read(moded: Gateway, mode: BodyMode) -> None:
    body = b'{"model": "m", "prompt": "hi"}'
    async with moded.client.post(
        "/v1/completions", data=body, headers={REWRITE: "longer-name"}
    ) as answer:
        told = await answer.json()
    expected = body.replace(b'"m"', b'"longer-name"') if mode in READ else body
    assert (answer.status, told["length"]) == (200, len(expected))
    assert told["sha256"] == hashlib.sha256(expected).hexdigest()


async def test_a_request_that_cannot_be_read_is_refused_where_it_is_read(
    moded: Gateway, mode: BodyMode
) -> None:
    async with moded.client.post("/v1/completions", data=b"{no json") as answer:
        text = await answer.text()
    if mode in READ:
        assert (answer.status, text.split(" - ")[0]) == (400, "inference gateway: BadRequest")
    else:
        assert answer.status == 200


async def test_a_client_that_leaves_leaves_nothing_behind(moded: Gateway) -> None:
    body = b'{"model": "m", "prompt": "hi"}'
    for _ in range(3):
        with contextlib.suppress(TimeoutError):  # Envoy may hold a buffered answer back for ever
            async with asyncio.timeout(0.5):
                await (await moded.client.post("/v1/completions?events=-1", data=body)).read()
    async with asyncio.timeout(20):
        while moded.running_requests():  # noqa: ASYNC110  # it is in another process
            await asyncio.sleep(0.05)


# A buffering Envoy itself waits for the body before it asks the model server to continue.
@pytest.mark.parametrize(
    "mode", [BodyMode.FULL_DUPLEX_STREAMED, BodyMode.STREAMED, BodyMode.NONE], indirect=True
)
async def test_a_client_that_waits_to_continue_is_not_kept_waiting(moded: Gateway) -> None:
    body = b'{"model": "m", "prompt": "hi"}'
    async with moded.client.post("/v1/completions", data=body, expect100=True) as answer:
        assert (answer.status, (await answer.json())["length"]) == (200, len(body))
