"""Whether the pool has room for requests that may be shed.

Source: gateway-api-inference-extension 2aaf2a6, pkg/epp/saturationdetector.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from epp.core.clock import Clock
from epp.core.endpoint import Endpoint


class SaturationThresholds(msgspec.Struct, frozen=True):
    """Inclusive limits under which an endpoint still has room."""

    queue_depth: int = 5
    kv_cache_ratio: float = 0.8
    staleness_seconds: float = 0.2


class SaturationDetector:
    """The pool is saturated when no endpoint with fresh metrics is within the thresholds."""

    def __init__(self, thresholds: SaturationThresholds, clock: Clock) -> None:
        self._thresholds = thresholds
        self._clock = clock

    def is_saturated(self, endpoints: Sequence[Endpoint]) -> bool:
        """Whether none of the endpoints has room."""
        limits = self._thresholds
        oldest = self._clock.now() - limits.staleness_seconds
        return not any(
            e.metrics.updated_at is not None
            and e.metrics.updated_at >= oldest
            and e.metrics.waiting_queue_size <= limits.queue_depth
            and e.metrics.kv_cache_ratio <= limits.kv_cache_ratio
            for e in endpoints
        )
