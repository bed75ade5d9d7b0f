from __future__ import annotations

from epp.affinity.topology import LABELS
from epp.core.data import PEER_ENDPOINT
from epp.core.endpoint import Endpoint
from epp.plugins.scorers.topology_affinity import (
    TopologyAffinityScorer,
    TopologyAffinityScorerParams,
)
from tests.fakes import make_endpoint, make_handle, make_request


def at(*values: str) -> Endpoint:
    return make_endpoint("e", labels=dict(zip(LABELS.values(), values, strict=False)))


ENDPOINTS = [
    at("h", "r", "z", "g"),
    at("i", "r", "z", "g"),
    at("i", "s", "z", "g"),
    at("i", "s", "y", "g"),
    at("i", "s", "y", "f"),
    at(),
]


def test_nearer_is_better_and_one_host_is_far_better() -> None:
    scorer = TopologyAffinityScorer(TopologyAffinityScorerParams(), make_handle())
    request = make_request()
    request.data.set(PEER_ENDPOINT.of(), at("h", "r", "z", "g"))
    assert scorer.score(request, ENDPOINTS) == [1.0, 0.2, 0.05, 0.02, 0.0, 0.0]


def test_without_a_peer_or_its_place_nobody_is_preferred() -> None:
    scorer = TopologyAffinityScorer(TopologyAffinityScorerParams(), make_handle())
    request = make_request(None)
    assert scorer.score(request, ENDPOINTS) == [0.0] * 6
    request.data.set(PEER_ENDPOINT.of(), at())
    assert scorer.score(request, ENDPOINTS) == [0.0] * 6


def test_nobody_has_to_make_a_peer() -> None:
    scorer = TopologyAffinityScorer(TopologyAffinityScorerParams(), make_handle())
    assert list(scorer.consumes) == []
    assert list(scorer.may_consume) == [PEER_ENDPOINT.of()]


def test_a_producer_is_accepted_and_said_to_do_nothing() -> None:
    params = TopologyAffinityScorerParams(topology_producer_name="mine")
    assert [key for key, _ in params.hints()] == ["topologyProducerName"]
    assert list(TopologyAffinityScorerParams().hints()) == []
