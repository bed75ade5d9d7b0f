"""Every metric of the picker, and the probe that feeds them.

Names, labels and buckets are those of the upstream pickers: the older families have the labels of
2025, the newer ones, ``llm_d_epp_``, stand beside them. Each subject has a module; this one puts
them together, with what belongs to the process.

Source: gateway-api-inference-extension 2aaf2a6 and llm-d-router v0.10, pkg/epp/metrics.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, ProcessCollector

from epp.core.clock import Clock
from epp.datastore.store import Datastore
from epp.telemetry import buckets
from epp.telemetry.config_metrics import ConfigMetrics
from epp.telemetry.disagg_metrics import DisaggMetrics
from epp.telemetry.exposition import spell_labels
from epp.telemetry.flow_metrics import FlowMetrics
from epp.telemetry.histogram import Histograms, HistogramSeries
from epp.telemetry.labels import Series, label_text
from epp.telemetry.numbers import Number, Numbers, values_of
from epp.telemetry.pool_metrics import PoolMetrics
from epp.telemetry.prefix_metrics import PrefixMetrics
from epp.telemetry.producer_metrics import ProducerMetrics
from epp.telemetry.request_metrics import RequestMetrics
from epp.telemetry.rollout_metrics import RolloutMetrics
from epp.telemetry.scheduling_metrics import SchedulingMetrics
from epp.telemetry.stream_metrics import StreamMetrics
from epp.telemetry.tee import Probes


class MetricsProbe(Probes):
    """Turns reports into metrics on a registry of its own; a report costs no detour through here.

    What is known of the pool is read from ``datastore``. ``streams`` is None unless
    ``stream_metrics`` asks for it.
    """

    def __init__(
        self,
        datastore: Datastore,
        *,
        commit: str = "",
        build_ref: str = "",
        stream_metrics: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.registry = CollectorRegistry()
        self._pinned: set[str] = set()
        self._pool = PoolMetrics(self.registry, datastore)
        self.flow = FlowMetrics(self.registry, datastore)
        self.streams = StreamMetrics(self.registry) if stream_metrics else None
        self._loop_lag = HistogramSeries(buckets.LOOP_LAG)
        self._leading: Series[Number] = Series(("name",), Number)
        self._add_process(commit, build_ref)
        super().__init__(
            RequestMetrics(self.registry, self._pinned),
            SchedulingMetrics(self.registry, datastore, self._pinned),
            PrefixMetrics(self.registry),
            DisaggMetrics(self.registry, self._pinned),
            RolloutMetrics(self.registry),
            ConfigMetrics(self.registry, clock or Clock()),
            ProducerMetrics(self.registry, datastore),
            self._pool,
            self.flow,
        )

    def pin_models(self, names: Iterable[str]) -> None:
        """Names that are shown whatever number of others there is: those of rewrite rules.

        One that was ``other`` before is so no more; what runs just then leaves under its own name.
        """
        self._pinned.update(label_text(name) for name in names)

    def refresh_pool(self, now: float, staleness_seconds: float) -> None:
        """Compute the pool's gauges from the endpoints that were read lately."""
        self._pool.refresh(now, staleness_seconds)

    def loop_lagged(self, seconds: float) -> None:
        """The event loop was this late. A metric of our own: Go has no such loop."""
        self._loop_lag.observe(seconds)

    def set_leader(self, name: str, is_leader: bool) -> None:
        """Whether this process holds the lease ``name``."""
        self._leading[(label_text(name),)].value = int(is_leader)

    def _add_process(self, commit: str, build_ref: str) -> None:
        build = spell_labels({"commit": label_text(commit), "build_ref": label_text(build_ref)})
        for prefix in ("inference_extension", "llm_d_epp"):
            self.registry.register(
                Numbers(
                    f"{prefix}_info", "The build that is running.", "gauge", lambda: [(build, 1)]
                )
            )
        self.registry.register(
            Histograms(
                "epp_event_loop_lag_seconds",
                "How late the event loop was, ten times a second; its 0.99 quantile is p99.",
                buckets.LOOP_LAG,
                lambda: [("", self._loop_lag)],
            )
        )
        self.registry.register(
            Numbers(
                "leader_election_master_status",
                "Whether this process is the leader.",
                "gauge",
                values_of(self._leading),
            )
        )
        ProcessCollector(registry=self.registry)
