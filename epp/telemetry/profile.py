"""A CPU profile of the event loop's thread, taken on demand while the picker serves.

Theory of operation: the kernel sends SIGPROF for every few milliseconds of CPU time, and the
interpreter calls the handler between two instructions of the loop's thread, wherever that is. The
handler notes the stack together with the CPU time that the thread took since the last look. So a
long call into C, which puts several signals off to its end, counts in full, and other threads count
for nothing. A stack begins at the callback or task that the loop was running; where the handler
comes before the first instruction of such a one, the time was the loop's own: the kernel, TLS,
libuv. A loop that waits takes no CPU time and is not looked at.

(A second thread that looks at this one's stack would have to wait for the interpreter first, and
would get it mostly when the loop comes to rest: of callbacks of 0.1 ms it sees a sixth.)
"""

from __future__ import annotations

import asyncio
import logging
import opcode
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from types import CodeType, FrameType
from typing import TypeAlias

import msgspec

from epp.core.clock import Clock
from epp.telemetry import logs

DEFAULT_SECONDS = 30
MAX_SECONDS = 120
INTERVAL_SECONDS = 0.005
MAX_DEPTH = 100
EVENT_LOOP = "[event loop]"

_LOOP_FILES = ("/asyncio/runners.py", "/asyncio/base_events.py")
_LOOP_FUNCTIONS = frozenset({"run", "run_until_complete", "run_forever", "_run_once"})
_BELOW_CALLBACKS = ("/asyncio/events.py", "/selectors.py", "/uvloop/_noop.py")
_RESUME = opcode.opmap["RESUME"]

_Stack: TypeAlias = tuple[CodeType, ...]

logger = logging.getLogger("profile")


class ProfilerBusyError(Exception):
    """A profile is being taken; there is one at a time."""


class Profile(msgspec.Struct, frozen=True):
    """The CPU microseconds spent in each stack (outermost function first) within ``seconds``."""

    seconds: float
    stacks: Mapping[tuple[str, ...], int]

    def collapsed(self) -> str:
        """A line ``a;b;c microseconds`` per stack, as tools for flame graphs read them."""
        return "".join(
            sorted([f"{';'.join(stack)} {spent}\n" for stack, spent in self.stacks.items()])
        )

    def top(self) -> str:
        """A table of the functions: CPU time in themselves, and with what they called."""
        own: Counter[str] = Counter()
        total: Counter[str] = Counter()
        for stack, spent in self.stacks.items():
            own[stack[-1]] += spent
            for function in set(stack):
                total[function] += spent
        busy = sum(own.values()) / 1e6
        lines = [
            f"CPU {busy:.3f} s in {self.seconds:.1f} s, idle {max(0.0, self.seconds - busy):.3f} s",
            f"{'self ms':>10}{'total ms':>10}  function",
        ]
        names = sorted(total, key=lambda name: (-own[name], -total[name], name))
        lines += [f"{own[name] / 1e3:10.1f}{total[name] / 1e3:10.1f}  {name}" for name in names]
        return "\n".join(lines) + "\n"


class Profiler:
    """Takes profiles of the main thread, one at a time; it has to be used there."""

    def __init__(self) -> None:
        self._is_busy = False

    async def run(self, seconds: float) -> Profile:
        """The profile of the next ``seconds``; the loop goes on meanwhile, 0.3 % slower.

        Raises:
            ProfilerBusyError: another profile is being taken.
        """
        if self._is_busy:
            raise ProfilerBusyError("a profile is being taken")
        self._is_busy = True
        looks = _Looks()
        started = time.monotonic()
        signal.signal(signal.SIGPROF, looks.look)
        signal.siginterrupt(signal.SIGPROF, False)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)
        try:
            await asyncio.sleep(seconds)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, signal.SIG_IGN)  # one may be under way
            self._is_busy = False
        return Profile(time.monotonic() - started, looks.stacks())


async def save_profile(profiler: Profiler, path: str, clock: Clock) -> None:
    """Take a profile of 30 s and write it to ``path``, by default a new file of its own.

    That is ``epp-cpu-<process>-<time>.txt`` in the folder for temporary files. What goes wrong is
    logged.
    """
    logs.log(logger, 0, "Taking a CPU profile", seconds=DEFAULT_SECONDS)
    try:
        text = (await profiler.run(DEFAULT_SECONDS)).collapsed()
        mode = "w" if path else "x"
        path = path or _new_path(clock)
        await asyncio.to_thread(_write, path, mode, text)
    except (ProfilerBusyError, OSError) as error:
        logs.error(logger, "No CPU profile was written", error=error)
    else:
        logs.log(logger, 0, "CPU profile written", path=path)


def _new_path(clock: Clock) -> str:
    now = clock.time_of_day().strftime("%Y%m%dT%H%M%SZ")
    return os.path.join(tempfile.gettempdir(), f"epp-cpu-{os.getpid()}-{now}.txt")


def _write(path: str, mode: str, text: str) -> None:
    with open(path, mode, encoding="utf-8") as file:
        file.write(text)


class _Looks:
    """The CPU time of the thread by what it was doing."""

    def __init__(self) -> None:
        self._spent: Counter[_Stack] = Counter()
        self._names: dict[CodeType, str] = {}
        self._last = time.thread_time_ns()
        self._is_looking = False

    def look(self, _number: int, frame: FrameType | None) -> None:
        """The signal's handler."""
        if self._is_looking:
            return
        self._is_looking = True
        now = time.thread_time_ns()
        self._spent[self._stack(frame)] += now - self._last
        self._last = time.thread_time_ns()
        self._is_looking = False

    def stacks(self) -> dict[tuple[str, ...], int]:
        """Microseconds by the names of the functions."""
        spent: Counter[tuple[str, ...]] = Counter()
        for stack, nanoseconds in self._spent.items():
            names = tuple([self._names[code] for code in stack]) or (EVENT_LOOP,)
            spent[names] += nanoseconds
        return {names: round(nanoseconds / 1e3) for names, nanoseconds in spent.items()}

    def _stack(self, frame: FrameType | None) -> _Stack:
        """What the loop is running, outermost first; nothing where it runs itself."""
        stack: list[CodeType] = []
        begins = frame is not None and frame.f_code.co_code[frame.f_lasti] == _RESUME
        while frame is not None and len(stack) < MAX_DEPTH:
            code = frame.f_code
            if code.co_name in _LOOP_FUNCTIONS and code.co_filename.endswith(_LOOP_FILES):
                break
            stack.append(code)
            if code not in self._names:
                self._names[code] = f"{frame.f_globals.get('__name__', '?')}.{code.co_qualname}"
            frame = frame.f_back
        while stack and stack[-1].co_filename.endswith(_BELOW_CALLBACKS):
            stack.pop()
        if begins and len(stack) == 1:
            return ()
        return tuple(reversed(stack))
