from __future__ import annotations

import pytest

from epp.core.data import MEDIA_MATCH, MediaMatch
from epp.plugins.scorers.mm_embeddings_cache import (
    MmEmbeddingsCacheScorer,
    MmEmbeddingsCacheScorerParams,
)
from tests.fakes import endpoints, make_handle, make_request


@pytest.mark.parametrize(
    ("match", "scores"),
    [
        (None, [0.0, 0.0]),
        (MediaMatch(0, {}), [0.0, 0.0]),
        (MediaMatch(1, {"default/a": 1}), [1.0, 0.0]),
        (MediaMatch(400, {"default/b": 100}), [0.0, 0.25]),
        (MediaMatch(400, {"default/a": 400, "default/z": 400}), [1.0, 0.0]),
    ],
)
def test_the_part_that_was_seen_counts(match: MediaMatch | None, scores: list[float]) -> None:
    params = MmEmbeddingsCacheScorerParams(producer_name="mine")
    scorer = MmEmbeddingsCacheScorer(params, make_handle())
    request = make_request(None)
    if match is not None:
        request.data.set(MEDIA_MATCH.of("mine"), match)
    assert scorer.score(request, endpoints(0, 0)) == scores
    assert list(scorer.consumes) == [MEDIA_MATCH.of("mine")]
