"""When a connection has lived long enough: handshakes, keepalive, idleness and age.

Plain decisions from times; whoever owns the socket asks about once a second and acts.

Source: gRPC's server keepalive (proposals A8 and A9); RFC 9113, section 6.5.3.
"""

from __future__ import annotations

from enum import Enum, auto

from epp.http2.limits import Limits


class Action(Enum):
    """What is due on a connection."""

    REFUSE = auto()  # it has not said what every peer says first
    PING = auto()  # ask whether anybody is there
    ABORT = auto()  # nobody is, or it outstays its age
    DRAIN = auto()  # let it end in order


class Lifetime:
    """The times of one connection, in seconds of one monotonic clock.

    ``age_factor`` spreads the ends of connections that began together.
    """

    __slots__ = (
        "_busy_at",
        "_drained_at",
        "_heard_at",
        "_limits",
        "_max_age",
        "_opened_at",
        "_pinged_at",
    )

    def __init__(self, limits: Limits, now: float, age_factor: float = 1.0) -> None:
        self._limits = limits
        self._opened_at = now
        self._heard_at = now
        self._busy_at = now
        self._max_age = limits.max_age_seconds * age_factor
        self._pinged_at: float | None = None
        self._drained_at: float | None = None

    def check(self, now: float, *, heard: bool, is_ready: bool, streams: int) -> Action | None:
        """What is due now.

        ``heard``: something came since the last check. ``is_ready``: the handshake is complete.
        ``streams``: how many calls are running.
        """
        limits = self._limits
        if heard:
            self._heard_at = now
            self._pinged_at = None
        if streams:
            self._busy_at = now
        if not is_ready:
            too_late = 0 < limits.handshake_seconds <= now - self._opened_at
            return Action.REFUSE if too_late else None
        return self._keepalive(now) or self._end(now)

    def _keepalive(self, now: float) -> Action | None:
        limits = self._limits
        if self._pinged_at is not None:
            is_gone = now - self._pinged_at >= limits.keepalive_timeout_seconds
            return Action.ABORT if is_gone else None
        if 0 < limits.keepalive_seconds <= now - self._heard_at:
            self._pinged_at = now
            return Action.PING
        return None

    def _end(self, now: float) -> Action | None:
        limits = self._limits
        if self._drained_at is not None:
            grace = limits.max_age_grace_seconds
            return Action.ABORT if 0 < grace <= now - self._drained_at else None
        is_idle = 0 < limits.idle_seconds <= now - self._busy_at
        is_old = 0 < self._max_age <= now - self._opened_at
        if is_idle or is_old:
            self._drained_at = now
            return Action.DRAIN
        return None
