"""``token-load-scorer``: send the request where this picker has fewest tokens under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta

from epp.core.data import IN_FLIGHT_LOAD, DataKey
from epp.core.endpoint import Endpoint
from epp.core.plugin import Handle, Params, Scorer, Stability, plugin
from epp.core.request import InferenceRequest

NONE: Mapping[str, int] = {}


class TokenLoadScorerParams(Params, frozen=True):
    """The end of the scale."""

    queue_threshold_tokens: Annotated[int, Meta(gt=0, description="Tokens that give 0.")] = 4194304
    in_flight_load_producer_name: Annotated[str, Meta(description="Who counts.")] = ""


@plugin("token-load-scorer", params=TokenLoadScorerParams, stability=Stability.BETA)
class TokenLoadScorer(Scorer):
    """Prefer the fewest tokens: those under way, and those of the request that are not cached.

    score = 1 - min(tokens, threshold) / threshold.

    Source: llm-d-router v0.10, scheduling/scorer/tokenload.
    """

    def __init__(self, params: TokenLoadScorerParams, handle: Handle) -> None:
        self._threshold = params.queue_threshold_tokens
        self._key = IN_FLIGHT_LOAD.of(params.in_flight_load_producer_name)

    @property
    def consumes(self) -> Sequence[DataKey[Any]]:
        return (self._key,)

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        load = request.data.get(self._key)
        if load is None:
            return [1.0] * len(endpoints)
        under_way, added, end = load.tokens, load.uncached_tokens or NONE, self._threshold
        tokens = [under_way.get(e.id, 0) + added.get(e.id, 0) for e in endpoints]
        return [1.0 if n <= 0 else 1.0 - n / end if n < end else 0.0 for n in tokens]
