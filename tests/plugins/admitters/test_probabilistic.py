from __future__ import annotations

from typing import Any

import pytest

from epp.core.endpoint import Endpoint
from epp.core.errors import ResourceExhaustedError
from epp.plugins.admitters.probabilistic import (
    ProbabilisticAdmitter,
    ProbabilisticAdmitterParams,
)
from tests.fakes import make_endpoint, make_handle, make_request

ROUNDS = 2000


def endpoint(kv_cache_ratio: float = 0.0, waiting: int = 0) -> Endpoint:
    return make_endpoint(
        "a", kv_cache_ratio=kv_cache_ratio, waiting_queue_size=waiting, updated_at=1.0
    )


def refused_ratio(*members: Endpoint, priority: int = -1, **params: Any) -> float:
    admitter = ProbabilisticAdmitter(ProbabilisticAdmitterParams(**params), make_handle())
    request = make_request(priority=priority)
    refused = 0
    for _ in range(ROUNDS):
        try:
            admitter.admit(request, members)
        except ResourceExhaustedError:
            refused += 1
    return refused / ROUNDS


@pytest.mark.parametrize(
    ("saturation", "expected"),
    [(0.0, 0.0), (0.05, 0.0), (0.15, 0.023), (0.2, 0.096), (0.3, 0.73), (0.34, 1.0), (2.0, 1.0)],
)
def test_refusals_grow_with_saturation(saturation: float, expected: float) -> None:
    assert refused_ratio(endpoint(0.8 * saturation)) == pytest.approx(expected, abs=0.03)


def test_saturation_is_the_mean_of_the_fuller_of_queue_and_kv_cache() -> None:
    half: Any = {"power": 1.0, "k": 0.5}
    assert refused_ratio(endpoint(waiting=5), **half) == pytest.approx(0.5, abs=0.04)
    assert refused_ratio(endpoint(0.4, waiting=5), **half) == pytest.approx(0.5, abs=0.04)
    assert refused_ratio(endpoint(waiting=5), endpoint(), **half) == pytest.approx(0.25, abs=0.04)
    assert refused_ratio(make_endpoint("silent"), **half) == pytest.approx(0.5, abs=0.04)
    thresholds: Any = {"queue_depth_threshold": 50.0, "kv_cache_util_threshold": 1.0}
    assert refused_ratio(endpoint(0.3, 25), **half, **thresholds) == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize("priority", [0, 7])
def test_only_sheddable_requests_are_refused(priority: int) -> None:
    assert refused_ratio(endpoint(1.0), priority=priority) == 0


def test_without_endpoints_there_is_nothing_to_spare() -> None:
    assert refused_ratio() == 0


def test_no_queue_and_no_power_is_too_much() -> None:
    assert refused_ratio(endpoint(waiting=10**9), power=1e6) == 1
    assert refused_ratio(endpoint(waiting=1), power=1e6) == 0


def test_the_refusal_says_how_full_it_is() -> None:
    admitter = ProbabilisticAdmitter(ProbabilisticAdmitterParams(), make_handle())
    with pytest.raises(ResourceExhaustedError) as raised:
        admitter.admit(make_request(priority=-1), [endpoint(waiting=6)])
    assert raised.value.message == ("probabilistic-admitter: rejected, saturation=1.200 prob=1.00")
    assert raised.value.status == 429
