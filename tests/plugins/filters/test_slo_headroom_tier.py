from __future__ import annotations

import msgspec
import pytest

from epp.core.data import LATENCY_PREDICTIONS, CycleData, LatencyPrediction
from epp.plugins.filters.slo_headroom_tier import (
    SloHeadroomTierFilter,
    SloHeadroomTierFilterParams,
)
from tests.fakes import endpoints, make_handle, make_request

Headrooms = dict[str, tuple[float, float]]


def kept(
    headrooms: Headrooms | None, *, epsilon: float = 0.0, producer: str = "", count: int = 3
) -> list[str]:
    plugin = SloHeadroomTierFilter(SloHeadroomTierFilterParams(epsilon, producer), make_handle())
    assert list(plugin.may_consume) == [LATENCY_PREDICTIONS.of(producer)]
    data = CycleData()
    if headrooms is not None:
        predictions = {
            f"default/{name}": LatencyPrediction(1, 1, ttft, tpot)
            for name, (ttft, tpot) in headrooms.items()
        }
        data.set(LATENCY_PREDICTIONS.of(producer), predictions)
    request = msgspec.structs.replace(make_request(), data=data)
    return [e.name for e in plugin.filter(request, endpoints(*range(count)))]


@pytest.mark.parametrize(
    ("headrooms", "expected"),
    [
        (None, ["a", "b", "c"]),
        ({}, ["a", "b", "c"]),
        ({"a": (0, 0)}, ["a"]),
        ({"a": (5, 5), "b": (-1, 5), "c": (5, -1)}, ["a"]),
        ({"a": (5, 5), "c": (0, 9)}, ["a", "c"]),
        ({"a": (-5, 5)}, ["a", "b", "c"]),
        ({"a": (1, 1), "b": (1, 1), "c": (1, 1)}, ["a", "b", "c"]),
        ({"gone": (1, 1)}, ["a", "b", "c"]),
    ],
)
def test_those_within_both_objectives_stay(
    headrooms: Headrooms | None, expected: list[str]
) -> None:
    assert kept(headrooms) == expected
    assert kept(headrooms, producer="mine") == expected


def test_one_candidate_is_nothing_to_filter() -> None:
    assert kept({"a": (-1, -1)}, count=1) == ["a"]
    assert kept({"b": (1, 1)}, count=2) == ["b"]


def test_the_others_get_their_chance() -> None:
    assert kept({"a": (1, 1)}, epsilon=1.0) == ["b", "c"]
    assert kept({"a": (-1, 1)}, epsilon=1.0) == ["a", "b", "c"]


def test_by_default_that_is_one_in_a_hundred() -> None:
    plugin = SloHeadroomTierFilter(SloHeadroomTierFilterParams(), make_handle())
    data = CycleData({LATENCY_PREDICTIONS.of(): {"default/a": LatencyPrediction(1, 1, 1, 1)}})
    request = msgspec.structs.replace(make_request(), data=data)
    explored = sum(len(plugin.filter(request, endpoints(0, 0, 0))) == 2 for _ in range(2000))
    assert 5 <= explored <= 45
