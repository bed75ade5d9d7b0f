from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.data import IN_FLIGHT_LOAD, CycleData, InFlightLoad
from epp.core.endpoint import Endpoint
from epp.plugins.saturation.concurrency import (
    ConcurrencyDetector,
    ConcurrencyDetectorParams,
    ConcurrencyMode,
)
from tests.fakes import FakeProbe, make_endpoint, make_handle, make_request

Loads = list[tuple[int, int] | None]


def make_detector(probe: FakeProbe | None = None, **params: Any) -> ConcurrencyDetector:
    """One that takes 10 requests and 100 tokens for full."""
    limits = {"max_concurrency": 10, "max_token_concurrency": 100}
    return ConcurrencyDetector(
        ConcurrencyDetectorParams(**limits | params), make_handle(probe=probe)
    )


def world(loads: Loads) -> tuple[list[Endpoint], InFlightLoad]:
    """Endpoints with these requests and tokens under way; None is one that nobody counted."""
    members = [make_endpoint(str(i)) for i in range(len(loads))]
    counted = {e.id: load for e, load in zip(members, loads, strict=True) if load is not None}
    return members, InFlightLoad(
        {key: requests for key, (requests, _) in counted.items()},
        {key: tokens for key, (_, tokens) in counted.items()},
    )


def saturation(detector: ConcurrencyDetector, loads: Loads, producer: str = "") -> float:
    members, load = world(loads)
    data = CycleData({IN_FLIGHT_LOAD.of(producer): load})
    return detector.saturation(members, data)


@pytest.mark.parametrize(
    ("loads", "by_requests", "by_tokens", "by_both"),
    [
        ([], 1.0, 1.0, 1.0),
        ([(0, 0)], 0.0, 0.0, 0.0),
        ([(5, 20)], 0.5, 0.2, 0.5),
        ([(10, 100)], 1.0, 1.0, 1.0),
        ([(20, 50)], 2.0, 0.5, 2.0),
        ([(5, 0), (0, 100)], 0.25, 0.5, 0.75),
        ([(10, 100), None], 0.5, 0.5, 0.5),
        ([None], 0.0, 0.0, 0.0),
    ],
)
def test_saturation_is_what_is_under_way_of_what_could_be(
    loads: Loads, by_requests: float, by_tokens: float, by_both: float
) -> None:
    for mode, expected in zip(ConcurrencyMode, (by_requests, by_tokens, by_both), strict=True):
        probe = FakeProbe()
        assert saturation(make_detector(probe, concurrency_mode=mode), loads) == expected
        assert probe.saturations == [("concurrency-detector", expected, 0)]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 500)), min_size=1, max_size=5))
def test_both_together_are_never_less_than_either(loads: Loads) -> None:
    requests, tokens, both = [
        saturation(make_detector(concurrency_mode=mode), loads) for mode in ConcurrencyMode
    ]
    assert both >= max(requests, tokens) - 1e-9


def test_without_data_nothing_is_under_way() -> None:
    detector = make_detector()
    members, _ = world([None])
    assert detector.saturation(members, CycleData()) == 0.0
    assert detector.filter(make_request(), members) == members


def test_the_producer_can_be_named() -> None:
    detector = make_detector(in_flight_load_producer_name="mine")
    assert list(detector.consumes) == [IN_FLIGHT_LOAD.of("mine")]
    assert list(make_detector().consumes) == [IN_FLIGHT_LOAD.of()]
    assert saturation(detector, [(5, 0)], "mine") == 0.5
    assert saturation(detector, [(5, 0)]) == 0.0


@pytest.mark.parametrize(
    ("mode", "headroom", "kept"),
    [
        ("requests", 0.0, [0, 2, 4]),
        ("requests", 0.19, [0, 1, 2, 4]),
        ("tokens", 0.0, [0, 1, 3, 4]),
        ("tokens", 0.5, [0, 1, 2, 3, 4]),
        ("hybrid", 0.0, [0, 4]),
        ("hybrid", 0.5, [0, 1, 2, 3, 4]),
        ("hybrid", 1e308, [0, 1, 2, 3, 4]),
    ],
)
def test_the_filter_keeps_what_is_strictly_below_the_limits(
    mode: str, headroom: float, kept: list[int]
) -> None:
    members, load = world([(9, 99), (10, 0), (0, 100), (11, 0), None])
    detector = make_detector(concurrency_mode=ConcurrencyMode(mode), headroom=headroom)
    request = make_request()
    request.data.set(IN_FLIGHT_LOAD.of(), load)
    assert [members.index(e) for e in detector.filter(request, members)] == kept


@pytest.mark.parametrize("mode", ConcurrencyMode)
def test_who_was_not_counted_is_below_any_limit(mode: ConcurrencyMode) -> None:
    members, load = world([(1, 1), None])
    detector = make_detector(concurrency_mode=mode, max_concurrency=1, max_token_concurrency=1)
    request = make_request()
    request.data.set(IN_FLIGHT_LOAD.of(), load)
    assert detector.filter(request, members) == members[1:]


def test_the_filter_may_leave_nobody() -> None:
    members, load = world([(10, 0)])
    request = make_request()
    request.data.set(IN_FLIGHT_LOAD.of(), load)
    assert make_detector().filter(request, members) == []
