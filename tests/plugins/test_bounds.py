"""Which values of a number a type takes: those at its bounds, and none beyond."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import epp.plugins
from epp.core.plugin import REGISTRY

epp.plugins.load()

TINY = 5e-324  # the least float above 0
BOUNDS: list[tuple[str, str, list[float], list[float]]] = [
    ("active-request-scorer", "idleThreshold", [0], [-1]),
    ("active-request-scorer", "maxBusyScore", [0, 1], [-TINY, 1.01]),
    ("token-load-scorer", "queueThresholdTokens", [1], [0]),
    ("load-aware-scorer", "threshold", [1], [0, -1]),
    ("no-hit-lru-scorer", "lruSize", [1], [0]),
    ("prefix-cache-scorer", "matchLengthWeight", [0, 1], [-TINY, 1.01]),
    ("prefix-cache-affinity-filter", "affinityThreshold", [-1, 1], [1.01]),
    ("prefix-cache-affinity-filter", "explorationProbability", [0, 1], [-TINY, 1.01]),
    ("prefix-cache-affinity-filter", "peakPrefillThroughput", [TINY], [0]),
    ("slo-headroom-tier-filter", "epsilonExploreNeg", [0, 1], [-TINY, 1.01]),
    ("utilization-detector", "queueDepthThreshold", [1], [0]),
    ("utilization-detector", "kvCacheUtilThreshold", [TINY, 1], [0, 1.01]),
    ("utilization-detector", "headroom", [0, 2], [-TINY]),
    ("concurrency-detector", "maxConcurrency", [1], [0]),
    ("concurrency-detector", "maxTokenConcurrency", [1], [0]),
    ("concurrency-detector", "headroom", [0], [-TINY]),
    ("probabilistic-admitter", "queueDepthThreshold", [TINY], [0]),
    ("probabilistic-admitter", "kvCacheUtilThreshold", [TINY, 2], [0]),
    ("probabilistic-admitter", "power", [TINY], [0]),
    ("probabilistic-admitter", "k", [TINY], [0]),
]


def convert(type_name: str, key: str, value: float) -> Any:
    return msgspec.convert({key: value}, REGISTRY[type_name].params)


@pytest.mark.parametrize(("type_name", "key", "inside", "outside"), BOUNDS)
def test_a_number_is_taken_up_to_its_bounds(
    type_name: str, key: str, inside: list[float], outside: list[float]
) -> None:
    for value in inside:
        assert list(convert(type_name, key, value).problems()) == []
    for value in outside:
        with pytest.raises(msgspec.ValidationError):
            convert(type_name, key, value)


@pytest.mark.parametrize(
    ("type_name", "given"),
    [
        ("by-label", {"label": "", "validValues": ["a"]}),
        ("context-length-aware", {"label": ""}),
        ("header-label-affinity-scorer", {"headerName": "", "labelKey": "a"}),
        ("header-label-affinity-scorer", {"headerName": "a", "labelKey": ""}),
    ],
)
def test_a_name_is_never_empty(type_name: str, given: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, REGISTRY[type_name].params)
    named = {key: value or "x" for key, value in given.items()}
    assert msgspec.convert(named, REGISTRY[type_name].params)
