"""Which streams of a connection run, and how those ended that are no more.

Source: RFC 9113, section 5.1.
"""

from __future__ import annotations

from enum import Enum, auto

from epp.http2.frames import ErrorCode, Http2Error, rst_stream
from epp.http2.limits import StrikeBudget
from epp.http2.sender import Sender
from epp.http2.stream import Stream

_REMEMBERED = 1000


class Ended(Enum):
    """How a stream came to its end."""

    IN_ORDER = auto()
    BY_US = auto()
    BY_PEER = auto()


class Streams:
    """The streams by their numbers; ``last_id`` is the highest that the peer has used.

    How a stream ended is remembered for the last thousand or two: enough for frames that crossed
    our reset on their way.
    """

    __slots__ = ("_before", "_ended", "_sender", "_strikes", "last_id", "running", "ticks")

    def __init__(self, sender: Sender, max_strikes: int) -> None:
        self._sender = sender
        self._strikes = StrikeBudget(max_strikes)
        self.ticks = 0
        self.running: dict[int, Stream] = {}
        self.last_id = 0
        self._ended: dict[int, Ended] = {}
        self._before: dict[int, Ended] = {}

    def all(self) -> list[Stream]:
        """Those that run now; they may end while the list is walked through."""
        return list(self.running.values())

    def check_used(self, stream_id: int, what: str) -> None:
        """The peer must have opened the stream before.

        Raises:
            Http2Error: it has not; ``what`` says what came.
        """
        if not stream_id & 1 or stream_id > self.last_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, f"{what} on an idle stream")

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        """End a stream because of what the peer did.

        Raises:
            Http2Error: it did so too often, or the stream is idle and cannot be reset.
        """
        stream = self.running.get(stream_id)
        if stream is not None:
            stream.reset(code)
        elif not stream_id & 1 or stream_id > self.last_id:
            raise Http2Error(code, "a wrong frame on an idle stream")
        else:
            self._sender.control(rst_stream(stream_id, code))
        self.remember(stream_id, Ended.BY_US)
        self.strike()

    def strike(self, count: float = 1.0) -> None:
        """The peer did something that serves nothing.

        Raises:
            Http2Error: once too often.
        """
        if not self._strikes.spend(count):
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that serve nothing")

    def refill(self, now: float) -> None:
        """Let time forgive strikes, about once a second; ``now`` is in seconds."""
        self._strikes.refill(now)
        self.ticks += 1

    def end(self, stream: Stream) -> None:
        """The stream is over, on our side at least."""
        self.running.pop(stream.id, None)
        self.remember(stream.id, Ended.IN_ORDER if stream.is_half_closed else Ended.BY_US)

    def remember(self, stream_id: int, how: Ended) -> None:
        """Keep in mind how the stream ended."""
        self._ended[stream_id] = how
        if len(self._ended) >= _REMEMBERED:
            self._before, self._ended = self._ended, {}

    def how_ended(self, stream_id: int) -> Ended | None:
        """None where that is forgotten, or the number was passed over."""
        return self._ended.get(stream_id) or self._before.get(stream_id)
