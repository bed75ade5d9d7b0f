"""Plugin types of the newer release that this version lacks, and what to say who names one.

Source: llm-d-router v0.10, cmd/epp/runner/runner.go.
"""

from __future__ import annotations

_PREDICTIONS = "it needs predictions of latency, which this version does not make"
_CLUSTERS = "pools of several clusters are not part of this version"
_PEERS = "fetching KV blocks from other model servers is not part of this version"
_EVENTS = (
    "following KV-cache events is not part of this version; approx-prefix-cache-producer guesses "
    "from the requests that were routed"
)
_FLOW = "flow control is not part of this version"

WAITING: dict[str, str] = {
    "latency-scorer": _PREDICTIONS,
    "predicted-latency-producer": _PREDICTIONS,
    "multicluster-session-affinity-filter": _CLUSTERS,
    "multicluster-queue-scorer": _CLUSTERS,
    "multicluster-kv-cache-utilization-scorer": _CLUSTERS,
    "multicluster-prefix-cache-scorer": _CLUSTERS,
    "multicluster-approx-prefix-cache-producer": _CLUSTERS,
    "multicluster-metrics-data-source": _CLUSTERS,
    "multicluster-metrics-extractor": _CLUSTERS,
    "multicluster-file-discovery": _CLUSTERS,
    "p2p-source-producer": _PEERS,
    "precise-prefix-cache-producer": _EVENTS,
    "precise-prefix-cache-scorer": _EVENTS,
    "endpoint-notification-source": _EVENTS,
    "global-strict-fairness-policy": _FLOW,
    "round-robin-fairness-policy": _FLOW,
    "program-aware-fairness": _FLOW,
    "fcfs-ordering-policy": _FLOW,
    "edf-ordering-policy": _FLOW,
    "slo-deadline-ordering-policy": _FLOW,
    "static-usage-limit-policy": _FLOW,
    "priority-holdback-policy": _FLOW,
    "soft-reflective-ceiling-policy": _FLOW,
    "sheddable-eviction-filter": _FLOW,
    "priority-then-time-eviction-order-policy": _FLOW,
}
