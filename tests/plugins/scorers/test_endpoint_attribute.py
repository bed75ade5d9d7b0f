from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.plugins.scorers.endpoint_attribute import (
    EndpointAttributeScorer,
    EndpointAttributeScorerParams,
)
from tests.fakes import make_endpoint, make_handle, make_request

LOWER, HIGHER = "linear_lower_is_better", "linear_higher_is_better"


def params(
    direction: str = LOWER, normalization: dict[str, Any] | None = None, **fields: Any
) -> EndpointAttributeScorerParams:
    algorithm = {"type": direction, "normalization": normalization or {}}
    fields = {"attributeKey": "depth", "algorithm": algorithm, **fields}
    return msgspec.convert(fields, EndpointAttributeScorerParams)


def scores(chosen: EndpointAttributeScorerParams, *values: float | None) -> list[float]:
    assert list(chosen.problems()) == []
    endpoints = [
        make_endpoint(
            "e", attributes={} if value is None else {"depth/core-metrics-extractor": value}
        )
        for value in values
    ]
    return list(EndpointAttributeScorer(chosen, make_handle()).score(make_request(), endpoints))


FIXED = {"fixedRange": {"min": 0, "max": 10}}


@pytest.mark.parametrize(
    ("chosen", "values", "expected"),
    [
        (params(), [2, 6, 10], [1.0, 0.5, 0.0]),
        (params(HIGHER), [2, 6, 10], [0.0, 0.5, 1.0]),
        (params(HIGHER, {"adaptiveRange": {}}), [2, 6, 10], [0.0, 0.5, 1.0]),
        (params(), [2, None, 10], [1.0, 0.0, 0.0]),
        (params(), [3, None, 3], [1.0, 0.0, 1.0]),
        (params(), [None, None], [0.0, 0.0]),
        (params(LOWER, FIXED), [-5, 0, 2.5, 10, 99, None], [1.0, 1.0, 0.75, 0.0, 0.0, 0.0]),
        (params(HIGHER, FIXED), [-5, 0, 2.5, 10, 99, None], [0.0, 0.0, 0.25, 1.0, 1.0, 0.0]),
        (params(LOWER, FIXED), [5, 5], [0.5, 0.5]),
    ],
)
def test_a_value_counts_by_its_place_in_the_range(
    chosen: EndpointAttributeScorerParams, values: list[float | None], expected: list[float]
) -> None:
    assert scores(chosen, *values) == expected


def test_the_usual_metrics_are_attributes() -> None:
    scorer = EndpointAttributeScorer(params(attributeKey="KVCacheUsagePercent"), make_handle())
    endpoints = [make_endpoint("e", kv_cache_ratio=ratio) for ratio in (0.25, 0.75)]
    assert scorer.score(make_request(), endpoints) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("chosen", "places"),
    [
        (params(attributeKey=""), ["attributeKey"]),
        (params(attributeKey="a/b"), ["attributeKey"]),
        (params(attributeKey="a/b", producer=""), []),
        (params(LOWER, {**FIXED, "adaptiveRange": {}}), ["algorithm.normalization"]),
        (
            params(LOWER, {"fixedRange": {"min": 1, "max": 1}}),
            ["algorithm.normalization.fixedRange"],
        ),
    ],
)
def test_what_cannot_be_meant_is_told_by_its_place(
    chosen: EndpointAttributeScorerParams, places: list[str]
) -> None:
    assert [place for place, _ in chosen.problems()] == places


@given(
    st.sampled_from([params(), params(HIGHER), params(LOWER, FIXED), params(HIGHER, FIXED)]),
    st.lists(st.none() | st.floats(), min_size=1, max_size=5),
)
def test_any_numbers_give_scores(
    chosen: EndpointAttributeScorerParams, values: list[float | None]
) -> None:
    assert all(0.0 <= score <= 1.0 for score in scores(chosen, *values))
