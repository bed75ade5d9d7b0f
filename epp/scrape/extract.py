"""From a page of metrics to what scorers may know of an endpoint.

Source: gateway-api-inference-extension 2aaf2a6, pkg/epp/datalayer (its rules for LoRA).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from epp.core.endpoint import EndpointMetrics
from epp.core.engine import Engine
from epp.core.metricspec import MetricSpec
from epp.scrape.line import Budget, Labels, Sample
from epp.scrape.page import MetricFinder

T = TypeVar("T")

MAX_SEARCHED_BYTES = 1024 * 1024
"""Where the search of a page ends.

Differs: the Go pickers read all of a page, however long that takes.
"""

MAX_ADAPTERS = 1000
"""The names of one list that are read. Differs: the Go pickers read them all."""


class MetricsReader:
    """Reads the metrics of one endpoint; knows where in its pages it found things before."""

    def __init__(self, engine: Engine) -> None:
        self._waiting = _finder(engine.waiting)
        self._running = _finder(engine.running)
        self._kv_cache = [MetricFinder(spec) for spec in engine.kv_cache]
        self._lora = _finder(engine.lora)
        self._cache_info = _finder(engine.cache_info)
        self._block_size = _finder(engine.block_size)
        self._num_blocks = _finder(engine.num_blocks)
        self._attributes = [(name, MetricFinder(spec)) for name, spec in engine.attributes]
        self._has_more = bool(self._block_size or self._num_blocks or self._attributes)
        self._read_lora = _Memo(_LoraLabels.read)
        labels = engine.block_size_label, engine.num_blocks_label
        self._read_cache = _Memo(partial(_CacheLabels.read, names=labels))

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
        more = self._find_more(page, budget) if self._has_more else None
        # last, because it has as many series as there were sets of adapters
        lora = _latest(self._lora.find(page, budget)) if self._lora else None
        if not (waiting or running or kv_cache or lora or cache_info or more):
            return None
        active, waiting_models, max_active = previous.active_models, previous.waiting_models, -1
        if lora:
            active, waiting_models, max_active = self._read_lora(lora.labels)
        block_size = num_blocks = -1
        if cache_info:
            block_size, num_blocks = self._read_cache(cache_info.labels)
        attributes = previous.attributes
        if more:
            block_size = block_size if more.block_size is None else _count(more.block_size)
            num_blocks = num_blocks if more.num_blocks is None else _count(more.num_blocks)
            if more.attributes:
                attributes = {**attributes, **more.attributes}
        return EndpointMetrics(
            waiting_queue_size=_count(waiting.value) if waiting else previous.waiting_queue_size,
            running_requests=_count(running.value) if running else previous.running_requests,
            kv_cache_ratio=_ratio(kv_cache.value) if kv_cache else previous.kv_cache_ratio,
            active_models=active,
            waiting_models=waiting_models,
            max_active_models=max_active if max_active >= 0 else previous.max_active_models,
            cache_block_size_tokens=(
                block_size if block_size >= 0 else previous.cache_block_size_tokens
            ),
            cache_num_blocks=num_blocks if num_blocks >= 0 else previous.cache_num_blocks,
            updated_at=now,
            attributes=attributes,
            served_models=previous.served_models,
        )

    def _find_more(self, page: bytes, budget: Budget) -> _More | None:
        """What few engines have; None where the page has nothing of it."""
        size = self._block_size.find_best(page, budget) if self._block_size else None
        number = self._num_blocks.find_best(page, budget) if self._num_blocks else None
        found = {
            name: sample.value
            for name, finder in self._attributes
            if (sample := finder.find_best(page, budget)) is not None
        }
        if not (size or number or found):
            return None
        return _More(size.value if size else None, number.value if number else None, found)

    def _find_kv_cache(self, page: bytes, budget: Budget) -> Sample | None:
        for finder in self._kv_cache:
            sample = finder.find_best(page, budget)
            if sample is not None:
                return sample
        return None


class _More(NamedTuple):
    """What few engines have: the cache's blocks as gauges, and any attributes."""

    block_size: float | None
    num_blocks: float | None
    attributes: Mapping[str, float]


def _finder(spec: MetricSpec | None) -> MetricFinder | None:
    return MetricFinder(spec) if spec else None


def _latest(series: Sequence[Sample]) -> Sample | None:
    """The LoRA series written last: its value is the time; of equal ones the first."""
    latest = None
    for sample in series:
        if sample.value >= 0 and (latest is None or sample.value > latest.value):
            latest = sample
    return latest


class _LoraLabels(NamedTuple):
    """What the labels of a LoRA series say; -1 where that is no number."""

    active: frozenset[str]
    waiting: frozenset[str]
    max_active: int

    @classmethod
    def read(cls, labels: Mapping[str, str]) -> _LoraLabels:
        return cls(
            _names(labels.get("running_lora_adapters", "")),
            _names(labels.get("waiting_lora_adapters", "")),
            _whole(labels.get("max_lora", "")),
        )


class _CacheLabels(NamedTuple):
    """What the labels of the cache series say; -1 where that is no number.

    Differs: the Go pickers set what they cannot read to 0.
    """

    block_size_tokens: int
    num_blocks: int

    @classmethod
    def read(cls, labels: Mapping[str, str], *, names: tuple[str, str]) -> _CacheLabels:
        block_size, num_blocks = names
        return cls(_whole(labels.get(block_size, "")), _whole(labels.get(num_blocks, "")))


class _Memo(Generic[T]):
    """Reads labels, and the same ones only once: they change much less often than numbers."""

    def __init__(self, read: Callable[[Mapping[str, str]], T]) -> None:
        self._read = read
        self._labels: Labels | None = None
        self._result: T

    def __call__(self, labels: Labels) -> T:
        if labels is not self._labels:
            self._labels, self._result = labels, self._read(labels.by_name)
        return self._result


def _names(text: str) -> frozenset[str]:
    parts = text.split(",", MAX_ADAPTERS)[:MAX_ADAPTERS]
    return frozenset([name for part in parts if (name := part.strip())])


def _whole(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) < 19  # what an int64 holds
    return int(text) if is_number else -1


def _count(value: float) -> int:
    return int(value) if value > 0 else 0


def _ratio(value: float) -> float:
    """Within 0..1. Differs: the Go pickers take any number, and then score outside 0..1."""
    return min(1.0, max(0.0, value))
