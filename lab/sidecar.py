"""A stand-in for the sidecar in front of a model server that decodes.

It listens where the pool expects the model server. A request that names a prefiller is sent there
first, for one token, and then to the model server with what the prefiller said of its KV blocks;
any other request goes straight through. Only the sequence ``nixlv2`` is played, and cached tokens
of the prefiller are not added to the usage.

Source: llm-d-router v0.10, the decode sidecar.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import ClientConnectionError, ClientResponse, ClientSession, ClientTimeout, web
from multidict import CIMultiDict

from lab.endpoints import LabEndpoint
from lab.ports import free_port

PREFILL_HEADER = "x-prefiller-host-port"
PATHS = ("/v1/completions", "/v1/chat/completions")
LIMITS = ("max_tokens", "max_completion_tokens", "min_tokens")
ASK_FOR_BLOCKS = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}
_HOP_BY_HOP = frozenset(
    {"connection", "content-length", "host", "keep-alive", "te", "transfer-encoding", "upgrade"}
)


class Leg(msgspec.Struct, frozen=True):
    """One request that the sidecar sent: where to, what, and how it was answered."""

    destination: str
    body: bytes
    status: int


class Served(msgspec.Struct, frozen=True):
    """One request for an answer: the headers it came with, and the legs it took."""

    headers: Mapping[str, str]
    legs: list[Leg]

    @property
    def destinations(self) -> list[str]:
        """Who had a part in it, in order."""
        return [leg.destination for leg in self.legs]


class Sidecar:
    """A running sidecar.

    ``served`` are the requests for an answer, as they came; ``others`` is how many others came.
    """

    def __init__(self, server: LabEndpoint, port: int, client: ClientSession) -> None:
        self.port = port
        self.served: list[Served] = []
        self.others = 0
        self._server = f"{server.address}:{server.port}"
        self._client = client

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request, to its end."""
        if request.method != "POST" or request.path not in PATHS:
            self.others += 1
            return await self._pass_on(request, await request.read(), None)
        served = Served({k.lower(): v for k, v in request.headers.items()}, [])
        self.served.append(served)
        body = await request.read()
        # Of a list the first one counts.
        prefiller = request.headers.get(PREFILL_HEADER, "").partition(",")[0].strip()
        if not prefiller:
            return await self._pass_on(request, body, served)
        wanted: dict[str, Any] = msgspec.json.decode(body)
        async with self._send(request, prefiller, prefill_body(wanted), served) as answer:
            told = await answer.read()
            if answer.status != 200:
                return web.Response(
                    status=answer.status, body=told, content_type=answer.content_type
                )
        blocks = msgspec.json.decode(told).get("kv_transfer_params")
        decode = {**wanted, "kv_transfer_params": blocks}
        return await self._pass_on(request, msgspec.json.encode(decode), served)

    async def _pass_on(
        self, request: web.Request, body: bytes, served: Served | None
    ) -> web.StreamResponse:
        """The model server's answer, its bytes untouched and as they come."""
        async with self._send(request, self._server, body, served) as answer:
            response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    @asynccontextmanager
    async def _send(
        self, request: web.Request, destination: str, body: bytes, served: Served | None
    ) -> AsyncIterator[ClientResponse]:
        headers = _end_to_end(request.headers)
        headers.popall(PREFILL_HEADER, None)
        try:
            async with self._client.request(
                request.method,
                f"http://{destination}{request.rel_url}",
                data=body or None,
                headers=headers,
            ) as answer:
                if served is not None:
                    served.legs.append(Leg(destination, body, answer.status))
                yield answer
        except ClientConnectionError as error:
            raise web.HTTPBadGateway(text=f"{destination}: {error}") from error


@asynccontextmanager
async def run_sidecar(server: LabEndpoint) -> AsyncIterator[Sidecar]:
    """Start a sidecar in this event loop, in front of a model server."""
    async with ClientSession(
        auto_decompress=False, timeout=ClientTimeout(total=None, sock_connect=5)
    ) as client:
        sidecar = Sidecar(server, free_port(), client)
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{path:.*}", sidecar.answer)
        # A client that leaves ends the leg that is under way.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", sidecar.port).start()
        try:
            yield sidecar
        finally:
            await runner.cleanup()


def prefill_body(wanted: Mapping[str, Any]) -> bytes:
    """What a prefiller is asked for: the same, but one token, at once, and where its blocks are."""
    asked = {key: value for key, value in wanted.items() if key != "stream_options"}
    asked |= {"stream": False, "kv_transfer_params": ASK_FOR_BLOCKS} | dict.fromkeys(LIMITS, 1)
    return msgspec.json.encode(asked)


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """The headers that are not about one connection."""
    kept = CIMultiDict(headers)
    for name in _HOP_BY_HOP:
        kept.popall(name, None)
    return kept
