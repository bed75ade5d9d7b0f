"""What producers of data know: load in flight, and which media endpoints have encoded before.

Differs: after 10,000 series of an endpoint's load the fairness ids of further ones are ``other``;
what belongs to an endpoint goes with it.

Source: llm-d-router v0.10, dataproducer/inflightload and dataproducer/multimodal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry

from epp.core.endpoint import Endpoint
from epp.core.probe import LoadGauge, Probe
from epp.datastore.store import Datastore
from epp.telemetry import buckets
from epp.telemetry.histogram import Histograms, HistogramSeries
from epp.telemetry.labels import OTHER, Series, label_text
from epp.telemetry.numbers import Number, Numbers, values_of

MAX_LOADS = 10_000

_LOAD_LABELS = ("endpoint_name", "namespace", "producer_name", "fairness_id", "priority")
_PLUGIN = ("plugin_type", "plugin_name")


class _Load:
    """One endpoint's load under one set of labels."""

    __slots__ = ("requests", "tokens")

    def __init__(self) -> None:
        self.requests = 0
        self.tokens = 0

    def change(self, requests: int, tokens: int) -> None:
        self.requests += requests
        self.tokens += tokens


class ProducerMetrics(Probe):
    """The families of load in flight and of the encoders' caches."""

    def __init__(self, registry: CollectorRegistry, datastore: Datastore) -> None:
        self._loads: dict[str, Series[_Load]] = {}
        self._load_count = 0
        self._sought: Series[Number] = Series((*_PLUGIN, "modality"), Number)
        self._held: dict[str, Series[Number]] = {}
        self._ratios: Series[HistogramSeries] = Series(
            _PLUGIN, lambda: HistogramSeries(buckets.RATIO)
        )
        datastore.subscribe(added=_ignore, removed=self._forget)
        for family in self._families():
            registry.register(family)

    def load_gauge(
        self, producer: str, endpoint: Endpoint, fairness_id: str, priority: int
    ) -> LoadGauge:
        loads = self._loads.get(endpoint.id)
        if loads is None:
            loads = self._loads[endpoint.id] = Series(_LOAD_LABELS, _Load)
        key = (
            label_text(endpoint.name),
            label_text(endpoint.namespace),
            label_text(producer),
            label_text(fairness_id),
            str(priority),
        )
        if key not in loads:
            if self._load_count >= MAX_LOADS:
                key = (*key[:3], OTHER, key[4])
            self._load_count += key not in loads
        return loads[key].change

    def media_sought(
        self, plugin_type: str, name: str, modality: str, holders: Sequence[Endpoint]
    ) -> None:
        plugin = label_text(plugin_type), label_text(name)
        modality = label_text(modality)
        self._sought[(*plugin, modality)].value += 1
        for endpoint in holders:
            held = self._held.get(endpoint.id)
            if held is None:
                names = (*_PLUGIN, "pod", "modality")
                held = self._held[endpoint.id] = Series(names, Number)
            held[(*plugin, label_text(endpoint.id), modality)].value += 1

    def media_matched(self, plugin_type: str, name: str, matched: int, total: int) -> None:
        if total > 0:
            plugin = label_text(plugin_type), label_text(name)
            self._ratios[plugin].observe(matched / total)

    def _forget(self, endpoint_id: str) -> None:
        """The endpoint left the pool."""
        self._load_count -= len(self._loads.pop(endpoint_id, ()))
        self._held.pop(endpoint_id, None)

    def _families(self) -> Iterator[Numbers | Histograms]:
        for name in ("requests", "tokens"):
            yield Numbers(
                f"llm_d_epp_inflight_{name}",
                f"{name.capitalize()} under way at an endpoint, as far as this picker sent them.",
                "gauge",
                self._reader(name),
            )
        yield Numbers(
            "llm_d_epp_encoder_cache_queries_total",
            "Images, videos and sounds that were looked for in the encoders' caches.",
            "counter",
            values_of(self._sought),
        )
        yield Numbers(
            "llm_d_epp_encoder_cache_hits_total",
            "Images, videos and sounds that a candidate has probably encoded before.",
            "counter",
            self._hits,
        )
        yield Histograms(
            "llm_d_epp_encoder_cache_hit_ratio",
            "Share of a request's media that a candidate has probably encoded before.",
            buckets.RATIO,
            self._ratios.spelled,
        )

    def _reader(self, name: str) -> Callable[[], Iterator[tuple[str, float]]]:
        def read() -> Iterator[tuple[str, float]]:
            for loads in list(self._loads.values()):
                for labels, load in loads.spelled():
                    yield labels, getattr(load, name)

        return read

    def _hits(self) -> Iterator[tuple[str, float]]:
        for held in list(self._held.values()):
            yield from ((labels, number.value) for labels, number in held.spelled())


def _ignore(_endpoint: Endpoint) -> None:
    """A new endpoint has no series yet."""
