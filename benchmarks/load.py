"""The load generator: ``python -m benchmarks.load PLAN.json RESULT.json``, a process of its own.

Closed loop: so many clients, each sends its next request when it has its answer. Open loop:
requests start at fixed times whatever the answers do, and latency counts from the time a request
was due. Every answer is checked; the run ends after so many requests or seconds.
"""

from __future__ import annotations

import asyncio
import collections
import sys
import time
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from benchmarks.backend import COMPLETION, STREAM_BYTES, STREAM_EVENTS
from benchmarks.prompts import PromptKind, Prompts

_REQUEST = (
    b"POST /v1/completions HTTP/1.1\r\nhost: benchmark.test\r\nuser-agent: epp-benchmarks\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
)
_MAX_CONNECTIONS = 256


class Plan(msgspec.Struct, frozen=True):
    """What to send, how, and when to stop."""

    port: int
    requests: int
    seconds: float
    concurrency: int = 16
    rate: float | None = None  # Requests per second of an open loop; None is a closed loop.
    prompt_characters: int = 200
    prompt_kind: PromptKind = PromptKind.NEW
    stream: bool = False
    answer_timeout_seconds: float = 20.0
    seed: int = 0


class Result(msgspec.Struct):
    """What came back."""

    sent: int = 0
    good: int = 0
    seconds: float = 0.0
    chunks: int = 0
    statuses: dict[str, int] = {}
    problems: dict[str, int] = {}
    latencies_ms: list[float] = []

    @property
    def bad(self) -> int:
        return self.sent - self.good

    def percentile(self, ratio: float) -> float:
        """Latency in ms that this share of the good answers stays within; nan without any."""
        ordered = sorted(self.latencies_ms)
        if not ordered:
            return float("nan")
        return ordered[min(len(ordered) - 1, int(ratio * len(ordered)))]


class Answer(msgspec.Struct):
    """One answer as it arrives."""

    status: int = 0
    body_bytes: int = 0
    newlines: int = 0


class BadAnswerError(Exception):
    """The answer is no HTTP/1.1 as we know it, or it broke off."""


class Client(asyncio.Protocol):
    """One keep-alive connection with one request at a time; reads length and chunked bodies."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._in_head = True
        # Bytes of the current chunk or body that are still to come; None: a chunk's size is next.
        self._left: int | None = 0
        self._chunked = False
        self._answer = Answer()
        self._done: asyncio.Future[Answer] | None = None

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail("connection closed")

    def send(self, body: bytes) -> asyncio.Future[Answer]:
        """Send a request; the future has its answer, or ``BadAnswerError``."""
        assert self._transport is not None
        self._buffer = b""
        self._in_head = True
        self._answer = Answer()
        self._done = asyncio.get_running_loop().create_future()
        self._transport.writelines([_REQUEST % len(body), body])
        return self._done

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        self._buffer = b""
        if self._in_head:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                return
            self._read_head(data[:end].lower())
            data = data[end + 4 :]
        if self._chunked:
            self._read_chunks(data)
        else:
            self._take(data)
            self._left = (self._left or 0) - len(data)
            if self._left <= 0:
                self._finish()

    def _read_head(self, head: bytes) -> None:
        self._in_head = False
        self._answer.status = int(head[9:12])
        self._chunked = b"\r\ntransfer-encoding: chunked" in head
        self._left = None
        if not self._chunked:
            _, found, rest = head.partition(b"\r\ncontent-length:")
            self._left = int(rest.partition(b"\r\n")[0]) if found else 0

    def _read_chunks(self, data: bytes) -> None:
        position, size = 0, len(data)
        while position < size:
            if self._left is None:
                end = data.find(b"\r\n", position)
                if end < 0:
                    break
                length = int(data[position:end], 16)
                if length == 0:
                    if size < end + 4:
                        break
                    self._finish()
                    return
                # The line end after a chunk is counted with it and taken off again.
                self._left = length + 2
                self._answer.body_bytes -= 2
                self._answer.newlines -= 1
                position = end + 2
            piece = data[position : position + self._left]
            self._take(piece)
            position += len(piece)
            self._left = self._left - len(piece) or None
        self._buffer = data[position:]

    def _take(self, piece: bytes) -> None:
        self._answer.body_bytes += len(piece)
        self._answer.newlines += piece.count(b"\n")

    def _finish(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(self._answer)

    def _fail(self, reason: str) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(BadAnswerError(reason))


class Load:
    """Carries out one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._prompts = Prompts(
            characters=plan.prompt_characters,
            kind=plan.prompt_kind,
            stream=plan.stream,
            seed=plan.seed,
        )
        self._idle: collections.deque[Client] = collections.deque()
        self._result = Result()
        self._deadline = 0.0

    async def run(self) -> Result:
        """Send everything; bounded by the plan's seconds plus one answer timeout."""
        await self._connect(self._plan.concurrency)
        started = time.monotonic()
        self._deadline = started + self._plan.seconds
        async with asyncio.TaskGroup() as group:
            if self._plan.rate is None:
                for _ in range(self._plan.concurrency):
                    group.create_task(self._closed_loop())
            else:
                await self._open_loop(group, self._plan.rate)
        self._result.seconds = time.monotonic() - started
        for client in self._idle:
            client.close()
        return self._result

    async def _connect(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            _, client = await loop.create_connection(Client, "127.0.0.1", self._plan.port)
            self._idle.append(client)

    async def _closed_loop(self) -> None:
        while self._result.sent < self._plan.requests and time.monotonic() < self._deadline:
            await self._request(time.monotonic())

    async def _open_loop(self, group: asyncio.TaskGroup, rate: float) -> None:
        slots = asyncio.Semaphore(_MAX_CONNECTIONS)

        async def one(due: float) -> None:
            async with slots:
                await self._request(due)

        started = time.monotonic()
        for index in range(self._plan.requests):
            due = started + index / rate
            if due > self._deadline:
                break
            await asyncio.sleep(due - time.monotonic())
            group.create_task(one(due))

    async def _request(self, due: float) -> None:
        self._result.sent += 1
        body = self._prompts.body()
        client = None
        try:
            async with asyncio.timeout(self._plan.answer_timeout_seconds):
                client = await self._client()
                if self._plan.rate is None:
                    due = time.monotonic()
                answer = await client.send(body)
        except (OSError, BadAnswerError) as error:
            self._problem(f"{type(error).__name__}: {error}")
            if client is not None:
                client.close()
            # A dead gateway must not be asked in a tight loop.
            await asyncio.sleep(0.05)
            return
        self._idle.append(client)
        self._check(answer, (time.monotonic() - due) * 1000)

    async def _client(self) -> Client:
        while self._idle:
            client = self._idle.pop()
            if client.usable:
                return client
        await self._connect(1)
        return self._idle.pop()

    def _check(self, answer: Answer, latency_ms: float) -> None:
        result = self._result
        status = str(answer.status)
        result.statuses[status] = result.statuses.get(status, 0) + 1
        expected = STREAM_BYTES if self._plan.stream else len(COMPLETION)
        events = answer.newlines // 2
        if answer.status != 200:
            self._problem(f"status {status}")
        elif answer.body_bytes != expected:
            self._problem(f"{answer.body_bytes} bytes instead of {expected}")
        elif self._plan.stream and events != STREAM_EVENTS:
            self._problem(f"{events} events instead of {STREAM_EVENTS}")
        else:
            result.good += 1
            result.chunks += events if self._plan.stream else 0
            result.latencies_ms.append(round(latency_ms, 3))

    def _problem(self, text: str) -> None:
        self._result.problems[text] = self._result.problems.get(text, 0) + 1


def main() -> None:
    """Command line."""
    plan_file, result_file = map(Path, sys.argv[1:])
    plan = msgspec.json.decode(plan_file.read_bytes(), type=Plan)
    result = uvloop.run(Load(plan).run())
    result_file.write_bytes(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
