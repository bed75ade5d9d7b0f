"""What to read of every endpoint, and how: the command line's word, and over it the data layer's.

Source: llm-d-router v0.10, pkg/epp/datalayer.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import msgspec

from epp.core.datalayer import (
    CORE_EXTRACTOR,
    METRICS_SOURCE,
    DataLayer,
    Extractor,
    ModelList,
    NodeLabels,
    Reading,
    SeriesMaximum,
    SourceUse,
)
from epp.core.engine import BUILT_IN, ENGINE_LABELS, Engine, Engines
from epp.core.errors import StartError
from epp.core.polling import MIN_INTERVAL_SECONDS, Polling

SIDE_TIMEOUT_SECONDS = 1.0
"""How long a page may take that says nothing of the load."""

BY_LABEL = Engines(labels=ENGINE_LABELS, by_name=BUILT_IN)


class ScrapeSettings(msgspec.Struct, frozen=True):
    """What the command line says of the metrics page and of what is on it."""

    engine: Engine = Engine()
    interval_seconds: float = 0.05
    path: str = "/metrics"
    scheme: str = "http"
    insecure_skip_verify: bool = True
    timeout_seconds: float = 5.0
    max_page_bytes: int = 4 * 1024 * 1024


class PageExtractor(msgspec.Struct, frozen=True):
    """What is taken from a page; ``type`` is what its failures are counted under."""

    type: str
    reading: Engines | SeriesMaximum | ModelList


class PolledSource(msgspec.Struct, frozen=True):
    """A page of every endpoint; ``type`` is what failures to get it are counted under.

    ``engine`` is the one of endpoints whose labels name none. ``tls`` is None for plain HTTP,
    ``port`` for the endpoint's own.
    """

    type: str
    extractors: tuple[PageExtractor, ...]
    engine: Engine
    path: str
    port: int | None
    tls: ssl.SSLContext | None
    interval_seconds: float
    timeout_seconds: float
    max_page_bytes: int
    uses_node_address: bool = False
    is_on_serving_port: bool = False

    @property
    def tells_load(self) -> bool:
        """Whether endpoints count as reachable by this source."""
        return any(isinstance(each.reading, Engines) for each in self.extractors)

    @property
    def lists_models(self) -> bool:
        """Whether it tells which models endpoints serve."""
        return any(isinstance(each.reading, ModelList) for each in self.extractors)

    @property
    def attributes(self) -> frozenset[str]:
        """The attributes that endpoints may get from it."""
        names: set[str] = set()
        for each in self.extractors:
            if isinstance(each.reading, SeriesMaximum):
                names.add(each.reading.attribute)
            elif isinstance(each.reading, Engines):
                engines = [self.engine, *each.reading.by_name.values()]
                names.update(name for engine in engines for name, _ in engine.attributes)
        return frozenset(names)


def plan_scraping(
    settings: ScrapeSettings, layer: DataLayer | None = None, *, by_label: bool = False
) -> tuple[PolledSource, ...]:
    """What to read, compiled: parameters of plugins come before what the command line says.

    Without sources it is what the command line says, for every endpoint; ``by_label``, or any
    source beside it, and an endpoint's labels may name its engine.

    Raises:
        StartError: a certificate cannot be used.
    """
    layer = layer or DataLayer()
    planned: list[PolledSource] = []
    if layer.has_implicit_metrics:
        reading = BY_LABEL if by_label or layer.sources else Engines(labels=(), by_name={})
        implicit = PageExtractor(CORE_EXTRACTOR, reading)
        planned.append(_polled(settings, METRICS_SOURCE, Polling(), (implicit,)))
    for use in layer.sources:
        polling, extractors = use.source.reading, tuple(_page_extractors(use))
        if isinstance(polling, Polling) and extractors:
            planned.append(_polled(settings, use.source.type, polling, extractors))
    return tuple(planned)


def _page_extractors(use: SourceUse) -> Sequence[PageExtractor]:
    return [
        PageExtractor(extractor.type, reading)
        for extractor in use.extractors
        if not isinstance(reading := _named(extractor), NodeLabels)
    ]


def _named(extractor: Extractor) -> Reading:
    """Its reading, with attributes called as endpoints have them: ``NAME/EXTRACTOR``."""
    reading, name = extractor.reading, extractor.name
    if isinstance(reading, SeriesMaximum):
        return msgspec.structs.replace(reading, attribute=f"{reading.attribute}/{name}")
    if isinstance(reading, Engines):
        default = reading.default
        return msgspec.structs.replace(
            reading,
            by_name={key: engine.named(name) for key, engine in reading.by_name.items()},
            default=None if default is None else default.named(name),
        )
    return reading


def _polled(
    settings: ScrapeSettings, type_: str, polling: Polling, extractors: tuple[PageExtractor, ...]
) -> PolledSource:
    planned = PolledSource(
        type=type_,
        extractors=extractors,
        engine=settings.engine,
        path=settings.path if polling.path is None else polling.path,
        port=polling.port,
        tls=_tls(settings, polling),
        interval_seconds=(
            settings.interval_seconds
            if polling.interval_seconds is None
            else max(polling.interval_seconds, MIN_INTERVAL_SECONDS)
        ),
        timeout_seconds=SIDE_TIMEOUT_SECONDS,
        max_page_bytes=settings.max_page_bytes,
        uses_node_address=polling.uses_node_address,
        is_on_serving_port=polling.is_on_serving_port,
    )
    if planned.tells_load:
        return msgspec.structs.replace(planned, timeout_seconds=settings.timeout_seconds)
    return planned


def _tls(settings: ScrapeSettings, polling: Polling) -> ssl.SSLContext | None:
    scheme = settings.scheme if polling.scheme is None else polling.scheme
    if scheme != "https":
        return None
    takes_any = polling.insecure_skip_verify
    if takes_any is None:
        takes_any = settings.insecure_skip_verify
    place = polling.ca_cert_path
    try:
        context = ssl.create_default_context(cafile=polling.ca_cert_path or None)
        if polling.client_cert_path:
            place = polling.client_cert_path
            context.load_cert_chain(place, polling.client_key_path)
    except OSError as error:  # of TLS, too
        reason = error.strerror or error
        raise StartError(f"cannot use the certificate {place}: {reason}") from None
    if takes_any:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
