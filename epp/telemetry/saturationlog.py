"""A log line now and then while the pool is full, with the cause."""

from __future__ import annotations

import logging

from epp.core.clock import Clock
from epp.core.probe import Probe
from epp.telemetry import logs

logger = logging.getLogger("saturation")

EVERY_SECONDS = 30.0


class SaturationLog(Probe):
    """Logs, at most every 30 seconds, that a detector found the pool full or metrics stale.

    Source: llm-d-router v0.10, utilization-detector.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._logged_at: float | None = None

    def saturation_measured(
        self, detector_name: str, saturation: float, stale_endpoints: int
    ) -> None:
        if saturation < 1.0 and not stale_endpoints:
            return
        now = self._clock.now()
        if self._logged_at is not None and now - self._logged_at < EVERY_SECONDS:
            return
        self._logged_at = now
        logs.log(
            logger,
            0,
            "Pool is saturated" if saturation >= 1.0 else "Metrics are stale",
            detector=detector_name,
            saturation=round(saturation, 3),
            staleEndpoints=stale_endpoints,
            cause=(
                "metrics that are missing or stale count as full"
                if stale_endpoints
                else "waiting queues or KV caches are full"
            ),
        )
