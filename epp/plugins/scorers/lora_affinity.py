"""``lora-affinity-scorer``: send the request where its LoRA adapter is loaded, or can be."""

from __future__ import annotations

from collections.abc import Sequence

from epp.core.endpoint import Endpoint, EndpointMetrics
from epp.core.plugin import NoParams, Scorer, Stability, plugin
from epp.core.request import InferenceRequest

ACTIVE = 1.0
ROOM_FOR_ONE_MORE = 0.8
WAITING = 0.6


@plugin("lora-affinity-scorer", params=NoParams, stability=Stability.BETA)
class LoraAffinityScorer(Scorer):
    """Prefer endpoints that run the target model's adapter.

    Adapter active 1.0; a free adapter slot 0.8; adapter waiting 0.6; otherwise 0.0, which is also
    what endpoints without LoRA metrics get.

    Source: gateway-api-inference-extension 2aaf2a6, scorer/lora_affinity.go.
    """

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        model = request.target_model
        return [_affinity(model, e.metrics) for e in endpoints]


def _affinity(model: str, metrics: EndpointMetrics) -> float:
    if model in metrics.active_models:
        return ACTIVE
    if len(metrics.active_models) + len(metrics.waiting_models) < metrics.max_active_models:
        return ROOM_FOR_ONE_MORE
    return WAITING if model in metrics.waiting_models else 0.0
