from __future__ import annotations

import pytest

from epp.plugins.scorers.running_requests_size import RunningRequestsSizeScorer
from tests.fakes import make_endpoint, make_request


@pytest.mark.parametrize(
    ("running", "scores"),
    [
        ([2, 6, 10], [1.0, 0.5, 0.0]),
        ([5, 5], [1.0, 1.0]),
        ([0], [1.0]),
        ([0, 4, 1], [1.0, 0.0, 0.75]),
    ],
)
def test_the_fewest_running_requests_score_best(running: list[int], scores: list[float]) -> None:
    endpoints = [make_endpoint("e", running_requests=number) for number in running]
    assert RunningRequestsSizeScorer().score(make_request(), endpoints) == scores
