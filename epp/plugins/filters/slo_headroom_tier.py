"""``slo-headroom-tier-filter``: keep the endpoints that are predicted to be fast enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from epp.core.data import LATENCY_PREDICTIONS, DataKey
from epp.core.endpoint import Endpoint
from epp.core.plugin import Filter, Handle, Params, Stability, plugin
from epp.core.request import InferenceRequest


class SloHeadroomTierFilterParams(Params, frozen=True):
    """How often the slower ones are tried, and whose predictions count."""

    epsilon_explore_neg: Annotated[
        float, Meta(ge=0, le=1, description="How often the slower ones are kept instead.")
    ] = 0.01
    latency_prediction_info_producer_name: Annotated[str, Meta(description="Who predicts.")] = ""


@plugin("slo-headroom-tier-filter", params=SloHeadroomTierFilterParams, stability=Stability.BETA)
class SloHeadroomTierFilter(Filter):
    """Keep the endpoints whose predicted times are within the request's objectives.

    The others, those without a prediction among them, are kept where nobody is, and now and then in
    their place, or nothing would be learnt about them. Without any prediction all are kept.

    Source: llm-d-router v0.10, scheduling/filter/sloheadroomtier.
    """

    def __init__(self, params: SloHeadroomTierFilterParams, handle: Handle) -> None:
        self._epsilon = params.epsilon_explore_neg
        self._random = handle.random
        self._key = LATENCY_PREDICTIONS.of(params.latency_prediction_info_producer_name)

    @property
    def may_consume(self) -> Sequence[DataKey[Any]]:
        return (self._key,)

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        predictions = request.data.get(self._key)
        if not predictions or len(endpoints) <= 1:
            return endpoints
        positive: list[Endpoint] = []
        negative: list[Endpoint] = []
        for endpoint in endpoints:
            prediction = predictions.get(endpoint.id)
            is_within = prediction is not None and prediction.is_within_objectives
            (positive if is_within else negative).append(endpoint)
        if not positive or not negative:
            return endpoints
        return negative if self._random.random() < self._epsilon else positive
