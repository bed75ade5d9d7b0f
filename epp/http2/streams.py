"""Which streams of a connection run, and how those ended that are no more.

Source: RFC 9113, section 5.1.
"""

from __future__ import annotations

from enum import Enum, auto

from epp.http2.frames import ErrorCode, Http2Error
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

    __slots__ = ("_before", "_ended", "last_id", "running")

    def __init__(self) -> None:
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
        if not stream_id or stream_id > self.last_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, f"{what} on an idle stream")

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
