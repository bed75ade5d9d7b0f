"""``topology-affinity-scorer``: send both halves of a request to places near each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta

from epp.affinity.topology import WITHOUT_EFFECT, Level, Place
from epp.core.data import PEER_ENDPOINT, DataKey
from epp.core.endpoint import Endpoint
from epp.core.plugin import Handle, Params, Scorer, Stability, plugin
from epp.core.request import InferenceRequest

# About as the bandwidths between caches: one host is worth far more than anything else.
SCORES: Mapping[Level | None, float] = {
    Level.HOST: 1.0,
    Level.RACK: 0.2,
    Level.ZONE: 0.05,
    Level.REGION: 0.02,
    None: 0.0,
}


class TopologyAffinityScorerParams(Params, frozen=True):
    """Whose word counts."""

    topology_producer_name: Annotated[str, Meta(description="Accepted, without effect.")] = ""

    def hints(self) -> Iterable[tuple[str, str]]:
        if self.topology_producer_name:
            yield "topologyProducerName", WITHOUT_EFFECT


@plugin("topology-affinity-scorer", params=TopologyAffinityScorerParams, stability=Stability.ALPHA)
class TopologyAffinityScorer(Scorer):
    """Prefer endpoints near the one that does the other half of a disaggregated request.

    Same host 1.0, rack 0.2, zone 0.05, region 0.02, otherwise 0.0; 0.0 everywhere without such an
    endpoint.

    Source: llm-d-router v0.10, scheduling/scorer/topologyaffinity.
    """

    def __init__(self, params: TopologyAffinityScorerParams, handle: Handle) -> None:
        self._key = PEER_ENDPOINT.of()

    @property
    def may_consume(self) -> Sequence[DataKey[Any]]:
        return (self._key,)

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        peer = request.data.get(self._key)
        if peer is None:
            return [0.0] * len(endpoints)
        level = Place(peer.labels).shared_with
        return [SCORES[level(e.labels)] for e in endpoints]
