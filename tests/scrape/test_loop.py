from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from selectors import BaseSelector
from typing import Any

import pytest
from msgspec.structs import replace

from epp.core.clock import Clock
from epp.core.datalayer import SeriesMaximum
from epp.core.endpoint import Endpoint, EndpointMetrics
from epp.core.engine import ENGINE_LABELS
from epp.core.metricspec import MetricSpec
from epp.datastore.store import Datastore
from epp.scrape.client import Target
from epp.scrape.loop import MAX_SHARE, MAX_TICK_SECONDS, Scraper
from epp.scrape.plan import PageExtractor, PolledSource, ScrapeSettings, plan_scraping
from epp.scrape.response import (
    ScrapeConnectionError,
    ScrapeError,
    ScrapeResponseError,
    ScrapeTimeoutError,
)
from tests.fakes import FakeProbe

PAGE = b"vllm:num_requests_waiting 7\n"
INTERVAL = 10.0
TICK = 2 * MAX_TICK_SECONDS


class FakeClient:
    """Answers after ``delay`` seconds of virtual time with ``result``; None is never."""

    def __init__(self, target: Target, done: Callable[[bytes | ScrapeError], None]) -> None:
        self.target = target
        self.fetched_at: list[float] = []
        self.is_busy = False
        self.is_closed = False
        self.delay = 0.0
        self.on_fetch: Callable[[], None] = lambda: None
        self.result: bytes | ScrapeError | None = PAGE
        self._done = done

    def fetch(self, now: float) -> None:
        assert not self.is_closed
        self.on_fetch()
        if self.is_busy:
            return
        self.is_busy = True
        loop = asyncio.get_running_loop()
        self.fetched_at.append(now)
        if self.result is not None:
            loop.call_later(self.delay, self._answer, self.result)

    def proceed(self) -> None:
        raise AssertionError("has no socket")

    def close(self) -> None:
        self.is_closed = True

    def _answer(self, result: bytes | ScrapeError) -> None:
        self.is_busy = False
        if not self.is_closed:
            self._done(result)


class LoopClock(Clock):
    """The event loop's time, virtual or not, and the work that was done since it last moved."""

    def __init__(self) -> None:
        self._worked = 0.0
        self._last = 0.0
        self._skipped = 0.0

    def now(self) -> float:
        time = asyncio.get_running_loop().time()
        if time != self._last:
            self._last, self._worked = time, 0.0
        return time + self._skipped + self._worked

    def work(self, seconds: float) -> None:
        self._worked += seconds

    def skip(self, seconds: float) -> None:
        self._skipped += seconds


class World:
    """A datastore, a running scraper and its clients in the order they were opened."""

    def __init__(self, *sources: PolledSource) -> None:
        self.datastore = Datastore()
        self.clients: list[FakeClient] = []
        self.prepare: Callable[[FakeClient], None] = lambda client: None
        self.clock = LoopClock()
        self.probe = FakeProbe()
        self.scraper = Scraper(
            self.datastore, sources, self.clock, probe=self.probe, open_client=self._open
        )

    def add(self, name: str, port: int = 8000, metrics_port: int = 0) -> FakeClient:
        self.datastore.put_endpoint(endpoint(name, port, metrics_port))
        return self.clients[-1]

    def on(self, port: int) -> FakeClient:
        """The newest client of a port."""
        return [client for client in self.clients if client.target.port == port][-1]

    def metrics(self, name: str) -> EndpointMetrics:
        metrics = self.datastore.metrics_of(f"default/{name}")
        assert metrics is not None
        return metrics

    def _open(
        self,
        target: Target,
        _selector: BaseSelector,
        done: Callable[[bytes | ScrapeError], None],
    ) -> FakeClient:
        client = FakeClient(target, done)
        self.prepare(client)
        self.clients.append(client)
        return client


def endpoint(name: str, port: int = 8000, metrics_port: int = 0) -> Endpoint:
    return Endpoint(
        id=f"default/{name}",
        name=name,
        namespace="default",
        address="10.0.0.1",
        port=port,
        metrics_port=metrics_port,
    )


@asynccontextmanager
async def running(settings: ScrapeSettings | None = None) -> AsyncIterator[World]:
    world = World(*plan_scraping(settings or ScrapeSettings(interval_seconds=INTERVAL)))
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(world.scraper.run())
        await asyncio.sleep(0)
        yield world
        task.cancel()


@pytest.mark.looptime
async def test_a_new_endpoint_is_scraped_at_once_and_then_every_interval() -> None:
    async with running() as world:
        await asyncio.sleep(3)
        client = world.add("a")
        await asyncio.sleep(10.5 * INTERVAL)
        first, second, *rest = client.fetched_at
        assert first == pytest.approx(3.0, abs=TICK)
        assert 3.0 < second <= 3.0 + INTERVAL + TICK
        expected = [second + i * INTERVAL for i in range(1, len(rest) + 1)]
        assert rest == pytest.approx(expected, abs=TICK)
        assert len(rest) in (8, 9)
        assert world.metrics("a").waiting_queue_size == 7
        assert world.metrics("a").updated_at == rest[-1]


@pytest.mark.looptime
async def test_endpoints_are_spread_over_the_interval() -> None:
    async with running() as world:
        clients = [world.add(f"e{i}") for i in range(50)]
        await asyncio.sleep(3 * INTERVAL)
        phases = sorted(client.fetched_at[-1] % INTERVAL for client in clients)
        gaps = [b - a for a, b in pairwise(phases)]
        assert max(gaps) < 2.5 * INTERVAL / 50


@pytest.mark.looptime
async def test_ticks_during_a_fetch_are_dropped() -> None:
    async with running() as world:
        world.prepare = lambda client: setattr(client, "delay", 2.5 * INTERVAL)
        client = world.add("a")
        await asyncio.sleep(8 * INTERVAL)
        pauses = [b - a for a, b in pairwise(client.fetched_at[1:])]
        assert pauses == pytest.approx([3 * INTERVAL] * len(pauses), abs=TICK)
        assert pauses


@pytest.mark.looptime
async def test_scrapes_that_take_too_much_of_the_loop_come_less_often_and_evenly() -> None:
    async with running(ScrapeSettings(interval_seconds=0.05)) as world:
        clients = [world.add(f"e{i}") for i in range(200)]

        async def measure(seconds_each: float) -> tuple[float, list[int]]:
            for client in clients:
                client.on_fetch = lambda: world.clock.work(seconds_each)
            await asyncio.sleep(3.0)
            before = [len(client.fetched_at) for client in clients]
            await asyncio.sleep(3.0)
            counts = [len(c.fetched_at) - n for c, n in zip(clients, before, strict=True)]
            return world.probe.scrape_intervals[-1], counts

        interval, counts = await measure(seconds_each=0.0)
        assert interval == pytest.approx(0.05)
        assert sum(counts) == pytest.approx(200 * 3.0 / 0.05, rel=0.01)

        interval, counts = await measure(seconds_each=0.0005)
        # 0.1 s of work for each round, of which 0.3 s are allowed in a second
        assert interval == pytest.approx(0.1 / MAX_SHARE, rel=0.01)
        assert max(counts) - min(counts) <= 1
        assert sum(counts) == pytest.approx(200 * 3.0 / interval, rel=0.01)

        interval, counts = await measure(seconds_each=0.0)
        assert interval == pytest.approx(0.05)
        assert sum(counts) == pytest.approx(200 * 3.0 / 0.05, rel=0.01)


@pytest.mark.looptime
async def test_a_loop_that_was_busy_is_not_given_a_backlog() -> None:
    async with running(ScrapeSettings(interval_seconds=0.05)) as world:
        clients = [world.add(f"e{i}") for i in range(10)]
        await asyncio.sleep(1.0)
        before = [len(client.fetched_at) for client in clients]
        world.clock.skip(60.0)
        await asyncio.sleep(0.05)
        counts = [len(c.fetched_at) - n for c, n in zip(clients, before, strict=True)]
        assert min(counts) >= 1
        assert max(counts) <= 2


@pytest.mark.looptime
async def test_an_endpoint_that_hangs_or_fails_touches_no_other() -> None:
    async with running() as world:
        world.prepare = lambda client: setattr(client, "result", None)
        world.add("hangs")
        world.prepare = lambda client: setattr(client, "result", ScrapeConnectionError("refused"))
        refuses = world.add("refuses")
        world.prepare = lambda client: None
        works = world.add("works")
        await asyncio.sleep(5 * INTERVAL)
        assert len(works.fetched_at) >= 5
        assert len(refuses.fetched_at) >= 5
        assert [e.name for e in world.datastore.candidates()] == ["works"]


@pytest.mark.looptime
@pytest.mark.parametrize("result", [ScrapeResponseError("status 404"), b"nothing 1\n"])
async def test_an_endpoint_without_readable_metrics_is_reachable(
    result: bytes | ScrapeError,
) -> None:
    async with running() as world:
        world.add("works")
        world.prepare = lambda client: setattr(client, "result", result)
        world.add("tells-nothing")
        world.prepare = lambda client: setattr(client, "result", ScrapeConnectionError("refused"))
        world.add("refuses")
        await asyncio.sleep(1)
        assert [e.name for e in world.datastore.candidates()] == ["works", "tells-nothing"]
        assert world.metrics("tells-nothing") == EndpointMetrics()


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("result", "reports"),
    [
        (ScrapeConnectionError("refused"), {("metrics-data-source",)}),
        (ScrapeResponseError("status 404"), {("metrics-data-source",)}),
        (b"nothing 1\n", {("metrics-data-source", "core-metrics-extractor")}),
        (PAGE, set()),
    ],
)
async def test_every_scrape_that_told_nothing_is_reported(
    result: bytes | ScrapeError, reports: set[tuple[str, ...]]
) -> None:
    async with running() as world:
        world.prepare = lambda client: setattr(client, "result", result)
        client = world.add("a")
        await asyncio.sleep(5 * INTERVAL)
        failures = world.probe.scrape_failures
        assert set(failures) == reports
        assert len(failures) == (len(client.fetched_at) if reports else 0)


@pytest.mark.looptime
async def test_one_scrape_that_timed_out_is_enough_to_go_elsewhere() -> None:
    async with running() as world:
        hangs = world.add("hangs")
        world.add("works")
        await asyncio.sleep(1)
        assert [e.name for e in world.datastore.candidates()] == ["hangs", "works"]
        hangs.result = ScrapeTimeoutError("no answer")
        await asyncio.sleep(INTERVAL)
        hangs.result = None
        assert [e.name for e in world.datastore.candidates()] == ["works"]


@pytest.mark.looptime
async def test_values_are_kept_while_a_page_lacks_them() -> None:
    async with running() as world:
        client = world.add("a")
        await asyncio.sleep(1)
        client.result = b"vllm:num_requests_running 3\n"
        await asyncio.sleep(INTERVAL)
        assert world.metrics("a").waiting_queue_size == 7
        assert world.metrics("a").running_requests == 3


@pytest.mark.looptime
async def test_a_removed_endpoint_is_left_alone() -> None:
    async with running() as world:
        client = world.add("a")
        await asyncio.sleep(TICK)
        world.datastore.remove_endpoint("default/a")
        await asyncio.sleep(3 * INTERVAL)
        assert client.is_closed
        assert len(client.fetched_at) == 1


@pytest.mark.looptime
async def test_an_endpoint_that_moved_gets_a_new_client() -> None:
    async with running() as world:
        before = world.add("a", port=1)
        after = world.add("a", port=2)
        await asyncio.sleep(INTERVAL)
        assert before.is_closed
        assert not after.is_closed
        assert after.target.port == 2
        assert world.metrics("a").waiting_queue_size == 7


@pytest.mark.looptime
async def test_the_end_of_the_run_closes_everything() -> None:
    async with running() as world:
        world.add("a")
        world.add("b")
    assert all(client.is_closed for client in world.clients)
    world.datastore.put_endpoint(endpoint("c"))
    assert len(world.clients) == 2


@pytest.mark.looptime
async def test_endpoints_known_before_the_start_are_scraped() -> None:
    world = World(*plan_scraping(ScrapeSettings(interval_seconds=INTERVAL)))
    world.datastore.put_endpoint(endpoint("a"))
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(world.scraper.run())
        await asyncio.sleep(1)
        assert len(world.clients) == 1
        task.cancel()


@pytest.mark.looptime
async def test_targets_are_made_from_the_settings() -> None:
    settings = ScrapeSettings(path="/m", timeout_seconds=2, max_page_bytes=3)
    async with running(settings) as world:
        target = world.add("a", port=8000, metrics_port=9100).target
        assert target == Target("10.0.0.1", 9100, "/m", None, 2, 3)


@pytest.mark.looptime
@pytest.mark.parametrize("insecure", [True, False])
async def test_https_verifies_unless_told_not_to(insecure: bool) -> None:
    settings = ScrapeSettings(scheme="https", insecure_skip_verify=insecure)
    async with running(settings) as world:
        tls = world.add("a").target.tls
        assert tls is not None
        assert (tls.verify_mode == ssl.CERT_NONE) is insecure
        assert tls.check_hostname is not insecure


async def test_a_real_model_server_is_scraped() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(PAGE), PAGE))
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    datastore = Datastore()
    datastore.put_endpoint(
        Endpoint(id="default/a", name="a", namespace="default", address="127.0.0.1", port=port)
    )
    sources = plan_scraping(ScrapeSettings(interval_seconds=0.001))
    scraper = Scraper(datastore, sources, Clock())
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(scraper.run())
        seen: set[float | None] = set()
        while len(seen) < 5:
            await asyncio.sleep(0.001)
            metrics = datastore.metrics_of("default/a")
            assert metrics is not None
            assert metrics.waiting_queue_size == (7 if metrics.updated_at else 0)
            seen.add(metrics.updated_at)
        task.cancel()
    server.close()
    await asyncio.sleep(0.01)


DCGM_PAGE = b"UTIL 50\n"
GPU = "GPUUtilization/dcgm"


def side_source(interval: float = 2 * INTERVAL, **changes: Any) -> PolledSource:
    """A source beside the metrics, with port 9400 and an attribute."""
    extractor = PageExtractor("dcgm-extractor", SeriesMaximum(GPU, MetricSpec("UTIL"), 100.0))
    (main,) = plan_scraping(ScrapeSettings())
    return replace(
        main,
        type="dcgm-data-source",
        extractors=(extractor,),
        port=9400,
        interval_seconds=interval,
        **changes,
    )


def main_source(**changes: Any) -> PolledSource:
    (main,) = plan_scraping(ScrapeSettings(interval_seconds=INTERVAL))
    return replace(main, **changes)


def serve_gpu(client: FakeClient) -> None:
    if client.target.port == 9400:
        client.result = DCGM_PAGE


@asynccontextmanager
async def running_with(*sources: PolledSource) -> AsyncIterator[World]:
    world = World(*sources)
    world.prepare = serve_gpu
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(world.scraper.run())
        await asyncio.sleep(0)
        yield world
        task.cancel()


@pytest.mark.looptime
async def test_every_source_has_its_own_interval_and_adds_to_what_is_known() -> None:
    async with running_with(main_source(), side_source()) as world:
        world.add("a")
        main, side = world.on(8000), world.on(9400)
        await asyncio.sleep(8 * INTERVAL)
        assert len(main.fetched_at) in (8, 9)
        assert len(side.fetched_at) in (4, 5)
        assert world.metrics("a").attributes == {GPU: 0.5}
        assert world.metrics("a").waiting_queue_size == 7
        assert world.metrics("a").updated_at == main.fetched_at[-1]


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("result", "failure"),
    [
        (ScrapeConnectionError("refused"), ("dcgm-data-source",)),
        (b"nothing 1\n", ("dcgm-data-source", "dcgm-extractor")),
    ],
)
async def test_a_side_source_that_fails_is_counted_and_nothing_more(
    result: bytes | ScrapeError, failure: tuple[str, ...]
) -> None:
    async with running_with(main_source(), side_source()) as world:
        world.add("a")
        await asyncio.sleep(1)
        world.on(9400).result = result
        await asyncio.sleep(8 * INTERVAL)
        assert set(world.probe.scrape_failures) == {failure}
        assert world.metrics("a").attributes == {GPU: 0.5}
        assert [e.name for e in world.datastore.candidates()] == ["a"]


@pytest.mark.looptime
async def test_only_the_source_of_the_load_says_whether_an_endpoint_is_reachable() -> None:
    async with running_with(main_source(), side_source()) as world:
        world.add("works")
        world.prepare = lambda client: setattr(client, "result", ScrapeConnectionError("refused"))
        world.add("refuses")
        world.on(9400).result = DCGM_PAGE
        await asyncio.sleep(3 * INTERVAL)
        assert [e.name for e in world.datastore.candidates()] == ["works"]


@pytest.mark.looptime
async def test_no_source_starves_another_where_time_is_short() -> None:
    async with running_with(
        main_source(interval_seconds=0.05), side_source(interval=0.05)
    ) as world:
        for i in range(20):
            world.add(f"e{i}")
        for client in world.clients:
            client.on_fetch = lambda: world.clock.work(0.005)
        await asyncio.sleep(3.0)
        counts = [
            sum(len(c.fetched_at) for c in world.clients if (c.target.port == 9400) is is_side)
            for is_side in (True, False)
        ]
        assert min(counts) > 0.8 * max(counts)


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({}, ("10.0.0.1", 9000)),
        ({"port": 7}, ("10.0.0.1", 7)),
        ({"is_on_serving_port": True}, ("10.0.0.1", 8000)),
        ({"uses_node_address": True}, ("10.9.9.9", 9000)),
    ],
)
async def test_a_source_says_where_its_page_is(
    changes: dict[str, Any], place: tuple[str, int]
) -> None:
    async with running_with(main_source(**changes)) as world:
        world.datastore.put_endpoint(
            replace(endpoint("a", metrics_port=9000), node_address="10.9.9.9")
        )
        target = world.clients[-1].target
        assert (target.address, target.port) == place


@pytest.mark.looptime
async def test_a_node_without_an_address_is_the_endpoint_itself() -> None:
    async with running_with(main_source(uses_node_address=True)) as world:
        assert world.add("a").target.address == "10.0.0.1"


@pytest.mark.looptime
async def test_other_sources_take_over_at_the_next_poll_and_what_is_known_stays() -> None:
    async with running_with(main_source(), side_source()) as world:
        world.add("a")
        main, side = world.on(8000), world.on(9400)
        await asyncio.sleep(INTERVAL)
        world.scraper.use((side_source(interval=INTERVAL), main_source()))
        assert side.is_closed
        assert not main.is_closed
        assert world.metrics("a").attributes == {GPU: 0.5}
        await asyncio.sleep(TICK)
        assert world.on(9400) is not side
        assert len(world.on(9400).fetched_at) == 1

        world.scraper.use((main_source(path="/other"),))
        assert all(client.is_closed for client in world.clients[:-1])
        assert world.clients[-1].target.path == "/other"
        assert world.metrics("a").attributes == {}
        assert world.metrics("a").waiting_queue_size == 7
        assert [e.name for e in world.datastore.candidates()] == ["a"]
        assert world.add("b").target.path == "/other"


@pytest.mark.looptime
async def test_the_same_sources_again_disturb_nobody() -> None:
    async with running_with(main_source(), side_source()) as world:
        world.add("a")
        await asyncio.sleep(INTERVAL)
        world.scraper.use((main_source(), side_source()))
        assert len(world.clients) == 2
        assert not any(client.is_closed for client in world.clients)


@pytest.mark.looptime
async def test_without_sources_nobody_is_asked() -> None:
    async with running_with() as world:
        world.datastore.put_endpoint(endpoint("a"))
        await asyncio.sleep(5)
        assert world.clients == []
        assert world.probe.scrape_intervals == []
        world.scraper.use((main_source(),))
        await asyncio.sleep(5)
        assert world.metrics("a").waiting_queue_size == 7


@pytest.mark.looptime
async def test_an_endpoint_that_gets_another_label_is_read_by_it() -> None:
    (source,) = plan_scraping(ScrapeSettings(interval_seconds=INTERVAL), by_label=True)
    async with running_with(source) as world:
        client = world.add("a")
        client.result = b"sglang:num_queue_reqs 3\nvllm:num_requests_waiting 7\n"
        await asyncio.sleep(1)
        assert world.metrics("a").waiting_queue_size == 7
        labelled = replace(endpoint("a"), labels={ENGINE_LABELS[0]: "sglang"})
        world.datastore.put_endpoint(labelled)
        await asyncio.sleep(INTERVAL)
        assert world.metrics("a").waiting_queue_size == 3
        assert not client.is_closed
