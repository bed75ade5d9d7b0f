from __future__ import annotations

import pytest

from epp.core.data import IN_FLIGHT_LOAD, InFlightLoad
from epp.plugins.scorers.token_load import TokenLoadScorer, TokenLoadScorerParams
from tests.fakes import endpoints, make_handle, make_request

ENDPOINTS = endpoints(0, 0, 0)


@pytest.mark.parametrize(
    ("tokens", "added", "scores"),
    [
        ({}, None, [1.0, 1.0, 1.0]),
        ({"default/b": 25, "default/c": 100}, None, [1.0, 0.75, 0.0]),
        ({"default/b": 25, "default/c": 1000}, {"default/a": 50, "default/b": 50}, [0.5, 0.25, 0]),
        ({"default/a": -5}, {}, [1.0, 1.0, 1.0]),
    ],
)
def test_tokens_under_way_and_those_to_come_count(
    tokens: dict[str, int], added: dict[str, int] | None, scores: list[float]
) -> None:
    scorer = TokenLoadScorer(TokenLoadScorerParams(queue_threshold_tokens=100), make_handle())
    request = make_request()
    request.data.set(IN_FLIGHT_LOAD.of(), InFlightLoad({}, tokens, added))
    assert scorer.score(request, ENDPOINTS) == scores


def test_nobody_has_anything_to_do_where_nobody_counts() -> None:
    scorer = TokenLoadScorer(TokenLoadScorerParams(), make_handle())
    assert scorer.score(make_request(None), ENDPOINTS) == [1.0, 1.0, 1.0]


def test_who_counts_can_be_chosen() -> None:
    params = TokenLoadScorerParams(in_flight_load_producer_name="mine")
    assert list(TokenLoadScorer(params, make_handle()).consumes) == [IN_FLIGHT_LOAD.of("mine")]
