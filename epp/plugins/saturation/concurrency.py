"""``concurrency-detector``: how much of the endpoints' capacity this picker has under way."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta

from epp.core.data import IN_FLIGHT_LOAD, CycleData, DataKey, InFlightLoad
from epp.core.endpoint import Endpoint
from epp.core.plugin import Filter, Handle, Params, SaturationDetector, Stability, plugin
from epp.core.request import InferenceRequest

NOTHING = InFlightLoad({}, {})
MOST = 2**63


class ConcurrencyMode(StrEnum):
    """What is counted."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    HYBRID = "hybrid"


class ConcurrencyDetectorParams(Params, frozen=True):
    """What an endpoint can have under way, and what of it counts."""

    concurrency_mode: Annotated[ConcurrencyMode, Meta(description="What is counted.")] = (
        ConcurrencyMode.REQUESTS
    )
    max_concurrency: Annotated[int, Meta(gt=0, description="Requests per endpoint.")] = 100
    max_token_concurrency: Annotated[int, Meta(gt=0, description="Tokens per endpoint.")] = (
        1_000_000
    )
    headroom: Annotated[float, Meta(ge=0, description="What the filter adds to both.")] = 0.0
    in_flight_load_producer_name: Annotated[str, Meta(description="Who counts.")] = ""


@plugin("concurrency-detector", params=ConcurrencyDetectorParams, stability=Stability.BETA)
class ConcurrencyDetector(SaturationDetector, Filter):
    """Measure how full the pool is; in a profile, keep the endpoints that are not full.

    requests, tokens: saturation = sum of what is under way / sum of the capacities;
    hybrid: saturation = mean over the endpoints of max(requests / limit, tokens / limit).
    The filter keeps endpoints below int(limit x (1 + headroom)), in hybrid below both, and nobody
    when nobody is. An endpoint that nobody counted has nothing under way.

    Source: llm-d-router v0.10, concurrency-detector.
    """

    def __init__(self, params: ConcurrencyDetectorParams, handle: Handle) -> None:
        mode = params.concurrency_mode
        self._max_requests = params.max_concurrency
        self._max_tokens = params.max_token_concurrency
        self._counts_requests = mode is not ConcurrencyMode.TOKENS
        self._counts_tokens = mode is not ConcurrencyMode.REQUESTS
        self._request_limit = _limit(params.max_concurrency, params.headroom)
        self._token_limit = _limit(params.max_token_concurrency, params.headroom)
        self._key = IN_FLIGHT_LOAD.of(params.in_flight_load_producer_name)
        self._probe = handle.probe

    @property
    def consumes(self) -> Sequence[DataKey[Any]]:
        return (self._key,)

    def saturation(self, endpoints: Sequence[Endpoint], data: CycleData) -> float:
        load = data.get(self._key) or NOTHING
        saturation = (
            sum([self._fullness(load, e.id) for e in endpoints]) / len(endpoints)
            if endpoints
            else 1.0
        )
        self._probe.saturation_measured(self.name, saturation, 0)
        return saturation

    def _fullness(self, load: InFlightLoad, endpoint_id: str) -> float:
        """Of one endpoint; all have the same capacity, so the mean is what sums would give."""
        requests = load.requests.get(endpoint_id, 0) / self._max_requests
        tokens = load.tokens.get(endpoint_id, 0) / self._max_tokens
        if not self._counts_tokens:
            return requests
        return max(requests, tokens) if self._counts_requests else tokens

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        load = request.data.get(self._key) or NOTHING
        kept = endpoints
        if self._counts_requests:
            kept = [e for e in kept if load.requests.get(e.id, 0) < self._request_limit]
        if self._counts_tokens:
            kept = [e for e in kept if load.tokens.get(e.id, 0) < self._token_limit]
        return kept


def _limit(capacity: int, headroom: float) -> int:
    # A product that is infinite is no integer; nobody counts that far.
    return int(min(capacity * (1.0 + headroom), MOST))
