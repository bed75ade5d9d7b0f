"""``running-requests-size-scorer``: send the request where fewest requests are running."""

from __future__ import annotations

from collections.abc import Sequence

from epp.core.endpoint import Endpoint
from epp.core.plugin import NoParams, Scorer, Stability, plugin
from epp.core.request import InferenceRequest


@plugin("running-requests-size-scorer", params=NoParams, stability=Stability.BETA)
class RunningRequestsSizeScorer(Scorer):
    """Prefer the fewest running requests.

    score = (max - running) / (max - min) over the candidates; all equal gives 1.0.

    Source: llm-d-router v0.10, scheduling/scorer/runningrequests.
    """

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        running = [e.metrics.running_requests for e in endpoints]
        low, high = min(running), max(running)
        if low == high:
            return [1.0] * len(running)
        spread = high - low
        return [(high - number) / spread for number in running]
