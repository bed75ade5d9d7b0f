"""What is known of the pool: its load, who tells it, and what reading it costs.

Differs: the number of ready endpoints goes to 0 with the last fresh one, where the older picker
keeps 1 for ever; the averages keep their last value there too, for a 0 would look idle to an
autoscaler.

Source: gateway-api-inference-extension 2aaf2a6 and llm-d-router v0.10, pkg/epp/metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from math import sqrt

from prometheus_client import CollectorRegistry

from epp.core.probe import Probe
from epp.datastore.store import Datastore
from epp.telemetry.exposition import spell_labels
from epp.telemetry.labels import Series, label_text
from epp.telemetry.numbers import Number, Numbers, values_of

_KV_CACHE = "Mean share of the KV cache in use, 0 to 1."
_RUNNING = "Mean number of running requests."
_READY = "Endpoints whose metrics were read lately."
_DEVIATION = "Standard deviation among the endpoints of the"
_GAUGES = (
    ("inference_pool_average_kv_cache_utilization", _KV_CACHE),
    ("inference_pool_average_queue_size", "Mean number of waiting requests, rounded down."),
    ("inference_pool_average_running_requests", _RUNNING),
    ("inference_pool_ready_pods", _READY),
    ("llm_d_epp_average_kv_cache_utilization", _KV_CACHE),
    ("llm_d_epp_average_queue_size", "Mean number of waiting requests."),
    ("llm_d_epp_average_running_requests", _RUNNING),
    ("llm_d_epp_ready_endpoints", _READY),
    ("llm_d_epp_std_dev_kv_cache_utilization", f"{_DEVIATION} share of the KV cache in use."),
    ("llm_d_epp_std_dev_queue_size", f"{_DEVIATION} number of waiting requests."),
    ("llm_d_epp_std_dev_running_requests", f"{_DEVIATION} number of running requests."),
)
_QUEUES = (
    ("inference_pool_per_pod_queue_size", "model_server_pod"),
    ("llm_d_epp_per_endpoint_queue_size", "model_server_endpoint"),
)
_POLLS = "Endpoints that a data source could not read."
_EXTRACTS = "What was read of an endpoint and had nothing in it for an extractor."


class PoolMetrics(Probe):
    """The families of the pool and of reading it.

    The endpoints' queues are read from ``datastore`` when the page is made, the other gauges of the
    pool are computed by ``refresh``.
    """

    def __init__(self, registry: CollectorRegistry, datastore: Datastore) -> None:
        self._datastore = datastore
        self._pool = ""
        self._gauges: dict[str, float] = {}
        self._scrape_interval = Number()
        self._poll_errors: Series[Number] = Series(("source_type",), Number)
        self._extract_errors: Series[Number] = Series(("source_type", "extractor_type"), Number)
        for family in self._families():
            registry.register(family)

    def scraped(self, interval_seconds: float) -> None:
        self._scrape_interval.value = interval_seconds

    def poll_failed(self, source_type: str) -> None:
        self._poll_errors[(source_type,)].value += 1

    def extract_failed(self, source_type: str, extractor_type: str) -> None:
        self._extract_errors[(source_type, extractor_type)].value += 1

    def refresh(self, now: float, staleness_seconds: float) -> None:
        """Compute the pool's gauges from the endpoints that were read lately.

        Without a pool nothing changes.
        """
        pool = self._datastore.pool
        if pool is None:
            return
        if pool.name != self._pool:
            self._gauges.clear()
            self._pool = pool.name
        fresh = [
            endpoint.metrics
            for endpoint in self._datastore.endpoints()
            if endpoint.metrics.updated_at is not None
            and now - endpoint.metrics.updated_at <= staleness_seconds
        ]
        old, new = "inference_pool", "llm_d_epp"
        gauges = self._gauges
        gauges[f"{old}_ready_pods"] = gauges[f"{new}_ready_endpoints"] = len(fresh)
        if not fresh:
            return
        for name, values in (
            ("kv_cache_utilization", [metrics.kv_cache_ratio for metrics in fresh]),
            ("queue_size", [metrics.waiting_queue_size for metrics in fresh]),
            ("running_requests", [metrics.running_requests for metrics in fresh]),
        ):
            mean, deviation = _mean_and_deviation(values)
            gauges[f"{old}_average_{name}"] = mean
            gauges[f"{new}_average_{name}"] = round(mean, 2)
            gauges[f"{new}_std_dev_{name}"] = round(deviation, 2)
        # the older picker divides whole numbers
        gauges[f"{old}_average_queue_size"] //= 1
        gauges[f"{old}_average_running_requests"] = gauges[f"{new}_average_running_requests"]

    def _families(self) -> Iterator[Numbers]:
        for name, text in _GAUGES:
            yield Numbers(name, text, "gauge", partial(self._gauge, name))
        for name, label in _QUEUES:
            text = "Waiting requests of each endpoint."
            yield Numbers(name, text, "gauge", partial(self._queues, label))
        for prefix in ("llm_d_inference_scheduler", "llm_d_epp"):
            for kind, text, errors in (
                ("poll", _POLLS, self._poll_errors),
                ("extract", _EXTRACTS, self._extract_errors),
            ):
                name = f"{prefix}_datalayer_{kind}_errors_total"
                yield Numbers(name, text, "counter", values_of(errors))
        # Differs: upstream has no such metric, and no limit to what scraping may cost.
        yield Numbers(
            "epp_scrape_interval_seconds",
            "Time between two scrapes of an endpoint as it is kept: the one asked for, or longer "
            "where scraping would take too much of the picker's time. The upstream picker has no "
            "such metric.",
            "gauge",
            lambda: [("", self._scrape_interval.value)],
        )

    def _gauge(self, name: str) -> Iterable[tuple[str, float]]:
        value = self._gauges.get(name)
        if value is None:
            return []
        return [(spell_labels({"name": label_text(self._pool)}), value)]

    def _queues(self, label: str) -> Iterator[tuple[str, int]]:
        """Every endpoint, fresh or not."""
        pool = self._datastore.pool
        if pool is None:
            return
        name = label_text(pool.name)
        for endpoint in self._datastore.endpoints():
            labels = spell_labels({"name": name, label: label_text(endpoint.name)})
            yield labels, endpoint.metrics.waiting_queue_size


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """The mean and the sample's standard deviation, 0 for one value."""
    mean = sum(values) / len(values)
    squares = sum((value - mean) ** 2 for value in values)
    return mean, sqrt(squares / max(len(values) - 1, 1))
