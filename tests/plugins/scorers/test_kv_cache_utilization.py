from __future__ import annotations

import pytest

from epp.plugins.scorers.kv_cache_utilization import KvCacheUtilizationScorer
from tests.fakes import make_endpoint, make_request


@pytest.mark.parametrize(("used", "score"), [(0.0, 1.0), (0.25, 0.75), (1.0, 0.0)])
def test_the_score_is_the_free_part_of_the_cache(used: float, score: float) -> None:
    endpoint = make_endpoint("a", kv_cache_ratio=used)
    assert KvCacheUtilizationScorer().score(make_request(), [endpoint]) == [score]
