"""Reads every endpoint of the datastore once in an interval, as far as there is time for it.

Theory of operation: a tick is a tenth of the interval. At each tick the answers that have come are
read, and then the endpoints whose turn it is are asked: one timer and one look at the sockets serve
all endpoints, whose turns are spread over the interval. An answer waits for the next tick, so that
metrics are up to a tick older than they say.

Requests go first: a tick ends when it has used its share of the time, and what it did not get to
is left to the next one. The interval is then longer than wished, by the same factor for everybody,
and ``Probe.scraped`` says how long. Sources with intervals of their own share that time, and each
comes first in its turn. When the loop is so busy that ticks come late, scraping
takes even less of it.

Differs: the Go pickers take whatever processor time the interval asks for. They notice a timeout
at once, here it is noticed at the endpoint's next turn.

Source: gateway-api-inference-extension 2aaf2a6, pkg/epp/backend/metrics.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Sequence

import msgspec

from epp.core.clock import Clock
from epp.core.endpoint import Endpoint
from epp.core.probe import Probe
from epp.datastore.store import Datastore
from epp.scrape.client import MetricsClient
from epp.scrape.plan import PolledSource
from epp.scrape.poll import OpenClient, Poller

MAX_SHARE = 0.3
"""What scraping may take of the event loop's time.

A thousand endpoints at 50 ms would take 0.6 of it; with this bound each is read every 113 ms.
"""

TICKS_PER_INTERVAL = 10
MIN_TICK_SECONDS = 0.001
MAX_TICK_SECONDS = 0.01
REPORT_SECONDS = 1.0


class Scraper:
    """Keeps what the datastore knows of endpoints fresh while it runs."""

    def __init__(
        self,
        datastore: Datastore,
        sources: Sequence[PolledSource],
        clock: Clock,
        *,
        probe: Probe | None = None,
        open_client: OpenClient = MetricsClient,
    ) -> None:
        self._datastore = datastore
        self._clock = clock
        self._probe = probe or Probe()
        self._open_client = open_client
        self._selector: selectors.BaseSelector | None = None
        self._pollers: deque[Poller] = deque()
        self._ticked_at = self._reported_at = 0.0
        self._timer: asyncio.TimerHandle
        self.use(sources)

    def use(self, sources: Sequence[PolledSource]) -> None:
        """Read these from now on; what is known of endpoints stays, but for attributes of others.

        Sources that were read before go on undisturbed; over TLS they start anew, as certificates
        may have changed.
        """
        before = list(self._pollers)
        pollers: list[Poller] = []
        for source in sources:
            known = next((poller for poller in before if poller.source == source), None)
            if known is not None:
                before.remove(known)
            pollers.append(known or self._start(source))
        for poller in before:
            poller.close()
        self._pollers = deque(pollers)
        # the one whose interval is reported
        self._main = next((poller for poller in pollers if poller.source.tells_load), None)
        shortest = min([source.interval_seconds for source in sources], default=1.0)
        tick = shortest / TICKS_PER_INTERVAL
        self._tick_seconds = min(max(tick, MIN_TICK_SECONDS), MAX_TICK_SECONDS)
        if before:
            self._forget_attributes(sources)

    async def run(self) -> None:
        """Read until cancelled."""
        with selectors.DefaultSelector() as self._selector:
            self._ticked_at = self._reported_at = self._clock.now()
            self._datastore.subscribe(
                added=self._add, removed=self._remove, relabelled=self._relabel
            )
            try:
                self._tick(self._selector)
                await asyncio.Event().wait()
            finally:
                self._timer.cancel()
                self._datastore.unsubscribe(
                    added=self._add, removed=self._remove, relabelled=self._relabel
                )
                for poller in self._pollers:
                    poller.close()
                self._selector = None

    def _tick(self, selector: selectors.BaseSelector) -> None:
        # first, so that no failure stops the clock
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._tick_seconds, self._tick, selector)
        clock, pollers = self._clock, self._pollers
        now = clock.now()
        end = now + self._tick_seconds * MAX_SHARE
        for poller in pollers:
            poller.turns.pass_time(now - self._ticked_at)
        self._ticked_at = now
        for key, _ in selector.select(0):
            key.data.proceed()
            if clock.now() >= end:
                break
        pollers.rotate()
        for poller in pollers:
            turns = poller.turns
            while (now := clock.now()) < end and (client := turns.take()) is not None:
                client.fetch(now)
            turns.drop()
        if now - self._reported_at >= REPORT_SECONDS:
            self._reported_at = now
            if self._main is not None:
                self._probe.scraped(self._main.turns.measure())

    def _start(self, source: PolledSource) -> Poller:
        poller = Poller(source, self._datastore, self._clock, self._probe, self._open_client)
        if self._selector is not None:
            for endpoint in self._datastore.endpoints():
                poller.add(self._selector, endpoint)
        return poller

    def _add(self, endpoint: Endpoint) -> None:
        assert self._selector is not None  # it runs
        for poller in self._pollers:
            poller.add(self._selector, endpoint)

    def _remove(self, endpoint_id: str) -> None:
        for poller in self._pollers:
            poller.remove(endpoint_id)

    def _relabel(self, endpoint: Endpoint) -> None:
        for poller in self._pollers:
            poller.relabel(endpoint)

    def _forget_attributes(self, sources: Sequence[PolledSource]) -> None:
        """Drop what nobody will tell again."""
        told = frozenset[str]().union(*[source.attributes for source in sources])
        lists_models = any(source.lists_models for source in sources)
        for endpoint in self._datastore.endpoints():
            known = endpoint.metrics
            kept = {name: value for name, value in known.attributes.items() if name in told}
            served = known.served_models if lists_models else {}
            if (kept, served) != (known.attributes, known.served_models):
                changed = msgspec.structs.replace(known, attributes=kept, served_models=served)
                self._datastore.metrics_completed(endpoint.id, changed)
