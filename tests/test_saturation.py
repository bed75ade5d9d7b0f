from __future__ import annotations

from typing import Any

import pytest

from epp.saturation import SaturationDetector, SaturationThresholds
from tests.fakes import FakeClock, make_endpoint

NOW = 1000.0


def is_saturated(*metrics: dict[str, Any]) -> bool:
    detector = SaturationDetector(SaturationThresholds(), FakeClock(NOW))
    return detector.is_saturated([make_endpoint(str(i), **m) for i, m in enumerate(metrics)])


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"updated_at": NOW}, False),
        ({"updated_at": NOW, "waiting_queue_size": 5}, False),
        ({"updated_at": NOW, "waiting_queue_size": 6}, True),
        ({"updated_at": NOW, "kv_cache_ratio": 0.8}, False),
        ({"updated_at": NOW, "kv_cache_ratio": 0.81}, True),
        ({"updated_at": NOW - 0.19}, False),
        ({"updated_at": NOW - 0.21}, True),
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
