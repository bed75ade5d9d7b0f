"""Time, passed in so that tests can replace it."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """Monotonic seconds for durations, a time of day for what people read."""

    def now(self) -> float:
        """Seconds that never run backwards; the zero point means nothing."""
        return time.monotonic()

    def timestamp(self) -> float:
        """The present moment in seconds since 1970; a tenth of the cost of ``time_of_day``."""
        return time.time()  # noqa: TID251  # this is the clock that is passed in

    def time_of_day(self) -> datetime:
        """The present moment in UTC."""
        return datetime.fromtimestamp(self.timestamp(), UTC)
