from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from epp.datastore.store import Datastore
from epp.telemetry.decisions import DecisionLog
from epp.telemetry.metrics import MetricsProbe
from epp.telemetry.profile import Profile, Profiler
from epp.telemetry.server import Authorize, MetricsServer, Refusal
from epp.tls.certificates import make_self_signed
from epp.tls.contexts import METRICS, server_context
from tests.telemetry.worlds import StillClock, decision


class QuickProfiler(Profiler):
    """Knows at once how the time will be spent."""

    async def run(self, seconds: float) -> Profile:
        return Profile(seconds=seconds, stacks={("m.outer", "m.inner"): 500_000})


@pytest.fixture
async def base() -> AsyncIterator[str]:
    log = DecisionLog(StillClock(), capacity=200)
    for number in range(150):
        log.decided(decision(f"r{number}"))
    registry = MetricsProbe(Datastore()).registry
    server = MetricsServer("127.0.0.1", 0, registry, log, QuickProfiler())
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
    ("path", "text"),
    [
        ("/debug/profile", "m.outer;m.inner 500000\n"),
        ("/debug/pprof/profile?seconds=120", "m.outer;m.inner 500000\n"),
        (
            "/debug/profile?seconds=1&format=top",
            "CPU 0.500 s in 1.0 s, idle 0.500 s\n"
            "   self ms  total ms  function\n"
            "     500.0     500.0  m.inner\n"
            "       0.0     500.0  m.outer\n",
        ),
    ],
)
async def test_a_profile_is_served_as_text(
    client: aiohttp.ClientSession, path: str, text: str
) -> None:
    async with client.get(path) as answer:
        assert (answer.status, answer.content_type) == (200, "text/plain")
        assert await answer.text() == text


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("seconds=0", "'seconds' must be a whole number from 1, not '0'\n"),
        ("seconds=1.5", "'seconds' must be a whole number from 1, not '1.5'\n"),
        ("seconds=121", "'seconds' must be at most 120, not 121\n"),
        ("format=svg", "'format' must be 'collapsed' or 'top', not 'svg'\n"),
        ("debug=1", "unknown parameter 'debug': there are 'seconds' and 'format'\n"),
    ],
)
async def test_a_profile_that_cannot_be_is_refused(
    client: aiohttp.ClientSession, query: str, text: str
) -> None:
    async with client.get(f"/debug/profile?{query}") as answer:
        assert (answer.status, await answer.text()) == (400, text)


async def test_a_second_profile_at_the_same_time_is_refused() -> None:
    profiler = Profiler()
    registry = MetricsProbe(Datastore()).registry
    server = MetricsServer("127.0.0.1", 0, registry, DecisionLog(StillClock()), profiler)
    await server.start()
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as session:
        first = tasks.create_task(profiler.run(60))
        await asyncio.sleep(0)
        async with session.get(f"http://127.0.0.1:{server.port}/debug/profile") as answer:
            assert (answer.status, await answer.text()) == (409, "a profile is being taken\n")
        first.cancel()
    await server.stop()


@pytest.mark.parametrize("path", ["/debug/profile", "/debug/pprof/profile"])
async def test_without_a_profiler_there_are_no_profiles(path: str) -> None:
    registry = MetricsProbe(Datastore()).registry
    server = MetricsServer("127.0.0.1", 0, registry, DecisionLog(StillClock()))
    await server.start()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}{path}") as answer,
    ):
        assert answer.status == 404
    await server.stop()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/debug/pprof/heap", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/debug/decisions", 405),
        ("POST", "/debug/profile", 405),
        ("HEAD", "/debug/profile", 405),
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


async def test_with_tls_the_page_is_https() -> None:
    context = server_context(make_self_signed(), METRICS)
    server = MetricsServer(
        "127.0.0.1",
        0,
        MetricsProbe(Datastore()).registry,
        DecisionLog(StillClock()),
        tls=context,
    )
    await server.start()
    async with aiohttp.ClientSession() as session:
        async with session.get(f"https://127.0.0.1:{server.port}/metrics", ssl=False) as answer:
            assert answer.status == 200
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://127.0.0.1:{server.port}/metrics")
    await server.stop()


@asynccontextmanager
async def guarded(authorize: Authorize) -> AsyncIterator[aiohttp.ClientSession]:
    registry = MetricsProbe(Datastore()).registry
    log = DecisionLog(StillClock())
    server = MetricsServer("127.0.0.1", 0, registry, log, QuickProfiler(), authorize=authorize)
    await server.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
        yield session
    await server.stop()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/metrics"),
        ("HEAD", "/metrics"),
        ("POST", "/metrics"),
        ("GET", "/debug/decisions"),
        ("GET", "/debug/profile"),
        ("GET", "/debug/pprof/profile"),
        ("GET", "/nothing/here"),
        ("GET", "/%6detrics?x=1"),
    ],
)
async def test_whatever_is_asked_for_has_to_be_allowed(method: str, path: str) -> None:
    asked = []

    async def refuse(method: str, path: str, authorization: str) -> Refusal | None:
        asked.append((method, path, authorization))
        return Refusal(403, "Authorization denied for user u")

    headers = {"Authorization": "Bearer t"}
    async with guarded(refuse) as client:
        async with client.request(method, path, headers=headers) as answer:
            assert answer.status == 403
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
            text = "" if method == "HEAD" else "Authorization denied for user u\n"
            assert await answer.text() == text
        async with client.request(method, path) as answer:
            assert answer.status == 403
    path = path.replace("%6d", "m").partition("?")[0]
    assert asked == [(method, path, "Bearer t"), (method, path, "")]


@pytest.mark.parametrize(("path", "status"), [("/metrics", 200), ("/nothing/here", 404)])
async def test_what_is_allowed_is_answered_as_ever(path: str, status: int) -> None:
    async def allow(method: str, path: str, authorization: str) -> Refusal | None:
        return None

    async with guarded(allow) as client, client.get(path) as answer:
        assert answer.status == status


async def test_whoever_cannot_be_judged_is_refused_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(method: str, path: str, authorization: str) -> Refusal | None:
        raise KeyError("oops")

    async with guarded(broken) as client, client.get("/metrics") as answer:
        assert (answer.status, await answer.text()) == (500, "Authentication failed\n")
    (record,) = caplog.records
    assert record.getMessage() == "Failed to authorize a metrics request"
    assert record.__dict__["fields"] == {"error": "KeyError('oops')"}
