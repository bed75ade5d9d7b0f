"""``kv-cache-utilization-scorer``: send the request where most of the KV cache is free."""

from __future__ import annotations

from collections.abc import Sequence

from epp.core.endpoint import Endpoint
from epp.core.plugin import NoParams, Scorer, Stability, plugin
from epp.core.request import InferenceRequest


@plugin("kv-cache-utilization-scorer", params=NoParams, stability=Stability.BETA)
class KvCacheUtilizationScorer(Scorer):
    """Prefer a free KV cache.

    score = 1 - kv_cache_ratio.

    Source: gateway-api-inference-extension 2aaf2a6, scorer/kvcache_utilization.go.
    """

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        return [1.0 - e.metrics.kv_cache_ratio for e in endpoints]
