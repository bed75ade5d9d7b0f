"""``active-request-scorer``: send the request where this picker has fewest requests under way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from msgspec import Meta

from epp.core.data import IN_FLIGHT_LOAD, DataKey
from epp.core.endpoint import Endpoint
from epp.core.plugin import Handle, Params, Scorer, Stability, plugin
from epp.core.request import InferenceRequest


class ActiveRequestScorerParams(Params, frozen=True):
    """Who counts as idle, and how far behind them the others are."""

    idle_threshold: Annotated[int, Meta(ge=0, description="Requests of an idle endpoint.")] = 0
    max_busy_score: Annotated[
        float, Meta(ge=0, le=1, description="What no busy endpoint is above.")
    ] = 1.0
    in_flight_load_producer_name: Annotated[str, Meta(description="Who counts.")] = ""
    request_timeout: Annotated[str, Meta(description="Accepted, without effect.")] = ""

    def hints(self) -> Iterable[tuple[str, str]]:
        if self.request_timeout:
            yield "requestTimeout", "has no effect: the producer counts requests until they end"


@plugin("active-request-scorer", params=ActiveRequestScorerParams, stability=Stability.BETA)
class ActiveRequestScorer(Scorer):
    """Prefer the fewest requests that were sent and have not ended.

    score = 1.0 where they are at most ``idleThreshold``, otherwise
    (max - requests) / max x ``maxBusyScore`` over the candidates.

    Source: llm-d-router v0.10, scheduling/scorer/activerequest.
    """

    def __init__(self, params: ActiveRequestScorerParams, handle: Handle) -> None:
        self._idle = params.idle_threshold
        self._busy = params.max_busy_score
        self._key = IN_FLIGHT_LOAD.of(params.in_flight_load_producer_name)

    @property
    def consumes(self) -> Sequence[DataKey[Any]]:
        return (self._key,)

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        load = request.data.get(self._key)
        if load is None:
            return [1.0] * len(endpoints)
        active = [load.requests.get(e.id, 0) for e in endpoints]
        idle, busy, high = self._idle, self._busy, max(active)
        return [1.0 if n <= idle else (high - n) / high * busy for n in active]
