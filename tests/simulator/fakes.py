"""The smallest world around a simulated model server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from aiohttp import ClientSession, web

from epp.core.clock import Clock
from epp.simulator.flags import parse_arguments
from epp.simulator.modelserver import Identity, ModelServer
from epp.simulator.options import Options
from epp.simulator.reading import flag_kinds, read_options
from epp.simulator.server import Routes

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
ISTIO = (
    *("--model", MODEL, "--port", "8000", "--max-loras", "2"),
    *("--lora-modules", '{"name": "reviews-1"}'),
)
START = datetime(2025, 11, 18, 19, 13, 34, tzinfo=UTC)


class FakeTime(Clock):
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.seconds

    def time_of_day(self) -> datetime:
        return START + timedelta(seconds=self.seconds - 100)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.seconds += seconds
        await asyncio.sleep(0)


class Gate(FakeTime):
    """Time that stands still until the gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        await self.opened.wait()


def options(*arguments: str) -> Options:
    return read_options(parse_arguments(arguments, flag_kinds()), {})


def model_server(
    *arguments: str, time: FakeTime | None = None, identity: Identity | None = None
) -> ModelServer:
    time = time or FakeTime()
    chosen = arguments if "--model" in arguments else ("--model", "base", *arguments)
    return ModelServer(
        options(*chosen),
        identity or Identity(8000, "vllm-0", ""),
        seed=7,
        clock=time,
        sleep=time.sleep,
    )


@asynccontextmanager
async def client_of(
    server: ModelServer, *, is_development: bool = False
) -> AsyncIterator[ClientSession]:
    """A client of a model server that listens on loopback."""
    application = Routes(server).application(is_development=is_development)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with ClientSession(f"http://{host}:{port}") as session:
            yield session
    finally:
        await runner.cleanup()


def gauge(server: ModelServer, name: str) -> float:
    """The first sample of a family; 0 where there is none."""
    for line in server.metrics_page().decode().splitlines():
        if line.startswith(name + "{"):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing tells when the page changes
            await asyncio.sleep(0.001)


def events(body: str) -> Sequence[str]:
    """The data of every server-sent event."""
    assert body.endswith("\n\n")
    return [event.removeprefix("data: ") for event in body[:-2].split("\n\n")]
