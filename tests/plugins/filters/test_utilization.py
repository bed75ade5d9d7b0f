from __future__ import annotations

from typing import Any

import msgspec
import pytest

from epp.core.data import IN_FLIGHT_LOAD, InFlightLoad
from epp.core.plugin import REGISTRY
from epp.plugins.filters.utilization import UtilizationFilter, UtilizationFilterParams
from tests.fakes import make_endpoint, make_handle, make_request

ENDPOINTS = [
    make_endpoint("idle"),
    make_endpoint("busy", running_requests=8, waiting_queue_size=0, kv_cache_ratio=0.5),
    make_endpoint("full", running_requests=8, waiting_queue_size=4, kv_cache_ratio=0.95),
]
LOAD = InFlightLoad({"default/busy": 3, "default/full": 9}, {})


def params(*limits: tuple[str, float], **fields: Any) -> UtilizationFilterParams:
    conditions = [{"metric": metric, "maxValue": value} for metric, value in limits]
    return msgspec.convert({"conditions": conditions, **fields}, UtilizationFilterParams)


def kept(chosen: UtilizationFilterParams, load: InFlightLoad | None = LOAD) -> list[str]:
    request = make_request()
    if load:
        request.data.set(IN_FLIGHT_LOAD.of(chosen.in_flight_load_producer_name), load)
    return [e.name for e in UtilizationFilter(chosen, make_handle()).filter(request, ENDPOINTS)]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ([], ["idle", "busy", "full"]),
        ([("active-requests", 3)], ["idle", "busy"]),
        ([("active-requests", 2)], ["idle"]),
        ([("running-requests", 8)], ["idle", "busy", "full"]),
        ([("running-requests", 7)], ["idle"]),
        ([("waiting-queue", 0)], ["idle", "busy"]),
        ([("kv-cache-utilization", 0.95)], ["idle", "busy", "full"]),
        ([("kv-cache-utilization", 0.9)], ["idle", "busy"]),
        ([("waiting-queue", 9), ("kv-cache-utilization", 0.1)], ["idle"]),
    ],
)
def test_every_limit_is_inclusive_and_all_must_hold(
    limits: list[tuple[str, float]], expected: list[str]
) -> None:
    assert kept(params(*limits)) == expected


def test_nobody_counted_means_nothing_active() -> None:
    assert kept(params(("active-requests", 0)), load=None) == ["idle", "busy", "full"]


@pytest.mark.parametrize(("falls_back", "expected"), [(False, []), (True, ["busy", "full"])])
def test_nobody_within_limits_may_mean_everybody(falls_back: bool, expected: list[str]) -> None:
    chosen = params(("running-requests", 1), fallbackOnEmpty=falls_back)
    members = ENDPOINTS[1:]
    filtered = UtilizationFilter(chosen, make_handle()).filter(make_request(), members)
    assert [e.name for e in filtered] == expected


def test_the_counts_are_needed_only_where_they_are_limited() -> None:
    handle = make_handle()
    named = {"inFlightLoadProducerName": "mine"}
    counting = UtilizationFilter(params(("active-requests", 1), **named), handle)
    assert list(counting.consumes) == [IN_FLIGHT_LOAD.of("mine")]
    assert list(UtilizationFilter(params(("waiting-queue", 1)), handle).consumes) == []
    assert kept(params(("active-requests", 2), **named)) == ["idle"]


def test_a_cache_is_never_more_than_full() -> None:
    wrong = params(("running-requests", 5), ("kv-cache-utilization", 5))
    assert [key for key, _ in wrong.problems()] == ["conditions[1].maxValue"]
    assert list(params(("kv-cache-utilization", 1)).problems()) == []
    with pytest.raises(msgspec.ValidationError):
        params(("waiting-queue", -1))


def test_a_filter_without_conditions_is_hardly_meant() -> None:
    assert [key for key, _ in params().hints()] == ["conditions"]
    assert list(params(("waiting-queue", 1)).hints()) == []


def test_the_older_name_still_means_it() -> None:
    assert "active-request-filter" in REGISTRY["utilization-filter"].aliases
