"""The load generator: ``python -m benchmarks.load PLAN.json RESULT.json``, a process of its own.

Closed loop: so many clients, each sends its next request when it has its answer. Open loop:
requests start at fixed times whatever the answers do, and latency counts from the time a request
was due. Of every answer status, length and content are checked; the run ends after so many
requests or seconds.
"""

from __future__ import annotations

import asyncio
import collections
import sys
import time
import zlib
from pathlib import Path

import msgspec
import uvloop

from benchmarks.backend import COMPLETION, STREAM, STREAM_EVENTS
from benchmarks.client import Answer, BadAnswerError, Client
from benchmarks.prompts import PromptKind, Prompts

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
    # The generator's own CPU time; near one core it, not the picker, sets the pace.
    cpu_seconds: float = 0.0
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
        whole = STREAM if plan.stream else COMPLETION
        self._expected = Answer(status=200, body_bytes=len(whole), checksum=zlib.crc32(whole))
        self._result = Result()
        self._deadline = 0.0

    async def run(self) -> Result:
        """Send everything; bounded by the plan's seconds plus one answer timeout."""
        await self._connect(self._plan.concurrency)
        started, cpu_started = time.monotonic(), time.process_time()
        self._deadline = started + self._plan.seconds
        async with asyncio.TaskGroup() as group:
            if self._plan.rate is None:
                for _ in range(self._plan.concurrency):
                    group.create_task(self._closed_loop())
            else:
                await self._open_loop(group, self._plan.rate)
        self._result.seconds = time.monotonic() - started
        self._result.cpu_seconds = time.process_time() - cpu_started
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
        if answer == self._expected:
            result.good += 1
            result.chunks += STREAM_EVENTS if self._plan.stream else 0
            result.latencies_ms.append(round(latency_ms, 3))
        elif answer.status != 200:
            self._problem(f"status {status}")
        elif answer.body_bytes != self._expected.body_bytes:
            self._problem(f"{answer.body_bytes} bytes instead of {self._expected.body_bytes}")
        else:
            self._problem("other content than the model server sent")

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
