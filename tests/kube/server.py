"""A small API server on loopback that lists and watches one kind, and can misbehave."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from epp.kube.client import KubeClient
from lab.ports import free_ports

PATH = "/api/v1/namespaces/ns/pods"
_TURN_SECONDS = 0.005


class Hasty(Random):
    """Chance that makes waits a hundred times shorter than they usually are."""

    def uniform(self, a: float, b: float) -> float:
        return 0.01


class Collection:
    """The objects of a kind with their history.

    ``requests`` are the queries in order, those of watches with ``watch`` in them, and ``moments``
    when they came, in seconds; ``list_status``
    and ``watch_status`` other than 200 refuse.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.version = 100
        self.history: list[tuple[int, bytes]] = []
        self.oldest = 0
        self.requests: list[dict[str, str]] = []
        self.moments: list[float] = []
        self.list_status = self.watch_status = 200
        self.list_answer: bytes | None = None
        self.ends_watches_at_once = False
        self.is_mute = False
        self.watches: set[asyncio.Transport] = set()
        self._news = asyncio.Event()

    @property
    def lists(self) -> list[dict[str, str]]:
        return [query for query in self.requests if "watch" not in query]

    @property
    def watched_from(self) -> list[int]:
        return [int(query["resourceVersion"]) for query in self.requests if "watch" in query]

    def put(self, name: str, **fields: Any) -> None:
        """Create or change an object; ``fields`` may hold more ``metadata``."""
        kind = "MODIFIED" if name in self.objects else "ADDED"
        self.version += 1
        metadata = {"name": name, "namespace": "ns", "resourceVersion": str(self.version)}
        self.objects[name] = {**fields, "metadata": {**fields.get("metadata", {}), **metadata}}
        self.tell(kind, self.objects[name])

    def delete(self, name: str) -> None:
        self.version += 1
        gone = self.objects.pop(name)
        self.tell("DELETED", gone | {"metadata": self._stamp(gone["metadata"])})

    def bookmark(self) -> None:
        self.version += 1
        self.tell("BOOKMARK", {"metadata": self._stamp({})})

    def fail(self, code: int) -> None:
        """Tell watches of an error."""
        self.version += 1
        self.tell("ERROR", {"kind": "Status", "code": code, "message": "told to"})

    def tell(self, kind: str, about: Any) -> None:
        self.tell_bytes(json.dumps({"type": kind, "object": about}).encode() + b"\n")

    def tell_bytes(self, data: bytes) -> None:
        """Send to watches what need not be an event."""
        self.history.append((self.version, data))
        self._wake()

    def forget_history(self) -> None:
        self.oldest = self.version
        self.history.clear()

    def cut(self) -> None:
        """Cut the connections of all watches."""
        for transport in self.watches:
            transport.abort()

    def _stamp(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        return {**metadata, "resourceVersion": str(self.version)}

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.requests.append(query)
        self.moments.append(asyncio.get_running_loop().time())
        if self.is_mute:
            await asyncio.Event().wait()
        status = self.watch_status if "watch" in query else self.list_status
        if status != 200:
            return _status(status, f"refused with {status}")
        return await self._watch(request) if "watch" in query else self._list(query)

    def _list(self, query: Mapping[str, str]) -> web.Response:
        if self.list_answer is not None:
            return web.Response(body=self.list_answer)
        names = sorted(self.objects)
        start = int(query.get("continue", "0"))
        end = start + int(query.get("limit", len(names)))
        metadata = {"resourceVersion": str(self.version)}
        if end < len(names):
            metadata["continue"] = str(end)
        items = [self.objects[name] for name in names[start:end]]
        return web.json_response({"metadata": metadata, "items": items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        transport = request.transport
        assert transport is not None
        seen = int(request.query["resourceVersion"])
        if seen < self.oldest:
            gone = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
            await response.write(json.dumps(gone).encode() + b"\n")
            return response
        if self.ends_watches_at_once:
            return response
        self.watches.add(transport)
        done = 0
        try:
            while not transport.is_closing():
                news = self._news
                for version, data in self.history[done:]:
                    if version > seen:
                        await response.write(data)
                done = len(self.history)
                await news.wait()
        finally:
            self.watches.discard(transport)
        return response


class ApiServer(Collection):
    """The collection at ``PATH``, and others by their paths; ``good_token`` may be demanded."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        (self.port,) = free_ports(1)
        self.tls = tls
        self.collections: dict[str, Collection] = {PATH: self}
        self.asked: list[str] = []
        self.tokens: list[str] = []
        self.good_token = ""
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}"

    def add(self, path: str) -> Collection:
        """Another collection."""
        return self.collections.setdefault(path, Collection())

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(
            app, shutdown_timeout=0.01, handler_cancellation=True, access_log=None
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.tls).start()

    async def stop(self) -> None:
        for collection in self.collections.values():
            collection.cut()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "")
        self.asked.append(request.path)
        self.tokens.append(token)
        if self.good_token and token != self.good_token:
            return _status(401, "Unauthorized")
        collection = self.collections.get(request.path)
        if collection is None:
            return _status(404, "the server could not find the requested resource")
        return await collection.answer(request)


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[ApiServer]:
    server = ApiServer(tls)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def client_of(server: ApiServer) -> AsyncIterator[KubeClient]:
    async def load() -> Configuration:
        return Configuration(host=server.url)

    client = KubeClient(load)
    await client.open()
    try:
        yield client
    finally:
        await client.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what is sure to come."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # what it looks at knows no events
            await asyncio.sleep(_TURN_SECONDS)
