"""What one peer may use, and the budget that tells a busy peer from a hostile one."""

from __future__ import annotations

import msgspec

MIB = 1024 * 1024


class Limits(msgspec.Struct, frozen=True):
    """Bounds of one connection; a time of 0 means never.

    ``max_streams`` run at once (more are refused). A message may have ``max_message_bytes``, all
    unfinished messages of a connection together ``max_partial_bytes``, and so may the header fields
    of its running calls (more calls are refused). A stream with ``max_unsent_bytes`` that the peer
    does not take gets no more window, a connection with ``max_unsent_total_bytes`` neither; so
    memory stays below these plus the two windows, and what the services keep. ``max_strikes`` is
    the budget for frames that cost us something and serve nothing. Both windows are over 65,535
    bytes, which a peer may send before it has read what we allow.
    """

    max_streams: int = 100_000
    max_message_bytes: int = 64 * MIB
    max_partial_bytes: int = 512 * MIB
    max_unsent_bytes: int = MIB // 4
    max_unsent_total_bytes: int = 64 * MIB
    max_header_bytes: int = 64 * 1024
    max_strikes: int = 1000
    stream_window_bytes: int = MIB
    connection_window_bytes: int = 16 * MIB
    handshake_seconds: float = 10.0
    idle_seconds: float = 0.0
    keepalive_seconds: float = 60.0
    keepalive_timeout_seconds: float = 20.0
    max_age_seconds: float = 0.0
    max_age_grace_seconds: float = 0.0


class StrikeBudget:
    """How many useless frames a peer may still send: so many at once, a tenth of that per second.

    What counts: SETTINGS, PRIORITY, DATA without data, streams that are reset within a second or
    two and before anything was answered, frames that make us reset a stream, and windows that let
    us send only crumbs. What does not: resetting a stream that was half-closed or answered, as
    Envoy does at the end of every stream, or one that has waited, as when many clients leave.
    Pings have a budget of their own, as clients that measure the bandwidth ping once per round trip
    while data flows: every DATA frame of theirs adds to it, and a ping after data of ours is free.

    Source: CVE-2019-9511 to -9518, CVE-2023-44487, CVE-2025-8671.
    """

    __slots__ = ("_left", "_limit", "_refilled_at")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = float(limit)
        self._refilled_at: float | None = None

    def spend(self, strikes: float = 1.0) -> bool:
        """Take a strike; False when none is left."""
        self._left -= strikes
        return self._left >= 0

    def earn(self) -> None:
        """A useful frame gives one back."""
        if self._left < self._limit:
            self._left += 1

    def refill(self, now: float) -> None:
        """Give back what time has earned since the last call; ``now`` is in seconds."""
        if self._refilled_at is not None:
            earned = (now - self._refilled_at) * self._limit / 10
            self._left = min(float(self._limit), self._left + earned)
        self._refilled_at = now
