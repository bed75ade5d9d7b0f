from __future__ import annotations

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from epp.datastore.store import Datastore
from epp.telemetry.decisions import DecisionLog
from epp.telemetry.metrics import MetricsProbe
from epp.telemetry.server import MetricsServer
from tests.telemetry.worlds import StillClock, decision


@pytest.fixture
async def base() -> AsyncIterator[str]:
    log = DecisionLog(StillClock(), capacity=200)
    for number in range(150):
        log.decided(decision(f"r{number}"))
    server = MetricsServer("127.0.0.1", 0, MetricsProbe(Datastore()).registry, log)
    await server.start()
    yield f"http://127.0.0.1:{server.port}"
    await server.stop()
    await server.stop()


@pytest.fixture
async def client(base: str) -> AsyncIterator[aiohttp.ClientSession]:
    plain = {"Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(base, headers=plain, auto_decompress=False) as session:
        yield session


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("identity", None),
        ("gzip", "gzip"),
        ("deflate, GZIP;q=0.5", "gzip"),
        ("gzip;q=0", None),
        ("br", None),
    ],
)
async def test_the_page_is_compressed_for_those_who_take_it(
    client: aiohttp.ClientSession, accepted: str, encoding: str | None
) -> None:
    async with client.get("/metrics", headers={"Accept-Encoding": accepted}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.headers.get("Content-Encoding") == encoding
        body = await answer.read()
    assert body.startswith(b"\x1f\x8b" if encoding else b"# HELP ")


async def test_the_page_ends_with_a_line_end(base: str) -> None:
    async with aiohttp.ClientSession(base) as session, session.get("/metrics") as answer:
        text = await answer.text()
    assert text.endswith("\n")
    assert "inference_extension_scheduler_e2e_duration_seconds_count 0\n" in text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [f"r{number}" for number in range(149, 49, -1)]),
        ("?limit=2", ["r149", "r148"]),
        ("?limit=999999", [f"r{number}" for number in range(149, -1, -1)]),
        ("?request-id=r7", ["r7"]),
        ("?request-id=absent&limit=5", []),
    ],
)
async def test_decisions_are_told_newest_first(
    client: aiohttp.ClientSession, query: str, expected: list[str]
) -> None:
    async with client.get(f"/debug/decisions{query}") as answer:
        assert answer.status == 200
        assert answer.content_type == "application/json"
        found = json.loads(await answer.read())
    assert [record["request_id"] for record in found] == expected


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("limit=0", "'limit' must be a whole number from 1, not '0'\n"),
        ("limit=-1", "'limit' must be a whole number from 1, not '-1'\n"),
        ("limit=x", "'limit' must be a whole number from 1, not 'x'\n"),
        ("limit=", "'limit' must be a whole number from 1, not ''\n"),
        ("id=r1", "unknown parameter 'id': there are 'limit' and 'request-id'\n"),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(
    client: aiohttp.ClientSession, query: str, text: str
) -> None:
    async with client.get(f"/debug/decisions?{query}") as answer:
        assert (answer.status, (await answer.read()).decode()) == (400, text)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/debug/pprof/heap", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/debug/decisions", 405),
        ("HEAD", "/metrics", 200),
    ],
)
async def test_other_paths_and_methods_are_refused(
    client: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with client.request(method, path) as answer:
        assert answer.status == status


async def test_a_port_that_is_taken_is_an_error_at_start(base: str) -> None:
    port = int(base.rsplit(":", 1)[1])
    second = MetricsServer(
        "127.0.0.1", port, MetricsProbe(Datastore()).registry, DecisionLog(StillClock())
    )
    with pytest.raises(OSError, match="address already in use"):
        await second.start()
    await second.stop()
