from __future__ import annotations

from typing import Any

import pytest

from epp.core.data import LATENCY_PREDICTIONS, LatencyPrediction
from epp.core.endpoint import Endpoint
from epp.core.errors import ResourceExhaustedError
from epp.plugins.admitters.latency_slo import LatencySloAdmitter, LatencySloAdmitterParams
from tests.fakes import make_endpoint, make_handle, make_request

TTFT = {"x-llm-d-slo-ttft-ms": b"100"}
TPOT = {"x-slo-tpot-ms": b"10"}
TOO_SLOW = {"a": (-1.0, -1.0), "b": (-1.0, -1.0)}


def busy(name: str, **metrics: Any) -> Endpoint:
    return make_endpoint(
        name, **{"running_requests": 3, "kv_cache_ratio": 0.5, "updated_at": 1.0, **metrics}
    )


BUSY = [busy("a"), busy("b")]


def is_admitted(
    headrooms: dict[str, tuple[float, float]] | None = None,
    *,
    priority: int = -1,
    headers: dict[str, bytes] = TTFT,
    members: list[Endpoint] = BUSY,
    producer: str = "",
) -> bool:
    admitter = LatencySloAdmitter(LatencySloAdmitterParams(producer), make_handle())
    assert list(admitter.may_consume) == [LATENCY_PREDICTIONS.of(producer)]
    request = make_request(priority=priority, headers=headers)
    if headrooms is not None:
        predictions = {
            f"default/{name}": LatencyPrediction(1, 1, ttft, tpot)
            for name, (ttft, tpot) in headrooms.items()
        }
        request.data.set(LATENCY_PREDICTIONS.of(producer), predictions)
    try:
        admitter.admit(request, members)
    except ResourceExhaustedError as error:
        return "no valid endpoint available to serve the request" not in error.message
    return True


@pytest.mark.parametrize(
    ("headers", "headrooms", "admitted"),
    [
        (TTFT, TOO_SLOW, False),
        (TPOT, TOO_SLOW, False),
        (TTFT, {"a": (0.0, 0.0), "b": (-1.0, -1.0)}, True),
        (TTFT, {"a": (5.0, -5.0)}, True),
        (TPOT, {"a": (5.0, -5.0)}, False),
        (TPOT, {"a": (-5.0, 5.0)}, True),
        (TPOT, {"a": (-5.0, 0.0)}, True),
        ({"x-slo-tpot-ms": b"0.5"}, TOO_SLOW, False),
        ({"x-slo-ttft-ms": b"0.5"}, TOO_SLOW, False),
        (TTFT | TPOT, {"a": (5.0, -5.0), "b": (-5.0, 5.0)}, False),
        (TTFT | TPOT, {"a": (5.0, 5.0)}, True),
        ({}, TOO_SLOW, True),
        ({"x-slo-ttft-ms": b"0"}, TOO_SLOW, True),
        ({"x-slo-ttft-ms": b"soon"}, TOO_SLOW, True),
    ],
)
def test_some_endpoint_must_meet_the_objectives_that_are_set(
    headers: dict[str, bytes], headrooms: dict[str, tuple[float, float]], admitted: bool
) -> None:
    assert is_admitted(headrooms, headers=headers) is admitted
    assert is_admitted(headrooms, headers=headers, producer="mine") is admitted


def test_only_sheddable_requests_are_refused() -> None:
    assert is_admitted(TOO_SLOW, priority=0)
    assert is_admitted(TOO_SLOW, priority=5)


def test_nothing_predicted_is_no_reason() -> None:
    assert is_admitted(None)
    assert is_admitted({})
    assert is_admitted({"gone": (-1.0, -1.0)})
    assert is_admitted(TOO_SLOW, members=[])


@pytest.mark.parametrize(
    ("metrics", "admitted"),
    [
        ({"running_requests": 0}, True),
        ({"kv_cache_ratio": 0.019}, True),
        ({"kv_cache_ratio": 0.02}, False),
        ({"running_requests": 0, "updated_at": None}, False),
    ],
)
def test_an_idle_or_cold_endpoint_is_a_reason_to_admit(
    metrics: dict[str, Any], admitted: bool
) -> None:
    assert is_admitted(TOO_SLOW, members=[busy("a"), busy("b", **metrics)]) is admitted
