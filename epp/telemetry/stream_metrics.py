"""What is counted of the streams of the ext_proc port, for those who ask for it.

Source: llm-d-router v0.10, pkg/epp/metrics.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from epp.rpc import Status
from epp.telemetry import buckets
from epp.telemetry.histogram import Histograms, HistogramSeries
from epp.telemetry.labels import Series
from epp.telemetry.numbers import Number, Numbers, values_of

# Go spells one of them its own way.
_CODES: dict[int, str] = {
    **{status: status.name.title().replace("_", "") for status in Status},
    Status.OK: "OK",
    Status.CANCELLED: "Canceled",
}


class StreamMetrics:
    """The families of streams; a servicer tells each one's begin and end."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._running = Number()
        self._seconds = HistogramSeries(buckets.STREAM)
        self._ended: Series[Number] = Series(("code",), Number)
        registry.register(
            Numbers(
                "llm_d_epp_extproc_streams_inflight",
                "Streams that are open now.",
                "gauge",
                lambda: [("", self._running.value)],
            )
        )
        registry.register(
            Histograms(
                "llm_d_epp_extproc_stream_duration_seconds",
                "Time that a stream was open.",
                buckets.STREAM,
                lambda: [("", self._seconds)],
            )
        )
        registry.register(
            Numbers(
                "llm_d_epp_extproc_streams_total",
                "Streams that ended, by the status of their call.",
                "counter",
                values_of(self._ended),
            )
        )

    def opened(self) -> None:
        """A stream began."""
        self._running.value += 1

    def ended(self, status: int, seconds: float) -> None:
        """A stream is over, after so long; ``status`` is a ``Status`` or another gRPC number."""
        self._running.value -= 1
        self._seconds.observe(seconds)
        self._ended[(_CODES.get(status, f"Code({status})"),)].value += 1
