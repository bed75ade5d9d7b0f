from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.data import PREFIX_MATCH, PrefixMatch
from epp.plugins.scorers.prefix_cache import PrefixCacheParams, PrefixCacheScorer
from tests.fakes import endpoints, make_handle, make_request


def scores(matched: Mapping[str, int], total: int, *, size: int = 64, **params: Any) -> list[float]:
    scorer = PrefixCacheScorer(PrefixCacheParams(**params), make_handle())
    request = make_request()
    key = PREFIX_MATCH.of(params.get("prefix_match_info_producer_name", ""))
    request.data.set(key, PrefixMatch(total, size, matched))
    return list(scorer.score(request, endpoints(0, 0)))


@pytest.mark.parametrize(
    ("matched", "total", "params", "expected"),
    [
        ({"default/a": 3}, 4, {}, [0.75, 0.0]),
        ({"default/a": 3, "default/b": 4, "default/gone": 4}, 4, {}, [0.75, 1.0]),
        ({}, 4, {}, [0.0, 0.0]),
        ({"default/a": 1}, 1, {}, [1.0, 0.0]),
        ({}, 0, {}, [0.0, 0.0]),
        # blocks of 16 tokens: 8 blocks are 128 tokens, a quarter of 512
        ({"default/a": 8}, 16, {"match_length_weight": 1.0}, [1 / 16, 0.0]),
        ({"default/a": 8}, 16, {"match_length_weight": 0.5}, [0.25 + 1 / 32, 0.0]),
        ({"default/a": 32}, 64, {"match_length_weight": 1.0}, [1.0, 0.0]),
        ({"default/a": 64}, 64, {"match_length_weight": 1.0}, [1.0, 0.0]),
        ({"default/a": 4}, 4, {"prefix_match_info_producer_name": "mine"}, [1.0, 0.0]),
    ],
)
def test_the_score_is_the_share_of_blocks_seen_and_if_wanted_the_length_of_the_match(
    matched: Mapping[str, int], total: int, params: dict[str, Any], expected: list[float]
) -> None:
    params = {"match_length_scale_tokens": 512} | params
    assert scores(matched, total, **params) == pytest.approx(expected)


def test_without_a_match_nobody_is_preferred() -> None:
    scorer = PrefixCacheScorer(PrefixCacheParams(), make_handle())
    assert scorer.score(make_request(), endpoints(0, 0)) == [0.0, 0.0]


def test_a_match_of_another_producer_does_not_count() -> None:
    scorer = PrefixCacheScorer(
        PrefixCacheParams(prefix_match_info_producer_name="mine"), make_handle()
    )
    request = make_request()
    request.data.set(PREFIX_MATCH.of(), PrefixMatch(1, 64, {"default/a": 1}))
    assert scorer.score(request, endpoints(0)) == [0.0]


@pytest.mark.parametrize(
    ("name", "key"),
    [("", PREFIX_MATCH.of("approx-prefix-cache-producer")), ("mine", PREFIX_MATCH.of("mine"))],
)
def test_it_needs_the_producer_that_it_names(name: str, key: object) -> None:
    params = PrefixCacheParams(prefix_match_info_producer_name=name)
    assert PrefixCacheScorer(params, make_handle()).consumes == [key]


@pytest.mark.parametrize(("weight", "scale", "problems"), [(0.0, 0, 0), (0.1, 0, 1), (0.1, 1, 0)])
def test_a_length_needs_a_scale(weight: float, scale: int, problems: int) -> None:
    params = PrefixCacheParams(match_length_weight=weight, match_length_scale_tokens=scale)
    assert len(list(params.problems())) == problems


@given(
    st.integers(0, 100),
    st.integers(1, 100),
    st.floats(0, 1),
    st.integers(1, 10_000),
    st.integers(0, 1024),
)
def test_scores_stay_within_0_and_1(
    matched: int, total: int, weight: float, scale: int, size: int
) -> None:
    found = scores(
        {"default/a": min(matched, total)},
        total,
        size=size,
        match_length_weight=weight,
        match_length_scale_tokens=scale,
    )
    assert all(0.0 <= score <= 1.0 for score in found)
