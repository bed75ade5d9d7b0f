"""Scrapes every endpoint of the datastore once in an interval, as far as there is time for it.

Theory of operation: a tick is a tenth of the interval. At each tick the answers that have come are
read, and then the endpoints whose turn it is are asked: one timer and one look at the sockets serve
all endpoints, whose turns are spread over the interval. An answer waits for the next tick, so that
metrics are up to a tick older than they say.

Requests go first: a tick ends when it has used its share of the time, and what it did not get to
is left to the next one. The interval is then longer than wished, by the same factor for everybody,
and ``Probe.scraped`` says how long. When the loop is so busy that ticks come late, scraping
takes even less of it.

Differs: the Go pickers take whatever processor time the interval asks for. They notice a timeout
at once, here it is noticed at the endpoint's next turn.

Source: gateway-api-inference-extension 2aaf2a6, pkg/epp/backend/metrics.
"""

from __future__ import annotations

import asyncio
import selectors
import ssl
from collections.abc import Callable
from functools import partial
from typing import Protocol

from epp.core.clock import Clock
from epp.core.endpoint import Endpoint
from epp.core.probe import Probe
from epp.datastore.store import Datastore
from epp.scrape.client import MetricsClient, Target
from epp.scrape.extract import Extractor, ScrapeSettings
from epp.scrape.response import ScrapeConnectionError, ScrapeError, ScrapeTimeoutError
from epp.scrape.turns import Turns

MAX_SHARE = 0.3
"""What scraping may take of the event loop's time.

A thousand endpoints at 50 ms would take 0.6 of it; with this bound each is read every 113 ms.
"""

TICKS_PER_INTERVAL = 10
MIN_TICK_SECONDS = 0.001
MAX_TICK_SECONDS = 0.01
REPORT_SECONDS = 1.0

# What the upstream configuration calls these two.
SOURCE_TYPE = "metrics-data-source"
EXTRACTOR_TYPE = "core-metrics-extractor"


class Client(Protocol):
    """What the loop needs of a ``MetricsClient``."""

    def fetch(self, now: float) -> None: ...
    def proceed(self) -> None: ...
    def close(self) -> None: ...


class Scraper:
    """Keeps the datastore's metrics fresh while it runs."""

    def __init__(
        self,
        datastore: Datastore,
        settings: ScrapeSettings,
        clock: Clock,
        *,
        probe: Probe | None = None,
        open_client: Callable[
            [Target, selectors.BaseSelector, Callable[[bytes | ScrapeError], None]], Client
        ] = MetricsClient,
    ) -> None:
        self._datastore = datastore
        self._settings = settings
        self._clock = clock
        self._probe = probe or Probe()
        self._open_client = open_client
        self._tls = _tls_context(settings)
        tick = settings.interval_seconds / TICKS_PER_INTERVAL
        self._tick_seconds = min(max(tick, MIN_TICK_SECONDS), MAX_TICK_SECONDS)
        self._clients: dict[str, Client] = {}
        self._turns: Turns[Client] = Turns(settings.interval_seconds)
        self._ticked_at = self._reported_at = 0.0
        self._timer: asyncio.TimerHandle

    async def run(self) -> None:
        """Scrape until cancelled."""
        with selectors.DefaultSelector() as selector:
            added = partial(self._add, selector)
            self._ticked_at = self._reported_at = self._clock.now()
            self._datastore.subscribe(added=added, removed=self._remove)
            try:
                self._tick(selector)
                await asyncio.Event().wait()
            finally:
                self._timer.cancel()
                self._datastore.unsubscribe(added=added, removed=self._remove)
                for endpoint_id in list(self._clients):
                    self._remove(endpoint_id)

    def _tick(self, selector: selectors.BaseSelector) -> None:
        # first, so that no failure stops the clock
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._tick_seconds, self._tick, selector)
        clock, turns = self._clock, self._turns
        now = clock.now()
        end = now + self._tick_seconds * MAX_SHARE
        turns.pass_time(now - self._ticked_at)
        self._ticked_at = now
        for key, _ in selector.select(0):
            key.data.proceed()
            if clock.now() >= end:
                break
        while (now := clock.now()) < end and (client := turns.take()) is not None:
            client.fetch(now)
        turns.drop()
        if now - self._reported_at >= REPORT_SECONDS:
            self._reported_at = now
            self._probe.scraped(turns.measure())

    def _add(self, selector: selectors.BaseSelector, endpoint: Endpoint) -> None:
        settings = self._settings
        target = Target(
            address=endpoint.address,
            port=endpoint.metrics_port or endpoint.port,
            path=settings.path,
            tls=self._tls,
            timeout_seconds=settings.timeout_seconds,
            max_page_bytes=settings.max_page_bytes,
        )
        done = partial(self._done, endpoint.id, Extractor(settings))
        client = self._clients[endpoint.id] = self._open_client(target, selector, done)
        self._turns.add(client)

    def _remove(self, endpoint_id: str) -> None:
        client = self._clients.pop(endpoint_id)
        self._turns.remove(client)
        client.close()

    def _done(self, endpoint_id: str, extractor: Extractor, result: bytes | ScrapeError) -> None:
        if isinstance(result, ScrapeError):
            self._probe.poll_failed(SOURCE_TYPE)
        if isinstance(result, ScrapeConnectionError):
            timed_out = isinstance(result, ScrapeTimeoutError)
            self._datastore.connection_failed(endpoint_id, timed_out=timed_out)
            return
        previous = self._datastore.metrics_of(endpoint_id)
        metrics = None
        if isinstance(result, bytes) and previous is not None:
            metrics = extractor.extract(result, previous, self._clock.now())
            if metrics is None:
                self._probe.extract_failed(SOURCE_TYPE, EXTRACTOR_TYPE)
        if metrics is None:
            self._datastore.scrape_unreadable(endpoint_id)
        else:
            self._datastore.scrape_succeeded(endpoint_id, metrics)


def _tls_context(settings: ScrapeSettings) -> ssl.SSLContext | None:
    if settings.scheme != "https":
        return None
    context = ssl.create_default_context()
    if settings.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
