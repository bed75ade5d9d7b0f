from __future__ import annotations

import pytest

from epp.core.data import IN_FLIGHT_LOAD, InFlightLoad
from epp.plugins.scorers.active_request import ActiveRequestScorer, ActiveRequestScorerParams
from tests.fakes import endpoints, make_handle, make_request

ENDPOINTS = endpoints(0, 0, 0)


@pytest.mark.parametrize(
    ("idle", "busy", "active", "scores"),
    [
        (0, 1.0, {}, [1.0, 1.0, 1.0]),
        (0, 1.0, {"default/b": 2, "default/c": 4}, [1.0, 0.5, 0.0]),
        (0, 0.5, {"default/b": 2, "default/c": 4}, [1.0, 0.25, 0.0]),
        (2, 0.5, {"default/b": 2, "default/c": 4}, [1.0, 1.0, 0.0]),
        (0, 0.0, {"default/a": 1, "default/b": 2, "default/c": 4}, [0.0, 0.0, 0.0]),
        (0, 1.0, {"default/a": 3, "default/b": 3, "default/c": 3}, [0.0, 0.0, 0.0]),
        (0, 1.0, {"default/b": -1, "default/z": 9}, [1.0, 1.0, 1.0]),
    ],
)
def test_idle_endpoints_come_first_and_then_those_with_least_to_do(
    idle: int, busy: float, active: dict[str, int], scores: list[float]
) -> None:
    params = ActiveRequestScorerParams(idle_threshold=idle, max_busy_score=busy)
    request = make_request()
    request.data.set(IN_FLIGHT_LOAD.of(), InFlightLoad(active, {}))
    assert ActiveRequestScorer(params, make_handle()).score(request, ENDPOINTS) == scores


def test_nobody_has_anything_to_do_where_nobody_counts() -> None:
    scorer = ActiveRequestScorer(ActiveRequestScorerParams(), make_handle())
    assert scorer.score(make_request(None), ENDPOINTS) == [1.0, 1.0, 1.0]


def test_who_counts_can_be_chosen() -> None:
    params = ActiveRequestScorerParams(in_flight_load_producer_name="mine")
    assert list(ActiveRequestScorer(params, make_handle()).consumes) == [IN_FLIGHT_LOAD.of("mine")]


def test_a_timeout_is_accepted_and_said_to_do_nothing() -> None:
    assert [key for key, _ in ActiveRequestScorerParams(request_timeout="2m").hints()] == [
        "requestTimeout"
    ]
    assert list(ActiveRequestScorerParams().hints()) == []
