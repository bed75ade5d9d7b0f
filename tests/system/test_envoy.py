"""The picker behind a real Envoy, programmed as a gateway programs it for an inference pool."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import random
from pathlib import Path

import pytest

from lab.envoy import run_envoy
from lab.picker import run_picker
from tests.system.conftest import Gateway
from tests.system.http2_client import exchange
from tests.system.upstreams import DONE_EVENT, EVENT, USAGE_EVENT, run_http2_upstream

pytestmark = pytest.mark.system

PATH = "/v1/completions"


def body_of(size: int) -> bytes:
    """A completions request of about ``size`` bytes with a body that no decoder would give back."""
    text = "".join(random.Random(size).choices("abcdefgh ", k=size))
    return b'{ "seed": 9007199254740993, "model" :"m","prompt":"' + text.encode() + b'\\u00e9" }'


async def settled(gateway: Gateway) -> float:
    """The gauge of running requests, once the picker had time to notice the end of streams."""
    for _ in range(100):
        running = await asyncio.to_thread(gateway.running_requests)
        if running == 0:
            break
        await asyncio.sleep(0.05)
    return running


async def test_a_get_is_routed(gateway: Gateway) -> None:
    async with gateway.client.get("/v1/models") as response:
        told = await response.json()
    assert response.status == 200
    assert told["method"] == "GET"
    assert told["port"] in [upstream.port for upstream in gateway.upstreams]
    (decision,) = await asyncio.to_thread(gateway.picker.decisions)
    assert decision["destination"] == f"127.0.0.1:{told['port']}"


@pytest.mark.parametrize("size", [0, 200, 5 * 2**20, 20 * 2**20])
async def test_a_post_arrives_byte_for_byte_where_the_picker_said(
    gateway: Gateway, size: int
) -> None:
    body = body_of(size)
    async with gateway.client.post(PATH, data=io.BytesIO(body)) as response:
        assert response.status == 200, await response.text()
        told = json.loads(await response.read())
        assert response.headers.getall("set-cookie") == ["a=1", "b=2"]
        assert response.headers["x-went-into-resp-headers"] == "true"
    assert (told["length"], told["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    (decision,) = await asyncio.to_thread(gateway.picker.decisions)
    assert decision["destination"] == f"127.0.0.1:{told['port']}"
    assert await settled(gateway) == 0


async def test_repeated_headers_and_many_headers_survive(gateway: Gateway) -> None:
    headers = [("x-dup", "1"), ("x-dup", "2"), *[(f"x-many-{i}", "v") for i in range(80)]]
    async with gateway.client.post(PATH, data=body_of(10), headers=headers) as response:
        told = await response.json()
    received = [(name, value) for name, value in told["headers"]]
    assert [value for name, value in received if name == "x-dup"] in (["1", "2"], ["1,2"])
    assert sum(name.startswith("x-many-") for name, _ in received) == 80


async def test_a_renamed_model_changes_only_the_name(gateway: Gateway) -> None:
    body = body_of(300)
    expected = body.replace(b'"model" :"m"', b'"model" :"a-longer-name"')
    rewrite = {"x-gateway-model-name-rewrite": "a-longer-name"}
    async with gateway.client.post(PATH, data=body, headers=rewrite) as response:
        told = await response.json()
    assert told["sha256"] == hashlib.sha256(expected).hexdigest()


async def test_a_client_cannot_choose_its_endpoint(gateway: Gateway) -> None:
    headers = {"X-Gateway-Destination-Endpoint": "127.0.0.1:1"}
    async with gateway.client.post(PATH, data=body_of(10), headers=headers) as response:
        told = await response.json()
    sent = dict(told["headers"])["x-gateway-destination-endpoint"]
    assert sent == f"127.0.0.1:{told['port']}"


async def test_a_streamed_answer_of_1000_events_comes_whole(gateway: Gateway) -> None:
    async with gateway.client.post(f"{PATH}?events=1000", data=body_of(50)) as response:
        answer = await response.read()
    assert answer == EVENT * 1000 + USAGE_EVENT + DONE_EVENT
    assert await settled(gateway) == 0
    page = await asyncio.to_thread(gateway.picker.metrics)
    assert (
        'inference_objective_output_tokens_sum{model_name="m",target_model_name="m"} 1000' in page
    )


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b'{"model": ', 400, "inference gateway: BadRequest - Error unmarshaling request body"),
        (b"[1]", 400, "inference gateway: BadRequest - Error unmarshaling request body"),
        (
            b'{"prompt":"x"}',
            400,
            "inference gateway: BadRequest - model not found in request body",
        ),
        (
            b'{"model":"m"}',
            400,
            "inference gateway: BadRequest - failed to extract request data: inference gateway: "
            "BadRequest - invalid chat-completions request: inference gateway: BadRequest - "
            "chat-completions request must have at least one message",
        ),
        (
            b'{"model":"m","messages":7}',
            400,
            "inference gateway: BadRequest - failed to extract request data: inference gateway: "
            "BadRequest - invalid request format",
        ),
    ],
)
async def test_a_bad_request_gets_its_status_and_text(
    gateway: Gateway, body: bytes, status: int, text: str
) -> None:
    async with gateway.client.post(PATH, data=body) as response:
        assert (response.status, await response.text()) == (status, text)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_empty_pool_is_503(gateway: Gateway, method: str) -> None:
    gateway.picker.set_endpoints([])
    for _ in range(100):
        async with gateway.client.request(
            method, PATH, data=body_of(9) if method == "POST" else None
        ) as response:
            text = await response.text()
        if response.status == 503:
            break
        await asyncio.sleep(0.05)
    assert response.status == 503
    assert text == (
        "inference gateway: ServiceUnavailable - "
        "failed to find candidate pods for serving the request"
    )


async def test_a_client_that_leaves_mid_stream_ends_the_work(gateway: Gateway) -> None:
    response = await gateway.client.post(f"{PATH}?events=-3", data=body_of(50))
    assert (await response.content.readline()).startswith(b"data:")
    assert await asyncio.to_thread(gateway.running_requests) == 1
    response.close()
    for _ in range(500):
        if any(upstream.aborted.is_set() for upstream in gateway.upstreams):
            break
        await asyncio.sleep(0.02)
    assert any(upstream.aborted.is_set() for upstream in gateway.upstreams)
    assert await settled(gateway) == 0


async def test_a_client_that_leaves_mid_upload_leaves_nothing_behind(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.envoy.port)
    writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    del reader
    async with gateway.client.post(PATH, data=body_of(5)) as response:
        assert response.status == 200
    assert await settled(gateway) == 0


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/stream"])
async def test_trailers_of_an_http2_model_server_reach_the_client(
    tmp_path: Path, path: str, transport: str
) -> None:
    async with run_http2_upstream() as (endpoint, seen):
        with (
            run_picker(tmp_path, [endpoint], flags=[transport]) as picker,
            run_envoy(
                tmp_path, picker_port=picker.port, endpoints=[endpoint], upstream_http2=True
            ) as envoy,
        ):
            answer = await exchange(envoy.port, path, body_of(10))
            assert (answer["status"], answer["body"]) == (200, body_of(10))
            assert answer["trailers"] == {b"x-checksum": b"abc"}
            assert seen[-1]["path"] == path


async def test_trailers_of_an_http2_client_end_its_body(tmp_path: Path, transport: str) -> None:
    """Envoy's retry policy delivers such a body twice, so only its being there is looked at."""
    async with run_http2_upstream() as (endpoint, seen):
        with (
            run_picker(tmp_path, [endpoint], flags=[transport]) as picker,
            run_envoy(
                tmp_path, picker_port=picker.port, endpoints=[endpoint], upstream_http2=True
            ) as envoy,
        ):
            answer = await exchange(envoy.port, PATH, body_of(10), trailers=[("x-sum", "1")])
            assert answer["status"] == 200
            assert body_of(10) in answer["body"]
            assert {b"x-sum": b"1"} in [entry.get("trailers") for entry in seen]


async def test_no_answer_was_spurious(gateway: Gateway) -> None:
    for size in (0, 100_000):
        async with gateway.client.post(PATH, data=body_of(size)) as response:
            assert response.status == 200
    assert await asyncio.to_thread(gateway.envoy.stat, "spurious_msgs_received") == 0
    assert await asyncio.to_thread(gateway.envoy.stat, "rejected_header_mutations") == 0
    assert await asyncio.to_thread(gateway.envoy.stat, "streams_failed") == 0
