from __future__ import annotations

from epp.core.data import IN_FLIGHT_LOAD, PREFIX_MATCH
from epp.own.worlds import World, endpoints, result, totals


def test_a_pool_has_as_many_different_endpoints_as_asked_for_and_is_always_the_same() -> None:
    pool = endpoints(1000, now=5.0)
    assert len({endpoint.id for endpoint in pool}) == 1000
    assert len({endpoint.address for endpoint in pool}) == 1000
    assert len({endpoint.metrics.waiting_queue_size for endpoint in pool}) > 10
    assert {endpoint.metrics.updated_at for endpoint in pool} == {5.0}
    assert [e.metrics for e in endpoints(1000, now=5.0)] == [e.metrics for e in pool]
    assert len(totals(pool)) == 1000
    assert result(pool, pool[1]).picked == (pool[1],)


def test_a_request_has_the_data_of_default_and_of_other_producers() -> None:
    pool = endpoints(3, now=0.0)
    other = PREFIX_MATCH.of("another")
    request = World(pool, [other]).request(1)
    match = request.data.get(PREFIX_MATCH)
    assert match is not None
    assert match is request.data.get(PREFIX_MATCH.of()) is request.data.get(other)
    assert set(match.matched_blocks) == {endpoint.id for endpoint in pool}
    assert request.data.get(IN_FLIGHT_LOAD) is not None
    assert World(pool).request(1).data.get(other) is None


def test_what_a_plugin_sets_is_gone_in_the_next_request() -> None:
    world = World(endpoints(1, now=0.0))
    match = world.request(1).data.get(PREFIX_MATCH)
    assert match is not None
    changed = world.request(1)
    changed.data.set(PREFIX_MATCH, type(match)(0, 64, {}))
    assert world.request(2).data.get(PREFIX_MATCH) is match
