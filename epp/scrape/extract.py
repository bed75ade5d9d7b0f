"""From a page of metrics to what scorers may know of an endpoint.

Source: gateway-api-inference-extension 2aaf2a6, pkg/epp/datalayer (its rules for LoRA).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from epp.core.endpoint import EndpointMetrics
from epp.scrape.page import Budget, MetricFinder, Sample
from epp.scrape.spec import MetricSpec

MAX_SEARCHED_BYTES = 1024 * 1024
"""Where the search of a page ends.

Differs: the Go pickers read all of a page, however long that takes.
"""

MAX_ADAPTERS = 1000
"""The names of one list that are read. Differs: the Go pickers read them all."""

KV_CACHE_SPECS = (
    MetricSpec("vllm:kv_cache_usage_perc"),
    MetricSpec("vllm:gpu_cache_usage_perc"),
)
"""What vLLM calls the used share of its KV cache, today and before.

Differs: the Go picker knows only the older name, and scores newer servers as if they were empty.
"""


class ScrapeSettings(msgspec.Struct, frozen=True):
    """What to read and how often; a spec of None (of ``kv_cache``: none at all) is not read.

    The first of ``kv_cache`` that a page has is used. ``port`` 0 means the endpoint's own.
    """

    waiting: MetricSpec | None = MetricSpec("vllm:num_requests_waiting")
    running: MetricSpec | None = MetricSpec("vllm:num_requests_running")
    kv_cache: tuple[MetricSpec, ...] = KV_CACHE_SPECS
    lora: MetricSpec | None = MetricSpec("vllm:lora_requests_info")
    cache_info: MetricSpec | None = MetricSpec("vllm:cache_config_info")
    interval_seconds: float = 0.05
    port: int = 0
    path: str = "/metrics"
    scheme: str = "http"
    insecure_skip_verify: bool = True
    timeout_seconds: float = 5.0
    max_page_bytes: int = 4 * 1024 * 1024


class Extractor:
    """Reads the pages of one endpoint; knows where in them it found things before."""

    def __init__(self, settings: ScrapeSettings) -> None:
        self._waiting = _finder(settings.waiting)
        self._running = _finder(settings.running)
        self._kv_cache = [MetricFinder(spec) for spec in settings.kv_cache]
        self._lora = _finder(settings.lora)
        self._cache_info = _finder(settings.cache_info)

    def extract(self, page: bytes, previous: EndpointMetrics, now: float) -> EndpointMetrics | None:
        """The metrics after this page; what it lacks keeps its ``previous`` value.

        None when the page has none of the wanted metrics.
        """
        if len(page) > MAX_SEARCHED_BYTES:
            page = page[: page.rfind(b"\n", 0, MAX_SEARCHED_BYTES) + 1]
        budget = Budget()
        waiting = self._waiting.find_best(page, budget) if self._waiting else None
        running = self._running.find_best(page, budget) if self._running else None
        kv_cache = self._find_kv_cache(page, budget)
        cache_info = self._cache_info.find_best(page, budget) if self._cache_info else None
        # last, because it has as many series as there were sets of adapters
        lora = _latest(self._lora.find(page, budget)) if self._lora else None
        if not (waiting or running or kv_cache or lora or cache_info):
            return None
        active, waiting_models, max_active = _lora_values(lora, previous)
        block_size, num_blocks = _cache_values(cache_info, previous)
        return EndpointMetrics(
            waiting_queue_size=_count(waiting.value) if waiting else previous.waiting_queue_size,
            running_requests=_count(running.value) if running else previous.running_requests,
            kv_cache_ratio=_ratio(kv_cache.value) if kv_cache else previous.kv_cache_ratio,
            active_models=active,
            waiting_models=waiting_models,
            max_active_models=max_active,
            cache_block_size_tokens=block_size,
            cache_num_blocks=num_blocks,
            updated_at=now,
        )

    def _find_kv_cache(self, page: bytes, budget: Budget) -> Sample | None:
        for finder in self._kv_cache:
            sample = finder.find_best(page, budget)
            if sample is not None:
                return sample
        return None


def _finder(spec: MetricSpec | None) -> MetricFinder | None:
    return MetricFinder(spec) if spec else None


def _latest(series: Sequence[Sample]) -> Sample | None:
    """The LoRA series written last: its value is the time; of equal ones the first."""
    latest = None
    for sample in series:
        if sample.value >= 0 and (latest is None or sample.value > latest.value):
            latest = sample
    return latest


def _lora_values(
    sample: Sample | None, previous: EndpointMetrics
) -> tuple[frozenset[str], frozenset[str], int]:
    if sample is None:
        return previous.active_models, previous.waiting_models, previous.max_active_models
    labels = sample.labels
    return (
        _names(labels.get("running_lora_adapters", "")),
        _names(labels.get("waiting_lora_adapters", "")),
        _whole(labels.get("max_lora", ""), previous.max_active_models),
    )


def _cache_values(sample: Sample | None, previous: EndpointMetrics) -> tuple[int, int]:
    """Block size and count. Differs: the Go pickers set what they cannot read to 0."""
    if sample is None:
        return previous.cache_block_size_tokens, previous.cache_num_blocks
    labels = sample.labels
    return (
        _whole(labels.get("block_size", ""), previous.cache_block_size_tokens),
        _whole(labels.get("num_gpu_blocks", ""), previous.cache_num_blocks),
    )


def _names(text: str) -> frozenset[str]:
    parts = text.split(",", MAX_ADAPTERS)[:MAX_ADAPTERS]
    return frozenset([name for part in parts if (name := part.strip())])


def _whole(text: str, otherwise: int) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) < 19  # what an int64 holds
    return int(text) if is_number else otherwise


def _count(value: float) -> int:
    return max(0, int(value))


def _ratio(value: float) -> float:
    """Within 0..1. Differs: the Go pickers take any number, and then score outside 0..1."""
    return min(1.0, max(0.0, value))
