"""``no-hit-lru-scorer``: requests that nobody has cached go round the endpoints."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta

from epp.core.data import PREFIX_MATCH, DataKey
from epp.core.decision import SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.plugin import (
    EndpointListener,
    Handle,
    Params,
    PreRequest,
    Scorer,
    Stability,
    plugin,
)
from epp.core.request import InferenceRequest

NEUTRAL = 0.5
PREFILL = "prefill"


class NoHitLruScorerParams(Params, frozen=True):
    """How much is remembered, and who knows what is cached."""

    lru_size: Annotated[int, Meta(gt=0, description="Endpoints to remember.")] = 1024
    prefix_match_info_producer_name: Annotated[str, Meta(description="Who matches prompts.")] = ""
    prefix_plugin_type: Annotated[str, Meta(description="Accepted, without effect.")] = ""
    prefix_plugin_name: Annotated[str, Meta(description="Accepted, without effect.")] = ""

    def hints(self) -> Iterable[tuple[str, str]]:
        if self.prefix_plugin_type:
            yield "prefixPluginType", "has no effect: use prefixMatchInfoProducerName"
        if self.prefix_plugin_name:
            yield "prefixPluginName", "has no effect: use prefixMatchInfoProducerName"


@plugin("no-hit-lru-scorer", params=NoHitLruScorerParams, stability=Stability.BETA)
class NoHitLruScorer(Scorer, PreRequest, EndpointListener):
    """Prefer the endpoint that has not got a cold request for the longest time.

    A request is cold when no candidate has a block of its prompt; any other gets 0.5 everywhere.
    score = 1 - rank / (candidates - 1): first those that never got a cold request, as they come,
    then the others by how long ago it was. A lone candidate gets 1.0.

    Differs: the rank is among the candidates. In the router it is among all that are remembered,
    so where one scorer serves several profiles most candidates get 0.

    Source: llm-d-router v0.10, scheduling/scorer/nohitlru.
    """

    def __init__(self, params: NoHitLruScorerParams, handle: Handle) -> None:
        self._size = params.lru_size
        self._match = PREFIX_MATCH.of(params.prefix_match_info_producer_name)
        self._is_cold: DataKey[bool] = DataKey("no-hit-lru-scorer")
        # When, counted in cold requests; the longest ago is first.
        self._used: OrderedDict[str, int] = OrderedDict()
        self._count = 0

    @property
    def consumes(self) -> Sequence[DataKey[Any]]:
        return (self._match,)

    def describe(self) -> Mapping[str, object]:
        return {"remembered": len(self._used)}

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        match = request.data.get(self._match)
        matched = match.matched_blocks if match else {}
        is_cold = not (matched and any(matched.get(e.id) for e in endpoints))
        request.data.set(self._is_cold, is_cold)
        number = len(endpoints)
        if not is_cold:
            return [NEUTRAL] * number
        if number == 1:
            return [1.0]
        used, last = self._used, number - 1
        # Never used is before 0; sorting keeps the order of equals.
        ages = [used.get(e.id, -1) for e in endpoints]
        scores = [0.0] * number
        for rank, i in enumerate(sorted(range(number), key=ages.__getitem__)):
            scores[i] = 1.0 - rank / last
        return scores

    def pre_request(self, request: InferenceRequest, result: SchedulingResult) -> None:
        if not request.data.get(self._is_cold):
            return
        for profile in (result.primary, PREFILL):
            run = result.profiles.get(profile)
            if run and run.picked:
                self._note(run.picked[0].id)

    def _note(self, endpoint_id: str) -> None:
        self._used[endpoint_id] = self._count
        self._used.move_to_end(endpoint_id)
        self._count += 1
        if len(self._used) > self._size:
            self._used.popitem(last=False)

    def endpoint_removed(self, endpoint_id: str) -> None:
        self._used.pop(endpoint_id, None)
