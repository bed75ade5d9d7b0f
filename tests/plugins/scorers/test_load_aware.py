from __future__ import annotations

import pytest

from epp.plugins.scorers.load_aware import LoadAwareScorer, LoadAwareScorerParams
from tests.fakes import endpoints, make_handle, make_request


@pytest.mark.parametrize(
    ("threshold", "sizes", "scores"),
    [
        (128, [0, 64, 128, 1000], [0.5, 0.25, 0.0, 0.0]),
        (4, [1, 2, 3], [0.375, 0.25, 0.125]),
        (1, [0, 1], [0.5, 0.0]),
    ],
)
def test_a_queue_counts_by_its_own_length(
    threshold: int, sizes: list[int], scores: list[float]
) -> None:
    scorer = LoadAwareScorer(LoadAwareScorerParams(threshold=threshold), make_handle())
    assert scorer.score(make_request(), endpoints(*sizes)) == scores
