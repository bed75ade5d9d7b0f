"""Notices when the event loop comes late: something kept the picker's only thread to itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from epp.core.clock import Clock

INTERVAL_SECONDS = 0.1
WARN_FROM_SECONDS = 1.0
WARN_EVERY_SECONDS = 10.0
_MAX_MISSED = 100

logger = logging.getLogger("watchdog")


async def watch_loop(report: Callable[[float], None], clock: Clock) -> None:
    """Report, ten times a second, how many seconds late the loop came to it; until cancelled.

    A tick that fell into a delay is reported too, with what it had to wait: one stop of a second
    would else be one report among many, however many requests it held up. A delay of more than a
    second is logged, the worst of ten seconds at a time. Costs 0.1 ms of CPU time per second.

    The loop's timers are whole milliseconds, so half a millisecond means nothing.
    """
    due = clock.now()
    worst = quiet_until = 0.0
    while True:
        due += INTERVAL_SECONDS
        await asyncio.sleep(max(0.0, due - clock.now()))
        now = clock.now()
        late = max(0.0, now - due)
        report(late)
        missed = min(int(late / INTERVAL_SECONDS), _MAX_MISSED)
        for i in range(1, missed + 1):
            report(late - i * INTERVAL_SECONDS)
        if missed:
            due = now
        if late > WARN_FROM_SECONDS:
            worst = max(worst, late)
        if worst and now >= quiet_until:
            logger.warning(
                "The event loop was blocked", extra={"fields": {"seconds": round(worst, 3)}}
            )
            worst, quiet_until = 0.0, now + WARN_EVERY_SECONDS
