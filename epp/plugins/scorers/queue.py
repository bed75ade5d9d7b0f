"""``queue-scorer``: send the request where fewest requests are waiting."""

from __future__ import annotations

from collections.abc import Sequence

from epp.core.endpoint import Endpoint
from epp.core.plugin import NoParams, Scorer, Stability, plugin
from epp.core.request import InferenceRequest


@plugin("queue-scorer", params=NoParams, stability=Stability.BETA)
class QueueScorer(Scorer):
    """Prefer the shortest waiting queue.

    score = (max - size) / (max - min) over the candidates; all equal gives 1.0.

    Source: gateway-api-inference-extension 2aaf2a6, scorer/queue.go.
    """

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        sizes = [e.metrics.waiting_queue_size for e in endpoints]
        low, high = min(sizes), max(sizes)
        if low == high:
            return [1.0] * len(sizes)
        spread = high - low
        return [(high - size) / spread for size in sizes]
