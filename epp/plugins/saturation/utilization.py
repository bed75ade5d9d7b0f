"""``utilization-detector``: how full queues and KV caches are, on average over the endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Meta

from epp.core.data import CycleData
from epp.core.endpoint import Endpoint
from epp.core.plugin import (
    Filter,
    Handle,
    Params,
    PositiveDuration,
    SaturationDetector,
    Stability,
    plugin,
)
from epp.core.request import InferenceRequest
from epp.saturation import Freshness


class UtilizationDetectorParams(Params, frozen=True):
    """What counts as full."""

    queue_depth_threshold: Annotated[int, Meta(gt=0, description="Waiting requests.")] = 5
    kv_cache_util_threshold: Annotated[float, Meta(gt=0, le=1, description="Part in use.")] = 0.8
    metrics_staleness_threshold: Annotated[
        PositiveDuration | None, Meta(description="Older metrics count as full.")
    ] = None
    headroom: Annotated[float, Meta(ge=0, description="What the filter adds to both.")] = 0.0

    def hints(self) -> Iterable[tuple[str, str]]:
        if self.headroom > 1:
            yield "headroom", "a part of the thresholds: above 1 it more than doubles them"


@plugin("utilization-detector", params=UtilizationDetectorParams, stability=Stability.BETA)
class UtilizationDetector(SaturationDetector, Filter):
    """Measure how full the pool is; in a profile, keep the endpoints that are not full.

    saturation = mean over the endpoints of max(queue / threshold, KV cache / threshold), where an
    endpoint with stale metrics counts 1.0. The filter keeps endpoints with fresh metrics below both
    thresholds x (1 + headroom), and everybody when that leaves nobody.

    Source: llm-d-router v0.10, utilization-detector.
    """

    def __init__(self, params: UtilizationDetectorParams, handle: Handle) -> None:
        self._queue_depth = params.queue_depth_threshold
        self._kv_cache_ratio = params.kv_cache_util_threshold
        self._headroom_factor = 1.0 + params.headroom
        self._freshness = Freshness(params.metrics_staleness_threshold, handle)
        self._probe = handle.probe

    def saturation(self, endpoints: Sequence[Endpoint], data: CycleData) -> float:
        fresh = self._freshness.fresh(endpoints)
        stale = len(endpoints) - len(fresh)
        full = sum(
            max(
                e.metrics.waiting_queue_size / self._queue_depth,
                e.metrics.kv_cache_ratio / self._kv_cache_ratio,
            )
            for e in fresh
        )
        saturation = (full + stale) / len(endpoints) if endpoints else 1.0
        self._probe.saturation_measured(self.name, saturation, stale)
        return saturation

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        queue_depth = self._queue_depth * self._headroom_factor
        kv_cache_ratio = self._kv_cache_ratio * self._headroom_factor
        kept = [
            e
            for e in self._freshness.fresh(endpoints)
            if e.metrics.waiting_queue_size < queue_depth
            and e.metrics.kv_cache_ratio < kv_cache_ratio
        ]
        return kept or endpoints
