from __future__ import annotations

import pytest

from epp.plugins.scorers.queue import QueueScorer
from tests.fakes import endpoints, make_request


@pytest.mark.parametrize(
    ("sizes", "scores"),
    [
        ([2, 6, 10], [1.0, 0.5, 0.0]),
        ([10, 2], [0.0, 1.0]),
        ([5, 5, 5], [1.0, 1.0, 1.0]),
        ([0], [1.0]),
        ([0, 0, 4, 1], [1.0, 1.0, 0.0, 0.75]),
    ],
)
def test_the_shortest_queue_scores_best(sizes: list[int], scores: list[float]) -> None:
    assert QueueScorer().score(make_request(), endpoints(*sizes)) == scores
