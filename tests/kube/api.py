"""An API server that is a Python object, a client of it, and the time of a virtual event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from epp.core.clock import Clock
from epp.kube.client import ApiError, KubeClient

Body = dict[str, Any]


class LoopClock(Clock):
    """The event loop's time; ``offset`` is how wrong the time of day is."""

    def __init__(self, offset: float = 0.0) -> None:
        self._offset = offset

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def timestamp(self) -> float:
        return datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp() + self.now() + self._offset


class FakeClient(KubeClient):
    """Asks ``answer`` for the answer after ``delay`` seconds; takes notes of what was sent."""

    def __init__(self, answer: Callable[[str, str, Body], Body | bytes]) -> None:
        self.answer = answer
        self.delay = 0.0
        self.failure: Exception | None = None
        self.sent: list[tuple[str, str, Body]] = []

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] = {},
        seconds: float = 30.0,
    ) -> bytes:
        self.sent.append((method, path, body))
        await asyncio.sleep(self.delay)
        if self.failure is not None:
            raise self.failure
        answer = self.answer(method, path, body)
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()


class Objects:
    """Objects by path, with optimistic locking."""

    def __init__(self) -> None:
        self.objects: dict[str, Body] = {}
        self._version = 0

    def answer(self, method: str, path: str, body: Body) -> Body:
        if method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                raise ApiError(409, "already exists")
            return self._put(path, body)
        if path not in self.objects:
            raise ApiError(404, "not found")
        if method == "PUT":
            known = self.objects[path]["metadata"]["resourceVersion"]
            if body["metadata"].get("resourceVersion") != known:
                raise ApiError(409, "the object has been modified")
            return self._put(path, body)
        assert method == "GET"
        return self.objects[path]

    def _put(self, path: str, body: Body) -> Body:
        self._version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self._version)}
        self.objects[path] = {**body, "metadata": metadata}
        return self.objects[path]
