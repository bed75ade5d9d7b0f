from __future__ import annotations

from typing import Any

import pytest

from epp.core.data import CycleData
from epp.core.plugin import PositiveDuration
from epp.plugins.saturation.utilization import UtilizationDetector, UtilizationDetectorParams
from tests.fakes import FakeClock, FakeProbe, make_endpoint, make_handle, make_request

NOW = 1024.0  # differences from here are exact


class World:
    """A detector that believes metrics for a quarter of a second, and what it reported."""

    def __init__(self, **params: Any) -> None:
        self.probe = FakeProbe()
        handle = make_handle(probe=self.probe, clock=FakeClock(NOW))
        quarter = {"metrics_staleness_threshold": PositiveDuration(0.25)}
        self.detector = UtilizationDetector(UtilizationDetectorParams(**quarter | params), handle)

    def saturation(self, *endpoints: tuple[int, float, float | None]) -> float:
        """Of endpoints with these queues, KV caches and ages."""
        return self.detector.saturation(make(*endpoints), CycleData())

    def kept(self, *endpoints: tuple[int, float, float | None]) -> list[int]:
        """The positions of those that pass the filter."""
        members = make(*endpoints)
        return [members.index(e) for e in self.detector.filter(make_request(), members)]


def make(*endpoints: tuple[int, float, float | None]) -> list[Any]:
    return [
        make_endpoint(
            str(i),
            waiting_queue_size=queue,
            kv_cache_ratio=kv_cache,
            updated_at=None if age is None else NOW - age,
        )
        for i, (queue, kv_cache, age) in enumerate(endpoints)
    ]


@pytest.mark.parametrize(
    ("endpoints", "saturation", "stale"),
    [
        ([], 1.0, 0),
        ([(0, 0.0, 0.0)], 0.0, 0),
        ([(2, 0.0, 0.0)], 0.4, 0),
        ([(5, 0.0, 0.0)], 1.0, 0),
        ([(0, 0.4, 0.0)], 0.5, 0),
        ([(0, 0.8, 0.0)], 1.0, 0),
        ([(2, 0.4, 0.0)], 0.5, 0),
        ([(3, 0.4, 0.0)], 0.6, 0),
        ([(20, 1.0, 0.0)], 4.0, 0),
        ([(0, 0.0, 0.25)], 0.0, 0),
        ([(0, 0.0, 0.26)], 1.0, 1),
        ([(50, 0.0, 0.26)], 1.0, 1),
        ([(0, 0.0, None)], 1.0, 1),
        ([(10, 0.0, 0.0), (0, 0.0, 0.0)], 1.0, 0),
        ([(10, 0.0, 0.0), (0, 0.0, 0.0), (0, 0.0, 0.0), (0, 0.0, 0.0)], 0.5, 0),
        ([(0, 0.0, 0.0), (0, 0.0, None)], 0.5, 1),
        ([(5, 0.0, 0.0), (0, 0.0, None), (0, 0.0, 1.0)], 1.0, 2),
    ],
)
def test_saturation_is_the_mean_of_the_fuller_of_queue_and_kv_cache(
    endpoints: list[tuple[int, float, float | None]], saturation: float, stale: int
) -> None:
    world = World()
    measured = world.saturation(*endpoints)
    assert measured == pytest.approx(saturation)
    assert world.probe.saturations == [("utilization-detector", measured, stale)]


@pytest.mark.parametrize(("headroom", "hinted"), [(0.0, []), (1.0, []), (1.1, ["headroom"])])
def test_a_headroom_above_one_is_hardly_meant(headroom: float, hinted: list[str]) -> None:
    params = UtilizationDetectorParams(headroom=headroom)
    assert [key for key, _ in params.hints()] == hinted


def test_thresholds_scale_it() -> None:
    world = World(queue_depth_threshold=10, kv_cache_util_threshold=0.5)
    assert world.saturation((5, 0.0, 0.0)) == 0.5
    assert world.saturation((5, 0.5, 0.0)) == 1.0


def test_a_report_bears_the_configured_name() -> None:
    world = World()
    world.detector.bind("mine")
    world.saturation()
    assert world.probe.saturations == [("mine", 1.0, 0)]


def test_by_default_metrics_may_be_as_old_as_scraping_is_slow() -> None:
    handle = make_handle(clock=FakeClock(NOW), scrape_interval_seconds=0.05)
    detector = UtilizationDetector(UtilizationDetectorParams(), handle)
    members = make((0, 0.0, 0.4))
    assert detector.saturation(members, CycleData()) == 1.0
    handle.scrape_interval.scraped(0.125)
    assert detector.saturation(members, CycleData()) == 0.0


@pytest.mark.parametrize(
    ("headroom", "endpoints", "kept"),
    [
        (0.0, [(4, 0.79, 0.0), (5, 0.0, 0.0), (0, 0.8, 0.0), (0, 0.0, 0.26)], [0]),
        (0.5, [(7, 0.0, 0.25), (8, 0.0, 0.0), (0, 1.0, 0.0)], [0, 2]),
        (1.0, [(9, 0.0, 0.0), (10, 0.0, 0.0)], [0]),
        (0.0, [(5, 0.0, 0.0), (0, 0.0, None)], [0, 1]),
        (0.0, [], []),
    ],
)
def test_the_filter_keeps_what_is_below_the_thresholds_or_else_everybody(
    headroom: float, endpoints: list[tuple[int, float, float | None]], kept: list[int]
) -> None:
    world = World(headroom=headroom)
    assert world.kept(*endpoints) == kept
    assert world.probe.saturations == []
