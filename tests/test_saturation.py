from __future__ import annotations

from typing import Any

import pytest

from epp.core.data import CycleData
from epp.saturation import AnyRoomDetector, Freshness, Thresholds
from tests.fakes import FakeClock, make_endpoint, make_handle

NOW = 1024.0  # differences from here are exact


def is_saturated(*metrics: dict[str, Any]) -> bool:
    members = [make_endpoint(str(i), **m) for i, m in enumerate(metrics)]
    handle = make_handle(clock=FakeClock(NOW))
    any_room = AnyRoomDetector(Thresholds(staleness_seconds=0.25), handle)
    return any_room.saturation(members, CycleData()) >= 1.0


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"updated_at": NOW}, False),
        ({"updated_at": NOW, "waiting_queue_size": 5}, False),
        ({"updated_at": NOW, "waiting_queue_size": 6}, True),
        ({"updated_at": NOW, "kv_cache_ratio": 0.8}, False),
        ({"updated_at": NOW, "kv_cache_ratio": 0.81}, True),
        ({"updated_at": NOW - 0.25}, False),
        ({"updated_at": NOW - 0.26}, True),
        ({"updated_at": None}, True),
    ],
)
def test_an_endpoint_has_room_within_fresh_thresholds(
    metrics: dict[str, Any], expected: bool
) -> None:
    assert is_saturated(metrics) is expected


def test_one_endpoint_with_room_is_enough() -> None:
    full = {"updated_at": NOW, "waiting_queue_size": 99}
    assert is_saturated(full, full)
    assert not is_saturated(full, {"updated_at": NOW}, full)


def test_nobody_has_no_room() -> None:
    assert is_saturated()


@pytest.mark.parametrize(
    ("threshold_seconds", "interval_seconds", "fresh_seconds"),
    [
        (None, 0.05, 0.2),
        (None, 0.0, 0.2),
        (None, 0.125, 0.5),
        (0.25, 0.125, 0.25),
        (2.0, 0.05, 2.0),
    ],
)
def test_a_threshold_that_nobody_set_is_at_least_four_intervals(
    threshold_seconds: float | None, interval_seconds: float, fresh_seconds: float
) -> None:
    handle = make_handle(clock=FakeClock(NOW), scrape_interval_seconds=interval_seconds)
    freshness = Freshness(threshold_seconds, handle)
    members = [
        make_endpoint("younger", updated_at=NOW - fresh_seconds * 0.99),
        make_endpoint("older", updated_at=NOW - fresh_seconds * 1.01),
    ]
    assert [e.name for e in freshness.fresh(members)] == ["younger"]


def test_the_interval_counts_as_it_is_now() -> None:
    handle = make_handle(clock=FakeClock(NOW), scrape_interval_seconds=0.05)
    detector = AnyRoomDetector(Thresholds(), handle)
    members = [make_endpoint("a", updated_at=NOW - 0.4)]
    measured = [detector.saturation(members, CycleData())]
    for seconds in (0.113, 0.05):
        handle.scrape_interval.scraped(seconds)
        measured.append(detector.saturation(members, CycleData()))
    assert measured == [1.0, 0.0, 1.0]
