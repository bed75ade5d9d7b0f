"""Scrapes every endpoint of the datastore, each at its own moment within the interval.

Source: gateway-api-inference-extension 2aaf2a6, pkg/epp/backend/metrics.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import Protocol

from epp.core.clock import Clock
from epp.core.endpoint import Endpoint
from epp.datastore.store import Datastore
from epp.scrape.client import MetricsClient, Target
from epp.scrape.extract import Extractor, ScrapeSettings
from epp.scrape.response import ScrapeConnectionError, ScrapeError, ScrapeTimeoutError

# The fractional parts of its multiples fill 0..1 evenly, however many there are.
_GOLDEN_RATIO = 0.6180339887498949


class Client(Protocol):
    """What the loop needs of a ``MetricsClient``."""

    @property
    def is_busy(self) -> bool: ...
    def fetch(self) -> None: ...
    def close(self) -> None: ...


class Scraper:
    """Keeps the datastore's metrics fresh while it runs."""

    def __init__(
        self,
        datastore: Datastore,
        settings: ScrapeSettings,
        clock: Clock,
        *,
        open_client: Callable[
            [Target, asyncio.TaskGroup, Callable[[bytes | ScrapeError], None]], Client
        ] = MetricsClient,
    ) -> None:
        self._datastore = datastore
        self._settings = settings
        self._clock = clock
        self._open_client = open_client
        self._tls = _tls_context(settings)
        self._timers: dict[str, _Timer] = {}
        self._count = 0

    async def run(self) -> None:
        """Scrape until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            added = partial(self._add, tasks)
            self._datastore.subscribe(added=added, removed=self._remove)
            try:
                await asyncio.Event().wait()
            finally:
                self._datastore.unsubscribe(added=added, removed=self._remove)
                for endpoint_id in list(self._timers):
                    self._remove(endpoint_id)

    def _add(self, tasks: asyncio.TaskGroup, endpoint: Endpoint) -> None:
        settings = self._settings
        target = Target(
            address=endpoint.address,
            port=settings.port or endpoint.port,
            path=settings.path,
            tls=self._tls,
            timeout_seconds=settings.timeout_seconds,
            max_page_bytes=settings.max_page_bytes,
        )
        client = self._open_client(
            target, tasks, partial(self._done, endpoint.id, Extractor(settings))
        )
        phase = self._count * _GOLDEN_RATIO % 1.0
        self._count += 1
        self._timers[endpoint.id] = _Timer(client, settings.interval_seconds, phase)

    def _remove(self, endpoint_id: str) -> None:
        self._timers.pop(endpoint_id).stop()

    def _done(self, endpoint_id: str, extractor: Extractor, result: bytes | ScrapeError) -> None:
        if isinstance(result, ScrapeConnectionError):
            timed_out = isinstance(result, ScrapeTimeoutError)
            self._datastore.connection_failed(endpoint_id, timed_out=timed_out)
            return
        previous = self._datastore.metrics_of(endpoint_id)
        metrics = None
        if isinstance(result, bytes) and previous is not None:
            metrics = extractor.extract(result, previous, self._clock.now())
        if metrics is None:
            self._datastore.scrape_unreadable(endpoint_id)
        else:
            self._datastore.scrape_succeeded(endpoint_id, metrics)


class _Timer:
    """Fetches at once, and then at every ``phase`` of the interval unless a fetch is under way."""

    __slots__ = ("_client", "_handle", "_interval", "_loop", "_next")

    def __init__(self, client: Client, interval: float, phase: float) -> None:
        self._client = client
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._next = now - now % interval + (phase - 1.0) * interval
        self._handle = self._arm(now)
        client.fetch()

    def stop(self) -> None:
        self._handle.cancel()
        self._client.close()

    def _tick(self) -> None:
        self._handle = self._arm(self._loop.time())  # first, so that no failure stops the clock
        if not self._client.is_busy:
            self._client.fetch()

    def _arm(self, now: float) -> asyncio.TimerHandle:
        self._next = next_tick(self._next, self._interval, now)
        return self._loop.call_at(self._next, self._tick)


def next_tick(tick: float, interval: float, now: float) -> float:
    """The tick after ``tick`` that lies in the future; those missed are dropped."""
    tick += interval
    return tick if tick > now else tick + interval * ((now - tick) // interval + 1)


def _tls_context(settings: ScrapeSettings) -> ssl.SSLContext | None:
    if settings.scheme != "https":
        return None
    context = ssl.create_default_context()
    if settings.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
