from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from epp.core.data import (
    IN_FLIGHT_LOAD,
    LATENCY_PREDICTIONS,
    PREFIX_MATCH,
    CycleData,
    DataKey,
    InFlightLoad,
    LatencyPrediction,
    PrefixMatch,
)
from epp.plugins.filters.prefix_cache_affinity import (
    PrefixCacheAffinityFilter,
    PrefixCacheAffinityFilterParams,
)
from tests.fakes import endpoints, make_handle, make_request

ALL = ["a", "b", "c"]


def make_filter(**fields: Any) -> PrefixCacheAffinityFilter:
    params = msgspec.convert(fields, PrefixCacheAffinityFilterParams)
    return PrefixCacheAffinityFilter(params, make_handle())


def by_id(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"default/{name}": value for name, value in values.items()}


def matches(total: int = 10, **blocks: int) -> dict[DataKey[Any], object]:
    return {PREFIX_MATCH.of(): PrefixMatch(total, 64, by_id(blocks))}


def tokens(**counts: int) -> dict[DataKey[Any], object]:
    return {IN_FLIGHT_LOAD.of(): InFlightLoad({}, by_id(counts))}


def ttfts(**milliseconds: float) -> dict[DataKey[Any], object]:
    predictions = {name: LatencyPrediction(ms, 0, 0, 0) for name, ms in milliseconds.items()}
    return {LATENCY_PREDICTIONS.of(): by_id(predictions)}


def kept(
    plugin: PrefixCacheAffinityFilter, data: dict[DataKey[Any], object], *, count: int = 3
) -> list[str]:
    request = msgspec.structs.replace(make_request(), data=CycleData(data))
    return [e.name for e in plugin.filter(request, endpoints(*range(count)))]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, ALL),
        (matches(), ALL),
        (matches(total=0, a=0), ALL),
        (matches(total=1, a=1), ["a"]),
        (matches(a=7), ALL),
        (matches(a=8), ["a"]),
        (matches(a=8, b=7, c=10), ["a", "c"]),
        (matches(a=9, b=9, c=9), ALL),
    ],
)
def test_enough_of_the_prompt_seen_keeps_an_endpoint(
    data: dict[DataKey[Any], object], expected: list[str]
) -> None:
    assert kept(make_filter(), data) == expected


def test_one_candidate_or_no_threshold_is_nothing_to_filter() -> None:
    assert kept(make_filter(), matches(b=10), count=1) == ["a"]
    assert kept(make_filter(), matches(b=10), count=2) == ["b"]
    assert kept(make_filter(affinityThreshold=0), matches(b=10)) == ALL
    assert kept(make_filter(affinityThreshold=-1), matches(b=10)) == ALL


@pytest.mark.parametrize(
    ("counts", "penalty_ms", "expected"),
    [
        ({}, 100, ["a", "b"]),
        ({"a": 100, "b": 100}, 100, ["a", "b"]),
        ({"a": 101, "b": 101}, 100, ALL),
        ({"a": 900, "b": 100}, 100, ["a", "b"]),
        ({"a": 150, "b": 150, "c": 50}, 100, ["a", "b"]),
        ({"a": 151, "b": 151, "c": 50}, 100, ALL),
        ({"a": 9000, "b": 9000}, 0.5, ALL),
        ({"a": 9000, "b": 9000}, 0, ["a", "b"]),
        ({"a": 9000, "b": 9000}, -1, ["a", "b"]),
    ],
)
def test_tokens_under_way_break_the_affinity(
    counts: dict[str, int], penalty_ms: float, expected: list[str]
) -> None:
    plugin = make_filter(maxTTFTPenaltyMs=penalty_ms, peakPrefillThroughput=1000)
    assert kept(plugin, matches(a=10, b=10) | tokens(**counts)) == expected


def test_by_default_18_seconds_of_15928_tokens_are_the_limit() -> None:
    limit = 18 * 15928
    assert kept(make_filter(), matches(a=10) | tokens(a=limit)) == ["a"]
    assert kept(make_filter(), matches(a=10) | tokens(a=limit + 1)) == ALL


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        ({}, ["a"]),
        ({"a": 100.0, "b": 50.0, "c": 0.0}, ["a"]),
        ({"a": 101.0, "b": 50.0, "c": 0.0}, ALL),
        ({"a": 1000.0}, ["a"]),
        ({"b": 1000.0}, ALL),
    ],
)
def test_so_do_predictions_where_no_prediction_means_for_ever(
    milliseconds: dict[str, float], expected: list[str]
) -> None:
    plugin = make_filter(maxTTFTPenaltyMs=100, ttftSource="latencyPredictor")
    assert kept(plugin, matches(a=10) | ttfts(**milliseconds)) == expected


@pytest.mark.parametrize(
    ("probability", "least", "most"), [(0, 0, 0), (0.5, 70, 130), (1, 200, 200)]
)
def test_now_and_then_all_are_kept(probability: float, least: int, most: int) -> None:
    plugin = make_filter(explorationProbability=probability)
    explored = sum(kept(plugin, matches(a=10)) == ALL for _ in range(200))
    assert least <= explored <= most


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        ({}, [PREFIX_MATCH.of(), IN_FLIGHT_LOAD.of()]),
        ({"ttftSource": "latencyPredictor"}, [PREFIX_MATCH.of()]),
        ({"maxTTFTPenaltyMs": 0}, [PREFIX_MATCH.of()]),
        ({"affinityThreshold": 0}, []),
        (
            {"prefixMatchInfoProducerName": "p", "inFlightLoadProducerName": "l"},
            [PREFIX_MATCH.of("p"), IN_FLIGHT_LOAD.of("l")],
        ),
    ],
)
def test_only_what_is_looked_at_has_to_be_made(
    fields: dict[str, Any], keys: list[DataKey[Any]]
) -> None:
    assert list(make_filter(**fields).consumes) == keys


def test_predictions_are_read_where_there_are_any() -> None:
    named = {"latencyPredictionInfoProducerName": "x"}
    assert list(make_filter(**named).may_consume) == []
    predicting = make_filter(ttftSource="latencyPredictor", **named)
    assert list(predicting.may_consume) == [LATENCY_PREDICTIONS.of("x")]
    for unread in ({"affinityThreshold": 0}, {"maxTTFTPenaltyMs": 0}):
        assert list(make_filter(ttftSource="latencyPredictor", **unread).may_consume) == []
