"""``topology-affinity-filter``: keep both halves of a request in one host, rack, zone or region."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from msgspec import Meta

from epp.affinity.topology import WITHOUT_EFFECT, Level, Place
from epp.core.data import PEER_ENDPOINT, DataKey
from epp.core.endpoint import Endpoint
from epp.core.plugin import Filter, Handle, Params, Stability, plugin
from epp.core.request import InferenceRequest


class TopologyAffinityFilterParams(Params, frozen=True):
    """How near they must be."""

    min_affinity: Annotated[Level, Meta(description="What they must share at least.")] = Level.HOST
    topology_producer_name: Annotated[str, Meta(description="Accepted, without effect.")] = ""

    def hints(self) -> Iterable[tuple[str, str]]:
        if self.topology_producer_name:
            yield "topologyProducerName", WITHOUT_EFFECT


@plugin("topology-affinity-filter", params=TopologyAffinityFilterParams, stability=Stability.ALPHA)
class TopologyAffinityFilter(Filter):
    """Keep the endpoints near the one that does the other half of a disaggregated request.

    Everybody, where there is no such endpoint or nobody is near it.

    Source: llm-d-router v0.10, scheduling/filter/topologyaffinity/filter.go.
    """

    def __init__(self, params: TopologyAffinityFilterParams, handle: Handle) -> None:
        self._farthest = params.min_affinity
        self._key = PEER_ENDPOINT.of()

    @property
    def may_consume(self) -> Sequence[DataKey[Any]]:
        return (self._key,)

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        peer = request.data.get(self._key)
        if peer is None:
            return endpoints
        place = Place(peer.labels, self._farthest)
        return [e for e in endpoints if place.shared_with(e.labels)] or endpoints
