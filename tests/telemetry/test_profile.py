from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from pathlib import Path

import pytest

from epp.telemetry.profile import EVENT_LOOP, Profile, Profiler, ProfilerBusyError, save_profile
from tests.telemetry.worlds import StillClock

STACKS = {("a", "b"): 3000, ("a",): 1000, ("a", "c", "a"): 500, (EVENT_LOOP,): 2500}


def burn(cpu_seconds: float) -> None:
    until = time.thread_time() + cpu_seconds
    while time.thread_time() < until:
        pass


async def work() -> None:
    burn(0.1)


def test_collapsed_stacks_are_lines_for_a_flame_graph() -> None:
    text = Profile(seconds=1.0, stacks=STACKS).collapsed()
    assert text == "[event loop] 2500\na 1000\na;b 3000\na;c;a 500\n"


def test_the_table_tells_a_function_s_own_time_and_counts_recursion_once() -> None:
    assert Profile(seconds=1.0, stacks=STACKS).top().splitlines() == [
        "CPU 0.007 s in 1.0 s, idle 0.993 s",
        "   self ms  total ms  function",
        "       3.0       3.0  b",
        "       2.5       2.5  [event loop]",
        "       1.5       4.5  a",
        "       0.0       0.5  c",
    ]


def test_a_profile_of_nothing_is_no_error() -> None:
    nothing = Profile(seconds=0.0, stacks={})
    assert nothing.collapsed() == ""
    assert nothing.top().startswith("CPU 0.000 s in 0.0 s, idle 0.000 s\n")


async def test_a_stack_begins_at_the_task_and_has_its_cpu_time() -> None:
    async with asyncio.TaskGroup() as tasks:
        taking = tasks.create_task(Profiler().run(0.01))
        tasks.create_task(work())
    profile = taking.result()
    name = __name__
    burnt = profile.stacks[f"{name}.work", f"{name}.burn"]
    assert 50_000 < burnt < 200_000
    assert profile.seconds >= 0.1


async def test_there_is_one_profile_at_a_time_and_a_cancelled_one_is_over() -> None:
    profiler = Profiler()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(profiler.run(60))
        await asyncio.sleep(0)
        with pytest.raises(ProfilerBusyError):
            await profiler.run(60)
        first.cancel()
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    await profiler.run(0)


class Quick(Profiler):
    """Takes no time for it."""

    async def run(self, seconds: float) -> Profile:
        return Profile(seconds=seconds, stacks=STACKS)


class Busy(Profiler):
    """Is always at it."""

    async def run(self, seconds: float) -> Profile:
        raise ProfilerBusyError("a profile is being taken")


async def test_a_profile_is_saved_where_it_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "profile.txt"
    for _ in range(2):
        await save_profile(Quick(), str(path), StillClock())
    assert "a;b 3000\n" in path.read_text()


async def test_a_profile_without_a_path_is_a_new_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    await save_profile(Quick(), "", StillClock())
    assert (tmp_path / f"epp-cpu-{os.getpid()}-20261124T121500Z.txt").read_text()
    await save_profile(Quick(), "", StillClock())
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == [
        "No CPU profile was written"
    ]


@pytest.mark.parametrize(("profiler", "path"), [(Busy(), ""), (Quick(), "/none/such")])
async def test_a_profile_that_cannot_be_saved_is_logged(
    profiler: Profiler, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    await save_profile(profiler, path, StillClock())
    assert caplog.records[-1].message == "No CPU profile was written"
