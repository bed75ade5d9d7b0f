from __future__ import annotations

import pytest

from epp.affinity.topology import LABELS, Level
from epp.core.data import PEER_ENDPOINT
from epp.core.endpoint import Endpoint
from epp.plugins.filters.topology_affinity import (
    TopologyAffinityFilter,
    TopologyAffinityFilterParams,
)
from tests.fakes import make_endpoint, make_handle, make_request


def at(*values: str) -> Endpoint:
    labels = dict(zip(LABELS.values(), values, strict=False))
    return make_endpoint("".join(values), labels=labels)


ENDPOINTS = [at("h", "r", "z", "g"), at("i", "r", "z", "g"), at("i", "s", "y", "g"), at()]


@pytest.mark.parametrize(
    ("level", "peer", "kept"),
    [
        (Level.HOST, at("h", "r", "z", "g"), ["hrzg"]),
        (Level.RACK, at("h", "r", "z", "g"), ["hrzg", "irzg"]),
        (Level.ZONE, at("h", "r", "z", "g"), ["hrzg", "irzg"]),
        (Level.REGION, at("h", "r", "z", "g"), ["hrzg", "irzg", "isyg"]),
        (Level.HOST, at("x", "r", "z", "g"), ["hrzg", "irzg", "isyg", ""]),
        (Level.HOST, at(), ["hrzg", "irzg", "isyg", ""]),
        (Level.HOST, None, ["hrzg", "irzg", "isyg", ""]),
    ],
)
def test_those_near_enough_are_kept_or_all(
    level: Level, peer: Endpoint | None, kept: list[str]
) -> None:
    plugin = TopologyAffinityFilter(TopologyAffinityFilterParams(level), make_handle())
    request = make_request(None)
    if peer is not None:
        request.data.set(PEER_ENDPOINT.of(), peer)
    assert [e.name for e in plugin.filter(request, ENDPOINTS)] == kept
    assert list(plugin.may_consume) == [PEER_ENDPOINT.of()]


def test_a_producer_is_accepted_and_said_to_do_nothing() -> None:
    params = TopologyAffinityFilterParams(topology_producer_name="mine")
    assert [key for key, _ in params.hints()] == ["topologyProducerName"]
    assert list(TopologyAffinityFilterParams().hints()) == []
