from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from epp.core.clock import Clock
from epp.telemetry.watchdog import watch_loop


class StallingClock(Clock):
    """The loop's time, and what it did not notice."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.lost = 0.0

    def now(self) -> float:
        return self._loop.time() + self.lost


class World:
    """A watched loop and the delays that were reported."""

    def __init__(self) -> None:
        self.clock = StallingClock()
        self.reports: list[float] = []

    async def stall(self, seconds: float, *, then: float = 0.1) -> list[float]:
        """What is reported when the loop stands still, and a little later."""
        self.reports.clear()
        self.clock.lost += seconds
        await asyncio.sleep(then)
        return [round(report, 3) for report in self.reports]


@asynccontextmanager
async def watching() -> AsyncIterator[World]:
    world = World()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(watch_loop(world.reports.append, world.clock))
        await asyncio.sleep(0.05)
        yield world
        task.cancel()


def warned(caplog: pytest.LogCaptureFixture) -> list[float]:
    return [record.fields["seconds"] for record in caplog.records]  # type: ignore[attr-defined]


@pytest.mark.looptime
async def test_a_loop_in_time_is_reported_ten_times_a_second() -> None:
    async with watching() as world:
        assert await world.stall(0, then=1) == [0.0] * 10


@pytest.mark.looptime
async def test_a_delay_is_reported_with_what_the_missed_ticks_had_to_wait() -> None:
    async with watching() as world:
        assert await world.stall(0.03) == [0.03]
        assert await world.stall(0.37) == [0.37, 0.27, 0.17, 0.07]
        assert await world.stall(0, then=0.3) == [0.0] * 3


@pytest.mark.looptime
async def test_a_very_long_delay_is_reported_a_bounded_number_of_times() -> None:
    async with watching() as world:
        assert len(await world.stall(86_400)) == 101


@pytest.mark.looptime
async def test_long_delays_are_logged_the_worst_of_ten_seconds_at_a_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with watching() as world:
        await world.stall(0.9)
        assert warned(caplog) == []
        await world.stall(1.5)
        assert warned(caplog) == [1.5]
        await world.stall(3)
        await world.stall(2)
        assert warned(caplog) == [1.5]
        await world.stall(0, then=6)
        assert warned(caplog) == [1.5, 3.0]
        assert caplog.records[0].levelno == logging.WARNING
        await world.stall(0, then=20)
        assert warned(caplog) == [1.5, 3.0]
