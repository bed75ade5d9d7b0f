"""Time, passed in so that tests can replace it."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """Monotonic seconds for durations, a time of day for what people read."""

    def now(self) -> float:
        """Seconds that never run backwards; the zero point means nothing."""
        return time.monotonic()

    def time_of_day(self) -> datetime:
        """The present moment in UTC."""
        return datetime.now(UTC)
