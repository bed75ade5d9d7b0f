from __future__ import annotations

import pytest

from epp.affinity.session import SessionAffinityParams, Strategy
from epp.core.decision import SchedulingResult
from epp.plugins.scorers.session_affinity import SessionAffinityScorer
from tests.fakes import endpoints, make_handle, make_request, make_run

ENDPOINTS = endpoints(0, 0, 0)


@pytest.mark.parametrize(
    ("token", "scores"),
    [
        (b"ZGVmYXVsdC9i", [0.0, 1.0, 0.0]),
        (b"ZGVmYXVsdC96", [0.0, 0.0, 0.0]),
        (b"no token", [0.0, 0.0, 0.0]),
    ],
)
def test_the_endpoint_of_the_token_gets_all(token: bytes, scores: list[float]) -> None:
    scorer = SessionAffinityScorer(SessionAffinityParams(), make_handle())
    request = make_request(headers={"x-session-token": token})
    assert scorer.score(request, ENDPOINTS) == scores


def test_the_endpoint_of_the_named_session_gets_all() -> None:
    params = SessionAffinityParams(strategy=Strategy.SESSION_ID)
    scorer = SessionAffinityScorer(params, make_handle())
    request = make_request(headers={"x-session-id": b"s"})
    assert scorer.score(request, ENDPOINTS) == [0.0, 0.0, 0.0]
    run = make_run(*ENDPOINTS, picked=ENDPOINTS[2:])
    scorer.pre_request(request, SchedulingResult("p", {"p": run}))
    assert scorer.score(request, ENDPOINTS) == [0.0, 0.0, 1.0]
