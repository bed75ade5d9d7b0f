"""Model servers that tell what reached them, over HTTP/1.1 and over HTTP/2."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h2.config
import h2.connection
import h2.events
from aiohttp import web

from lab.endpoints import LabEndpoint
from lab.ports import free_port

METRICS = """\
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{model_name="m"} 0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{model_name="m"} 0.25
"""
EVENT = b'data: {"choices":[{"index":0,"text":"tok"}],"usage":null}\n\n'
USAGE_EVENT = (
    b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":1000,"total_tokens":1007}}'
    b"\n\n"
)
DONE_EVENT = b"data: [DONE]\n\n"


class Upstream:
    """An HTTP/1.1 server: POST tells what came, ``?events=N`` streams, GET answers too."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.aborted = asyncio.Event()
        self.release = asyncio.Event()

    @property
    def endpoint(self) -> LabEndpoint:
        return LabEndpoint(f"upstream-{self.port}", "127.0.0.1", self.port)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/metrics":
            return web.Response(text=METRICS)
        body = await request.read()
        if "events" in request.query:
            return await self.stream(request, int(request.query["events"]))
        told = {
            "path": request.path,
            "method": request.method,
            "length": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "headers": [[name.lower(), value] for name, value in request.headers.items()],
            "port": self.port,
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        }
        answer = web.json_response(told)
        answer.headers.add("set-cookie", "a=1")
        answer.headers.add("set-cookie", "b=2")
        return answer

    async def stream(self, request: web.Request, count: int) -> web.StreamResponse:
        """``count`` events; a negative number: some events, then wait for ``release``."""
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            for _ in range(abs(count)):
                await response.write(EVENT)
            if count < 0:
                await self.wait_for_release(response)
            await response.write(USAGE_EVENT)
            await response.write(DONE_EVENT)
        except (ConnectionError, asyncio.CancelledError):
            self.aborted.set()
            raise
        return response

    async def wait_for_release(self, response: web.StreamResponse) -> None:
        while not self.release.is_set():
            await asyncio.sleep(0.02)
            await response.write(EVENT)  # a write is what notices that the client has gone


@asynccontextmanager
async def run_upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream(free_port())
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{path:.*}", upstream.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", upstream.port).start()
    try:
        yield upstream
    finally:
        await runner.cleanup()


class Http2Upstream(asyncio.Protocol):
    """An HTTP/2 server with prior knowledge: echoes the body, then sends trailers."""

    def __init__(self, seen: list[dict[str, Any]]) -> None:
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self._bodies: dict[int, bytearray] = {}
        self._paths: dict[int, str] = {}
        self._seen = seen

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        self._transport.write(self._h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self._bodies[event.stream_id] = bytearray()
                self._paths[event.stream_id] = dict(event.headers)[b":path"].decode()
            elif isinstance(event, h2.events.DataReceived):
                self._bodies[event.stream_id] += event.data
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                self._seen.append({"trailers": dict(event.headers)})
            elif isinstance(event, h2.events.StreamEnded):
                self._answer(event.stream_id)
        self._transport.write(self._h2.data_to_send())

    def _answer(self, stream: int) -> None:
        body = (
            METRICS.encode() if self._paths[stream] == "/metrics" else bytes(self._bodies[stream])
        )
        self._seen.append({"path": self._paths[stream], "body": body})
        kind = "text/event-stream" if "stream" in self._paths[stream] else "application/json"
        self._h2.send_headers(stream, [(":status", "200"), ("content-type", kind)])
        self._h2.send_data(stream, body[:16_384])
        self._h2.send_headers(stream, [("x-checksum", "abc")], end_stream=True)


@asynccontextmanager
async def run_http2_upstream() -> AsyncIterator[tuple[LabEndpoint, list[dict[str, Any]]]]:
    seen: list[dict[str, Any]] = []
    port = free_port()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Http2Upstream(seen), "127.0.0.1", port)
    try:
        yield LabEndpoint(f"http2-{port}", "127.0.0.1", port), seen
    finally:
        server.close()


def parse(body: bytes) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(body)
    return told
