"""``prefix-cache-affinity-filter``: stay where the prompt is cached, unless that takes too long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from math import inf
from typing import Annotated, Any

from msgspec import Meta, field

from epp.core.data import IN_FLIGHT_LOAD, LATENCY_PREDICTIONS, PREFIX_MATCH, CycleData, DataKey
from epp.core.endpoint import Endpoint
from epp.core.plugin import Filter, Handle, Params, Stability, plugin
from epp.core.request import InferenceRequest


class TtftSource(StrEnum):
    """How the time to the first token is estimated."""

    PREFILL_THROUGHPUT = "prefillThroughput"
    LATENCY_PREDICTOR = "latencyPredictor"


class PrefixCacheAffinityFilterParams(Params, frozen=True):
    """When to stay, and what it may cost."""

    affinity_threshold: Annotated[
        float, Meta(le=1, description="Part of the prompt; 0 or less: the filter does nothing.")
    ] = 0.8
    exploration_probability: Annotated[
        float, Meta(ge=0, le=1, description="How often all are kept.")
    ] = 0.0
    max_ttft_penalty_ms: Annotated[
        float, Meta(description="How much longer staying may take; 0 or less: any time.")
    ] = field(default=18000.0, name="maxTTFTPenaltyMs")
    ttft_source: Annotated[TtftSource, Meta(description="How times are estimated.")] = (
        TtftSource.PREFILL_THROUGHPUT
    )
    peak_prefill_throughput: Annotated[
        float, Meta(gt=0, description="Tokens per second and endpoint.")
    ] = 15928.0
    prefix_match_info_producer_name: Annotated[str, Meta(description="Who matches.")] = ""
    in_flight_load_producer_name: Annotated[str, Meta(description="Who counts tokens.")] = ""
    latency_prediction_info_producer_name: Annotated[str, Meta(description="Who predicts.")] = ""


@plugin(
    "prefix-cache-affinity-filter",
    params=PrefixCacheAffinityFilterParams,
    stability=Stability.BETA,
)
class PrefixCacheAffinityFilter(Filter):
    """Keep the endpoints that have seen at least this part of the prompt.

    All are kept where nobody has, at random now and then, and where the best of those that have
    would need longer for the first token than the best of the others by more than the penalty.
    Time to the first token is tokens under way / throughput, or what is predicted; an endpoint
    without a prediction takes for ever.

    Source: llm-d-router v0.10, scheduling/filter/prefixcacheaffinity.
    """

    def __init__(self, params: PrefixCacheAffinityFilterParams, handle: Handle) -> None:
        self._threshold = params.affinity_threshold
        self._exploration = params.exploration_probability
        self._penalty_ms = params.max_ttft_penalty_ms
        self._ms_per_token = 1000.0 / params.peak_prefill_throughput
        self._random = handle.random
        self._match = PREFIX_MATCH.of(params.prefix_match_info_producer_name)
        self._load = IN_FLIGHT_LOAD.of(params.in_flight_load_producer_name)
        self._predictions = LATENCY_PREDICTIONS.of(params.latency_prediction_info_producer_name)
        self._predicts = params.ttft_source is TtftSource.LATENCY_PREDICTOR

    @property
    def consumes(self) -> Sequence[DataKey[Any]]:
        if self._threshold <= 0:
            return ()
        if self._penalty_ms <= 0 or self._predicts:
            return (self._match,)
        return (self._match, self._load)

    @property
    def may_consume(self) -> Sequence[DataKey[Any]]:
        is_read = self._predicts and self._threshold > 0 and self._penalty_ms > 0
        return (self._predictions,) if is_read else ()

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        if len(endpoints) <= 1 or self._threshold <= 0:
            return endpoints
        if self._exploration > 0 and self._random.random() < self._exploration:
            return endpoints
        match = request.data.get(self._match)
        if match is None or match.total_blocks <= 0:
            return endpoints
        sticky: list[Endpoint] = []
        others: list[Endpoint] = []
        for endpoint in endpoints:
            ratio = match.matched_blocks.get(endpoint.id, 0) / match.total_blocks
            (sticky if ratio >= self._threshold else others).append(endpoint)
        if not sticky or (others and self._costs_too_much(request.data, sticky, others)):
            return endpoints
        return sticky

    def _costs_too_much(
        self, data: CycleData, sticky: Sequence[Endpoint], others: Sequence[Endpoint]
    ) -> bool:
        if self._penalty_ms <= 0:
            return False
        ttft_ms = self._predicted(data) if self._predicts else self._estimated(data)
        best, best_other = min(map(ttft_ms, sticky)), min(map(ttft_ms, others))
        return best - best_other > self._penalty_ms  # false where both are infinite

    def _predicted(self, data: CycleData) -> Callable[[Endpoint], float]:
        predictions = data.get(self._predictions) or {}
        return lambda e: predictions[e.id].ttft_ms if e.id in predictions else inf

    def _estimated(self, data: CycleData) -> Callable[[Endpoint], float]:
        load = data.get(self._load)
        tokens = load.tokens if load else {}
        return lambda e: tokens.get(e.id, 0) * self._ms_per_token
