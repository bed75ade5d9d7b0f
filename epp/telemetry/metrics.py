"""Every metric of the picker, and the probe that feeds them.

Names, labels and buckets are those of the upstream picker.

Differs: label values are valid UTF-8 of at most 128 bytes, and after 1,000 different ones a metric
counts the rest as ``other``; upstream ends on bytes that are no UTF-8 and keeps any number of names
of any length. Metrics without labels and those of plugins are there, as zeros, from the start.

Source: gateway-api-inference-extension 2aaf2a6, pkg/epp/metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Literal, TypeVar

from prometheus_client import CollectorRegistry, Gauge, Metric, ProcessCollector
from prometheus_client.registry import Collector

from epp.core.probe import Probe, Timer
from epp.core.request import Usage
from epp.datastore.store import Datastore
from epp.telemetry.histogram import Histogram, HistogramSeries
from epp.telemetry.numbers import Numbers

MAX_SERIES = 1000
MAX_LABEL_BYTES = 128
OTHER = "other"

# fmt: off
LATENCY = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45,
    60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600,
)
REQUEST_SIZE = tuple(2**n for n in range(6, 31))
# 32778 is upstream's, and so part of the name of its series.
RESPONSE_SIZE = (
    1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32778, 65536,
)
INPUT_TOKENS = (*RESPONSE_SIZE, 131072, 262144, 524288, 1048576)
OUTPUT_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
TIME_PER_TOKEN = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
SCHEDULING = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
RATIO = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
LOOP_LAG = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
HIT_BYTES = (0, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
# fmt: on

_MODELS = ("model_name", "target_model_name")

T = TypeVar("T")


class MetricsProbe(Probe):
    """Turns reports into metrics on a registry of its own.

    The per-endpoint queue lengths are read from ``datastore`` when the page is made; the pool's
    averages whenever ``refresh_pool`` is called.
    """

    def __init__(self, datastore: Datastore, *, commit: str = "", build_ref: str = "") -> None:
        self.registry = CollectorRegistry()
        self._datastore = datastore
        self._pool_name = ""
        self._pairs: set[tuple[str, str]] = set()
        self._models: set[str] = set()
        self._make_request_metrics()
        self._make_scheduling_metrics()
        self._make_pool_metrics()
        self._loop_lag = self._histogram(
            "epp_event_loop_lag_seconds",
            "How late the event loop was, ten times a second; its 0.99 quantile is the p99 lag.",
            (),
            LOOP_LAG,
        ).labels()
        self.registry.register(EndpointQueues(datastore))
        ProcessCollector(registry=self.registry)
        self._gauge(
            "inference_extension_info", "The build that is running.", ("commit", "build_ref")
        ).labels(label_text(commit), label_text(build_ref)).set(1)

    def plugin_timer(self, point: str, type_name: str, name: str) -> Timer:
        return self._plugin_seconds[(point, type_name, name)].observe

    def scheduled(self, seconds: float) -> None:
        self._scheduling_seconds.observe(seconds)

    def request_routed(self, model: str, target: str, size_bytes: int) -> None:
        # Differs: the size is the client's own; upstream measures its re-serialised body.
        requests, sizes = self._routed[self._pair(model, target)]
        requests.value += 1
        sizes.observe(size_bytes)

    def request_failed(self, model: str, target: str, code: str) -> None:
        self._errors[(*self._pair(model, target), code)].value += 1

    def running_changed(self, model: str, change: int) -> None:
        if model:
            self._running[(self._model(model),)].value += change

    def response_complete(
        self,
        model: str,
        target: str,
        *,
        seconds: float,
        size_bytes: int,
        is_streaming: bool,
        usage: Usage | None,
    ) -> None:
        # Differs: streamed answers and answers that are no JSON count too, with their real size;
        # upstream observes 0 for the former and nothing for the latter.
        pair = self._pair(model, target)
        durations, sizes = self._answered[pair]
        durations.observe(seconds)
        sizes.observe(size_bytes)
        if usage is None:
            return
        # Differs: upstream looks for the cached tokens under a key that no server writes.
        self._cached_tokens[pair].observe(usage.cached_tokens or 0)
        if usage.prompt_tokens is not None and usage.prompt_tokens > 0:
            self._input_tokens[pair].observe(usage.prompt_tokens)
        if usage.completion_tokens is not None and usage.completion_tokens > 0:
            self._output_tokens[pair].observe(usage.completion_tokens)
            if is_streaming:
                self._token_seconds[pair].observe(seconds / usage.completion_tokens)

    def prefix_matched(self, matched_blocks: int, total_blocks: int, block_bytes: int) -> None:
        if total_blocks > 0:
            self._prefix_ratio.observe(matched_blocks / total_blocks)
        self._prefix_bytes.observe(matched_blocks * block_bytes)

    def prefix_index_sized(self, entries: int) -> None:
        self._prefix_entries.value = entries

    def loop_lagged(self, seconds: float) -> None:
        """The event loop was this late. A metric of our own: Go has no such loop."""
        self._loop_lag.observe(seconds)

    def scraped(self, interval_seconds: float) -> None:
        self._scrape_interval.set(interval_seconds)

    def refresh_pool(self, now: float, staleness_seconds: float) -> None:
        """Compute the pool's gauges from the endpoints that were read lately.

        Without a pool nothing changes. Differs: the number of ready endpoints goes to 0 with the
        last fresh one, where upstream keeps 1 for ever; the averages keep their last value there
        too, for a 0 would look idle to an autoscaler.
        """
        pool = self._datastore.pool
        if pool is None:
            return
        if pool.name != self._pool_name:
            for gauge in (self._ready, self._average_queue, self._average_kv_cache):
                gauge.clear()
            self._pool_name = pool.name
        name = label_text(pool.name)
        fresh = [
            endpoint.metrics
            for endpoint in self._datastore.endpoints()
            if endpoint.metrics.updated_at is not None
            and now - endpoint.metrics.updated_at <= staleness_seconds
        ]
        self._ready.labels(name).set(len(fresh))
        if fresh:
            self._average_queue.labels(name).set(
                sum(metrics.waiting_queue_size for metrics in fresh) // len(fresh)
            )
            self._average_kv_cache.labels(name).set(
                sum(metrics.kv_cache_ratio for metrics in fresh) / len(fresh)
            )

    def _make_request_metrics(self) -> None:
        requests = self._numbers(
            "inference_objective_request_total",
            "Requests with a body sent on their way.",
            _MODELS,
            "counter",
        )
        request_bytes = self._histogram(
            "inference_objective_request_sizes", "Bytes of request bodies.", _MODELS, REQUEST_SIZE
        )
        self._routed = _Children(
            lambda *pair: (requests.labels(*pair), request_bytes.labels(*pair))
        )
        self._errors = _Children(
            self._numbers(
                "inference_objective_request_error_total",
                "Requests that ended with an error.",
                (*_MODELS, "error_code"),
                "counter",
            ).labels
        )
        request_seconds = self._histogram(
            "inference_objective_request_duration_seconds",
            "Time from a request's headers to the end of its answer.",
            _MODELS,
            LATENCY,
        )
        response_bytes = self._histogram(
            "inference_objective_response_sizes",
            "Bytes of response bodies.",
            _MODELS,
            RESPONSE_SIZE,
        )
        self._answered = _Children(
            lambda *pair: (request_seconds.labels(*pair), response_bytes.labels(*pair))
        )
        self._input_tokens = self._histograms(
            "inference_objective_input_tokens", "Tokens of prompts.", _MODELS, INPUT_TOKENS
        )
        self._output_tokens = self._histograms(
            "inference_objective_output_tokens", "Tokens of completions.", _MODELS, OUTPUT_TOKENS
        )
        self._cached_tokens = self._histograms(
            "inference_objective_prompt_cached_tokens",
            "Tokens of prompts that the model server had in its cache.",
            _MODELS,
            INPUT_TOKENS,
        )
        self._token_seconds = self._histograms(
            "inference_objective_normalized_time_per_output_token_seconds",
            "Time of a streamed answer, divided by its tokens.",
            _MODELS,
            TIME_PER_TOKEN,
        )
        self._running = _Children(
            self._numbers(
                "inference_objective_running_requests",
                "Requests at the model servers now.",
                ("model_name",),
                "gauge",
            ).labels
        )

    def _make_scheduling_metrics(self) -> None:
        self._scheduling_seconds = self._histogram(
            "inference_extension_scheduler_e2e_duration_seconds",
            "Time of a scheduling cycle, with or without a result.",
            (),
            SCHEDULING,
        ).labels()
        self._plugin_seconds = self._histograms(
            "inference_extension_plugin_duration_seconds",
            "Time of one call of a plugin.",
            ("extension_point", "plugin_type", "plugin_name"),
            SCHEDULING,
        )
        self._prefix_entries = self._numbers(
            "inference_extension_prefix_indexer_size",
            "Prompt blocks in the prefix index, counted for every endpoint that has seen them.",
            (),
            "gauge",
        ).labels()
        self._prefix_ratio = self._histogram(
            "inference_extension_prefix_indexer_hit_ratio",
            "Share of a prompt's blocks that its endpoint had seen.",
            (),
            RATIO,
        ).labels()
        self._prefix_bytes = self._histogram(
            "inference_extension_prefix_indexer_hit_bytes",
            "Bytes of a prompt that its endpoint had seen.",
            (),
            HIT_BYTES,
        ).labels()

    def _make_pool_metrics(self) -> None:
        self._average_kv_cache: Gauge = self._gauge(
            "inference_pool_average_kv_cache_utilization",
            "Mean share of the KV cache in use, 0 to 1.",
            ("name",),
        )
        self._average_queue: Gauge = self._gauge(
            "inference_pool_average_queue_size",
            "Mean number of waiting requests, rounded down.",
            ("name",),
        )
        self._ready: Gauge = self._gauge(
            "inference_pool_ready_pods", "Endpoints whose metrics were read lately.", ("name",)
        )

        # Differs: upstream has no such metric, and no limit to what scraping may cost.
        self._scrape_interval = self._gauge(
            "epp_scrape_interval_seconds",
            "Time between two scrapes of an endpoint as it is kept: the one asked for, or longer "
            "where scraping would take too much of the picker's time. The upstream picker has no "
            "such metric.",
            (),
        )

    def _pair(self, model: str, target: str) -> tuple[str, str]:
        """The label values for two models."""
        pair = (model, target)
        if pair in self._pairs:
            return pair
        pair = (label_text(model), label_text(target))
        if pair not in self._pairs:
            if len(self._pairs) >= MAX_SERIES:
                return OTHER, OTHER
            self._pairs.add(pair)
        return pair

    def _model(self, model: str) -> str:
        """The label value for one model; the same one every time, whatever came in between."""
        if model in self._models:
            return model
        model = label_text(model)
        if model not in self._models:
            if len(self._models) >= MAX_SERIES:
                return OTHER
            self._models.add(model)
        return model

    def _gauge(self, name: str, text: str, labels: Sequence[str]) -> Gauge:
        return Gauge(name, f"[ALPHA] {text}", labels, registry=self.registry)

    def _numbers(
        self, name: str, text: str, labels: Sequence[str], kind: Literal["counter", "gauge"]
    ) -> Numbers:
        numbers = Numbers(name, f"[ALPHA] {text}", labels, kind)
        self.registry.register(numbers)
        return numbers

    def _histogram(
        self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> Histogram:
        histogram = Histogram(name, f"[ALPHA] {text}", labels, bounds)
        self.registry.register(histogram)
        return histogram

    def _histograms(
        self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> _Children[HistogramSeries]:
        return _Children(self._histogram(name, text, labels, bounds).labels)


class EndpointQueues(Collector):
    """The waiting queue of every endpoint, fresh or not, read when the page is made."""

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore

    def describe(self) -> Iterable[Metric]:
        return [self._metric()]

    def collect(self) -> Iterable[Metric]:
        metric = self._metric()
        pool = self._datastore.pool
        for endpoint in self._datastore.endpoints() if pool else ():
            assert pool is not None
            metric.add_sample(
                metric.name,
                {"name": label_text(pool.name), "model_server_pod": label_text(endpoint.name)},
                endpoint.metrics.waiting_queue_size,
            )
        return [metric]

    @staticmethod
    def _metric() -> Metric:
        return Metric(
            "inference_pool_per_pod_queue_size",
            "[ALPHA] Waiting requests of each endpoint.",
            "gauge",
        )


def label_text(text: str) -> str:
    """``text`` as a label value: valid UTF-8, at most 128 bytes, cut between two characters."""
    if text.isascii():
        return text[:MAX_LABEL_BYTES]
    # One character is at least one byte: what is cut off here would not fit anyway.
    cleaned = text[:MAX_LABEL_BYTES].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return cleaned.encode()[:MAX_LABEL_BYTES].decode("utf-8", "ignore")


class _Children(dict[tuple[str, ...], T], Generic[T]):
    """The series of a metric by their label values; a look-up makes what is missing."""

    def __init__(self, make: Callable[..., T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, values: tuple[str, ...]) -> T:
        child = self[values] = self._make(*[label_text(value) for value in values])
        return child
