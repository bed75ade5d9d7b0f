"""One page of every endpoint: its clients, whose turn it is, and what becomes of the answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from selectors import BaseSelector
from typing import Protocol, TypeAlias

from epp.core.clock import Clock
from epp.core.endpoint import Endpoint, EndpointMetrics
from epp.core.probe import Probe
from epp.datastore.store import Datastore
from epp.scrape.client import Target
from epp.scrape.plan import PolledSource
from epp.scrape.readers import Reader, make_reader
from epp.scrape.response import ScrapeConnectionError, ScrapeError, ScrapeTimeoutError
from epp.scrape.turns import Turns


class Client(Protocol):
    """What the loop needs of a ``MetricsClient``."""

    def fetch(self, now: float) -> None: ...
    def proceed(self) -> None: ...
    def close(self) -> None: ...


OpenClient: TypeAlias = Callable[
    [Target, BaseSelector, Callable[[bytes | ScrapeError], None]], Client
]

Readers: TypeAlias = list[tuple[str, Reader]]
"""What reads an endpoint's page, each with the type that its failures are counted under."""


class Poller:
    """Reads one source of all endpoints.

    An endpoint whose load it tells is reachable once it answered. What other sources tell is added
    to what is known, and their failures are counted and nothing more.
    """

    def __init__(
        self,
        source: PolledSource,
        datastore: Datastore,
        clock: Clock,
        probe: Probe,
        open_client: OpenClient,
    ) -> None:
        self.source = source
        self.turns: Turns[Client] = Turns(source.interval_seconds)
        self._datastore = datastore
        self._clock = clock
        self._probe = probe
        self._open_client = open_client
        self._answer = self._load_told if source.tells_load else self._more_told
        self._clients: dict[str, Client] = {}
        self._readers: dict[str, Readers] = {}

    def add(self, selector: BaseSelector, endpoint: Endpoint) -> None:
        """Read this endpoint too, and next."""
        source = self.source
        port = endpoint.port if source.is_on_serving_port else endpoint.metrics_port
        target = Target(
            address=(source.uses_node_address and endpoint.node_address) or endpoint.address,
            port=source.port or port or endpoint.port,
            path=source.path,
            tls=source.tls,
            timeout_seconds=source.timeout_seconds,
            max_page_bytes=source.max_page_bytes,
        )
        readers = self._readers[endpoint.id] = self._readers_of(endpoint)
        done = partial(self._answer, endpoint.id, readers)
        client = self._clients[endpoint.id] = self._open_client(target, selector, done)
        self.turns.add(client)

    def relabel(self, endpoint: Endpoint) -> None:
        """Read an endpoint's page by its new labels."""
        self._readers[endpoint.id][:] = self._readers_of(endpoint)

    def remove(self, endpoint_id: str) -> None:
        """Leave an endpoint alone."""
        del self._readers[endpoint_id]
        client = self._clients.pop(endpoint_id)
        self.turns.remove(client)
        client.close()

    def close(self) -> None:
        """Leave all endpoints alone."""
        for endpoint_id in list(self._clients):
            self.remove(endpoint_id)

    def _readers_of(self, endpoint: Endpoint) -> Readers:
        engine = self.source.engine
        return [
            (extractor.type, make_reader(extractor.reading, endpoint, engine))
            for extractor in self.source.extractors
        ]

    def _load_told(self, endpoint_id: str, readers: Readers, result: bytes | ScrapeError) -> None:
        datastore = self._datastore
        if isinstance(result, ScrapeError):
            self._probe.poll_failed(self.source.type)
            if isinstance(result, ScrapeConnectionError):
                timed_out = isinstance(result, ScrapeTimeoutError)
                datastore.connection_failed(endpoint_id, timed_out=timed_out)
            else:
                datastore.scrape_unreadable(endpoint_id)
            return
        before, now = datastore.metrics_of(endpoint_id), self._clock.now()
        if before is None:
            return
        known = self._read(readers, result, before, now)
        if known.updated_at == now:
            datastore.scrape_succeeded(endpoint_id, known)
        else:
            datastore.scrape_unreadable(endpoint_id)

    def _more_told(self, endpoint_id: str, readers: Readers, result: bytes | ScrapeError) -> None:
        if isinstance(result, ScrapeError):
            self._probe.poll_failed(self.source.type)
            return
        before = self._datastore.metrics_of(endpoint_id)
        if before is None:
            return
        known = self._read(readers, result, before, self._clock.now())
        if known is not before:
            self._datastore.metrics_completed(endpoint_id, known)

    def _read(
        self, readers: Readers, page: bytes, known: EndpointMetrics, now: float
    ) -> EndpointMetrics:
        for extractor_type, reader in readers:
            metrics = reader.extract(page, known, now)
            if metrics is None:
                self._probe.extract_failed(self.source.type, extractor_type)
            else:
                known = metrics
        return known
