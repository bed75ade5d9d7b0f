from __future__ import annotations

import io
import json
from typing import Any

import pytest

from epp.telemetry import logs
from epp.telemetry.saturationlog import SaturationLog
from tests.fakes import FakeClock


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    logs.setup(verbosity=0, stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("saturation", "stale", "message", "cause"),
    [
        (1.0, 0, "Pool is saturated", "waiting queues or KV caches are full"),
        (1.0, 3, "Pool is saturated", "metrics that are missing or stale count as full"),
        (0.5, 1, "Metrics are stale", "metrics that are missing or stale count as full"),
    ],
)
def test_a_line_names_the_cause(
    stream: io.StringIO, saturation: float, stale: int, message: str, cause: str
) -> None:
    SaturationLog(FakeClock()).saturation_measured("d", saturation, stale)
    (line,) = lines(stream)
    assert (line["msg"], line["cause"]) == (message, cause)
    assert (line["detector"], line["saturation"], line["staleEndpoints"]) == (
        "d",
        saturation,
        stale,
    )


def test_there_is_one_line_in_30_seconds_and_none_while_all_is_well(stream: io.StringIO) -> None:
    clock = FakeClock()
    log = SaturationLog(clock)
    log.saturation_measured("d", 0.99, 0)
    assert lines(stream) == []
    for seconds, expected in ((0, 1), (29.9, 1), (0.1, 2), (30.0, 3)):
        clock.advance(seconds)
        log.saturation_measured("d", 1.5, 0)
        assert len(lines(stream)) == expected
