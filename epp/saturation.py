"""Whether anybody has room for requests that may be shed, and which metrics to believe in that."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from epp.core.data import CycleData
from epp.core.endpoint import Endpoint
from epp.core.plugin import Handle, SaturationDetector

DEFAULT_STALENESS_SECONDS = 0.2
TOLERATED_INTERVALS = 4.0


class Freshness:
    """Tells endpoints with fresh metrics from those with stale ones, or with none at all.

    Differs: a threshold that nobody set is never shorter than four intervals between scrapes as
    they really are, which is what 200 ms are to the 50 ms that a scrape takes by default. In the
    Go programs all metrics are stale as soon as scraping falls behind, and the pool counts as full.
    """

    def __init__(self, threshold_seconds: float | None, handle: Handle) -> None:
        self._threshold_seconds = threshold_seconds
        self._clock = handle.clock
        self._scrape_interval = handle.scrape_interval

    def fresh(self, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
        """The endpoints whose metrics are not older than the threshold."""
        seconds = self._threshold_seconds
        if seconds is None:
            tolerated = TOLERATED_INTERVALS * self._scrape_interval.seconds
            seconds = max(DEFAULT_STALENESS_SECONDS, tolerated)
        now = self._clock.now()
        return [
            e
            for e in endpoints
            if e.metrics.updated_at is not None and now - e.metrics.updated_at <= seconds
        ]


class Thresholds(msgspec.Struct, frozen=True):
    """Inclusive limits under which an endpoint still has room; ``kv_cache_ratio`` is 0..1.

    ``staleness_seconds`` is None where nobody set it.
    """

    queue_depth: int = 5
    kv_cache_ratio: float = 0.8
    staleness_seconds: float | None = None


class AnyRoomDetector(SaturationDetector):
    """Full when no endpoint with fresh metrics is within the thresholds: one with room is enough.

    Made from thresholds in the configuration's ``saturationDetector``, not from a plugin's entry.

    Source: gateway-api-inference-extension 2aaf2a6, pkg/epp/saturationdetector.
    """

    type = "any-room-detector"

    def __init__(self, thresholds: Thresholds, handle: Handle) -> None:
        self.thresholds = thresholds
        self._freshness = Freshness(thresholds.staleness_seconds, handle)

    def saturation(self, endpoints: Sequence[Endpoint], data: CycleData) -> float:
        limits = self.thresholds
        has_room = any(
            e.metrics.waiting_queue_size <= limits.queue_depth
            and e.metrics.kv_cache_ratio <= limits.kv_cache_ratio
            for e in self._freshness.fresh(endpoints)
        )
        return 0.0 if has_room else 1.0
