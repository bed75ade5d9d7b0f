"""What is known of flow control: who waits, and how full the pool is.

Source: gateway-api-inference-extension 2aaf2a6 and llm-d-router v0.10, pkg/epp/metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry

from epp.core.probe import Probe
from epp.datastore.store import Datastore
from epp.telemetry import buckets
from epp.telemetry.exposition import spell_labels
from epp.telemetry.histogram import Histograms, HistogramSeries
from epp.telemetry.labels import Series, label_text
from epp.telemetry.numbers import Number, Numbers, values_of


class FlowMetrics(Probe):
    """The families of flow control.

    ``queue_seconds`` (fairness id, priority, outcome) and ``queue_sizes`` (fairness id, priority)
    are for whoever lets requests wait, and bounds the number of flows.
    """

    def __init__(self, registry: CollectorRegistry, datastore: Datastore) -> None:
        self._datastore = datastore
        self._saturation: float | None = None
        self._stale: Series[Number] = Series(("detector",), Number)
        self.queue_seconds: Series[HistogramSeries] = Series(
            ("fairness_id", "priority", "outcome"), lambda: HistogramSeries(buckets.QUEUEING)
        )
        self.queue_sizes: Series[Number] = Series(("fairness_id", "priority"), Number)
        for family in self._families():
            registry.register(family)

    def saturation_measured(self, detector: str, saturation: float, stale_endpoints: int) -> None:
        self._saturation = saturation
        self._stale[(label_text(detector),)].value = stale_endpoints

    def _families(self) -> Iterator[Numbers | Histograms]:
        yield Histograms(
            "inference_extension_flow_control_request_queue_duration_seconds",
            "Time that a request waited for the pool.",
            buckets.QUEUEING,
            self.queue_seconds.spelled,
        )
        yield Numbers(
            "inference_extension_flow_control_queue_size",
            "Requests that wait for the pool.",
            "gauge",
            values_of(self.queue_sizes),
        )
        for prefix in ("inference_extension", "llm_d_epp"):
            yield Numbers(
                f"{prefix}_flow_control_pool_saturation",
                "How full the pool is; 1 and above: full.",
                "gauge",
                self._saturations,
            )
        yield Numbers(
            "llm_d_epp_flow_control_stale_endpoints",
            "Endpoints whose load a saturation detector does not know.",
            "gauge",
            values_of(self._stale),
        )

    def _saturations(self) -> Iterable[tuple[str, float]]:
        if self._saturation is None:
            return []
        pool = self._datastore.pool
        name = label_text(pool.name) if pool else ""
        return [(spell_labels({"inference_pool": name, "stage": "effective"}), self._saturation)]
