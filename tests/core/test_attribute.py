from __future__ import annotations

import math

import pytest

from epp.core.attribute import USUAL, Attribute, attribute_problem
from epp.core.endpoint import EndpointMetrics

METRICS = EndpointMetrics(
    waiting_queue_size=1,
    running_requests=2,
    kv_cache_ratio=0.3,
    active_models=frozenset({"a", "b", "c", "d"}),
    waiting_models=frozenset({"e", "f", "g", "h", "i"}),
    max_active_models=6,
    cache_block_size_tokens=7,
    cache_num_blocks=8,
    attributes={
        "depth/core-metrics-extractor": 10.0,
        "depth/mine": 11.0,
        "MaxActiveModels/core-metrics-extractor": 12.0,
        "WaitingQueueSize/mine": 13.0,
        "GPUUtilization/dcgm-extractor": 0.5,
        "x/y/z": 14.0,
        "plain": 15.0,
        "bad/core-metrics-extractor": math.nan,
        "far/core-metrics-extractor": math.inf,
    },
)


@pytest.mark.parametrize(
    ("name", "producer", "value"),
    [
        ("depth", None, 10.0),
        ("depth", "core-metrics-extractor", 10.0),
        ("depth", "mine", 11.0),
        ("depth", "nobody", None),
        ("GPUUtilization", None, None),
        ("GPUUtilization", "dcgm-extractor", 0.5),
        ("GPUUtilization", "", 0.5),
        ("depth", "", 10.0),
        ("x/y", "z", 14.0),
        ("x/y", "", 14.0),
        ("x", "", None),
        ("plain", "", 15.0),
        ("plain", None, None),
        ("bad", None, None),
        ("far", None, None),
        ("WaitingQueueSize", None, 1),
        ("WaitingQueueSize", "mine", 13.0),
        ("WaitingQueueSize", "other", None),
        ("WaitingQueueSize", "", 1),
        ("RunningRequestsSize", None, 2),
        ("KVCacheUsagePercent", None, 0.3),
        ("ActiveModels", None, 4),
        ("WaitingModels", None, 5),
        ("MaxActiveModels", None, 12.0),
        ("CacheBlockSize", None, 7),
        ("CacheNumBlocks", None, 8),
    ],
)
def test_an_attribute_is_read_by_its_name_and_its_maker(
    name: str, producer: str | None, value: float | None
) -> None:
    assert Attribute(name, producer).read(METRICS) == value


def test_an_endpoint_that_nobody_knows_has_the_usual_metrics_only() -> None:
    assert Attribute("depth").read(EndpointMetrics()) is None
    assert Attribute("depth", "").read(EndpointMetrics()) is None
    assert [Attribute(name).read(EndpointMetrics()) for name in USUAL] == [0] * len(USUAL)


@pytest.mark.parametrize(
    ("name", "producer", "is_wrong"),
    [("a", None, False), ("", None, True), ("a/b", None, True), ("a/b", "", False)],
)
def test_a_slash_needs_a_producer(name: str, producer: str | None, is_wrong: bool) -> None:
    assert (attribute_problem(name, producer) is not None) == is_wrong
