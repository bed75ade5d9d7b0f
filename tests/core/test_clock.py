from __future__ import annotations

from datetime import UTC

from epp.core.clock import Clock


def test_the_clock_never_runs_backwards() -> None:
    clock = Clock()
    readings = [clock.now() for _ in range(100)]
    assert readings == sorted(readings)


def test_the_time_of_day_is_in_utc() -> None:
    assert Clock().time_of_day().tzinfo is UTC


def test_timestamp_and_time_of_day_are_the_same_time() -> None:
    clock = Clock()
    assert clock.timestamp() <= clock.time_of_day().timestamp() + 1e-6
