"""Breaks off calls that take far too long, by a timer of the operating system.

Theory of operation. A call notes in ``running`` when it has to be over, and takes the note away at
its end. The timer is not set for every call, which would cost two system calls: a call sets it only
where it would not go off in time anyhow. When it goes off (SIGALRM), the handler looks at the note.
No call runs: nothing happens until the next one. The call has time left, because the timer was set
by one before it: the timer is set for the rest. Otherwise the handler raises.

Python runs a handler between two steps of the main thread's code, and tells it which frame that was
in. Only code that was called by ``limited`` is interrupted, never ``limited`` itself: the note is
taken away whatever happens, and nothing can be raised once the call has returned. What does not
come back to Python code (a long call into C) or swallows the exception cannot be broken off; the
timer comes again, and the log tells.
"""

from __future__ import annotations

import functools
import logging
import math
import signal
import threading
from asyncio import CancelledError
from collections.abc import Callable
from time import monotonic
from types import FrameType
from typing import Any

import msgspec

from epp.core.call import PluginOverrunError
from epp.core.plugin import Plugin

AGAIN_SECONDS = 0.05
"""How long after an exception the next one comes, if the call goes on."""

TICK_SECONDS = 0.001
"""How long to wait where the present moment is no good one."""

LOG_SECONDS = 60.0

logger = logging.getLogger("plugins")


class Call(msgspec.Struct, eq=False, gc=False):
    """A call that is under way; ``outer`` is the one that it is a part of. Monotonic seconds."""

    started: float
    deadline: float
    plugin: Plugin
    method: str
    outer: Call | None


class Alarm:
    """The timer of the main thread; there is one SIGALRM in a process, so there is one of it."""

    def __init__(self) -> None:
        self.running: Call | None = None
        self.due = 0.0
        self._stopped: Call | None = None
        self._logged_at = -math.inf
        self._thread = threading.main_thread().ident

    def install(self) -> bool:
        """Take SIGALRM; False where this is not the main thread, which alone can."""
        if threading.get_ident() != self._thread:
            return False
        if signal.getsignal(signal.SIGALRM) != self._went_off:
            signal.signal(signal.SIGALRM, self._went_off)
            signal.siginterrupt(signal.SIGALRM, False)
        return True

    def arm(self, seconds: float) -> None:
        """Go off so long from now."""
        self.due = monotonic() + seconds
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def limit(
        self, method: Callable[..., Any], plugin: Plugin, name: str, hard_limit_seconds: float
    ) -> Callable[..., Any]:
        """The plugin's method ``name``, broken off after so long; other threads only survive it."""
        thread, survived = self._thread, survive(method)

        @functools.wraps(method)
        def limited(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != thread:
                return survived(*args, **kwargs)
            outer = self.running
            try:
                started = monotonic()
                deadline = started + hard_limit_seconds
                self.running = Call(started, deadline, plugin, name, outer)
                if not started <= self.due <= deadline:
                    self.arm(hard_limit_seconds)
                result = method(*args, **kwargs)
                # What is lazy is worked out here: elsewhere nobody would watch it.
                return tuple(result) if hasattr(result, "__next__") else result
            except Exception:
                raise
            except BaseException as error:
                raise tamed(error) from None
            finally:
                self.running = outer

        return limited

    def _went_off(self, _number: int, frame: FrameType | None) -> None:
        call = self.running
        if call is None:
            self.due = 0.0
            self._stopped = None
            return
        now = monotonic()
        if not _is_below_limited(frame):
            self.arm(TICK_SECONDS)
        elif now < call.deadline:
            # One around it that is late gets its turn as soon as this one is over.
            self.arm(TICK_SECONDS if _is_within_late_call(call, now) else call.deadline - now)
        else:
            self.arm(AGAIN_SECONDS)
            if call is self._stopped:
                self._tell(call, now)
            self._stopped = call
            raise PluginOverrunError(now - call.started)

    def _tell(self, call: Call, now: float) -> None:
        if now - self._logged_at < LOG_SECONDS:
            return
        self._logged_at = now
        fields = {
            "plugin": call.plugin.name,
            "type": call.plugin.type,
            "method": call.method,
            "seconds": round(now - call.started, 3),
        }
        logger.error("A plugin cannot be stopped", extra={"fields": fields})


def survive(method: Callable[..., Any]) -> Callable[..., Any]:
    """``method`` that cannot end the process: SystemExit and its like become RuntimeError."""

    @functools.wraps(method)
    def survived(*args: Any, **kwargs: Any) -> Any:
        try:
            result = method(*args, **kwargs)
            return tuple(result) if hasattr(result, "__next__") else result
        except Exception:
            raise
        except BaseException as error:
            raise tamed(error) from None

    return survived


def tamed(error: BaseException) -> BaseException:
    """What stands for an exception that ends more than a call; a cancelled task's is meant to."""
    if isinstance(error, CancelledError):
        return error
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return RuntimeError(text).with_traceback(error.__traceback__)


def _is_below_limited(frame: FrameType | None) -> bool:
    """Whether the frame was called by ``limited``, and is not one itself."""
    is_first = True
    while frame is not None:
        if frame.f_code.co_name == "limited" and frame.f_globals is globals():
            return not is_first
        frame, is_first = frame.f_back, False
    return False


def _is_within_late_call(call: Call, now: float) -> bool:
    outer = call.outer
    while outer is not None:
        if outer.deadline <= now:
            return True
        outer = outer.outer
    return False
