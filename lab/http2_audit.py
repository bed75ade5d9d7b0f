"""Looks at every frame that our HTTP/2 writes: is it one that a server may send at that point?

Only the order and the shape of frames; windows are what a real client keeps an eye on.

Source: RFC 9113, sections 5.1, 6 and 8.1.
"""

from __future__ import annotations

from enum import Enum, auto

from epp.http2 import frames
from epp.http2.frames import ErrorCode
from epp.http2.sender import MAX_SENT_FRAME_BYTES


class AuditError(Exception):
    """A server must not send this."""


class Told(Enum):
    """How much of an answer a stream has got."""

    HEADERS = auto()
    EVERYTHING = auto()
    RESET = auto()


class Audit:
    """What one connection has written so far."""

    def __init__(self) -> None:
        self._streams: dict[int, Told] = {}
        self._last_id = frames.STREAM_MASK
        self._block_of = 0
        self._block_ends_stream = False
        self._has_settings = False
        self._is_over = False

    def take(self, data: bytes) -> None:
        """The next bytes, which are whole frames as all our writes are.

        Raises:
            AuditError: one of them must not be sent now.
        """
        at = 0
        while at < len(data):
            _expect(len(data) - at >= frames.HEAD_BYTES, "a frame's head is cut")
            high, low, kind, flags, stream_id = frames.read_head(data, at)
            at += frames.HEAD_BYTES
            end = at + (high << 8 | low)
            _expect(end <= len(data), "a frame is cut")
            _expect(end - at <= MAX_SENT_FRAME_BYTES, "a frame is too long")
            self._frame(kind, flags, stream_id, data[at:end])
            at = end

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        _expect(not self._is_over, "something follows the GOAWAY that ended the connection")
        _expect(self._has_settings or kind == frames.SETTINGS, "SETTINGS must come first")
        self._has_settings = True
        if self._block_of or kind == frames.CONTINUATION:
            _expect(
                kind == frames.CONTINUATION and stream_id == self._block_of,
                "only CONTINUATION may stand within a header block, and nowhere else",
            )
            self._end_of_block(flags)
        elif kind in (frames.SETTINGS, frames.PING, frames.GOAWAY):
            _expect(stream_id == 0, "a frame of the connection is on a stream")
            self._of_connection(kind, flags, payload)
        elif kind == frames.WINDOW_UPDATE:
            _expect(frames.increment(payload) > 0, "a window grows by nothing")
            if stream_id:
                self._expect_open(stream_id, "a window")
        else:
            _expect(stream_id & 1 == 1, "a stream of the client's has an odd number")
            self._of_stream(kind, flags, stream_id, payload)

    def _of_connection(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == frames.SETTINGS:
            list(frames.read_settings(payload))
            _expect(not (flags & frames.ACK and payload), "an acknowledgement with settings")
        elif kind == frames.PING:
            _expect(len(payload) == 8, "PING has 8 bytes")
        else:
            last_id, code = frames.read_u32(payload, 0)[0], frames.read_u32(payload, 4)[0]
            _expect(last_id <= self._last_id, "a GOAWAY takes back what an earlier one said")
            self._last_id = last_id
            self._is_over = code != ErrorCode.NO_ERROR

    def _of_stream(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == frames.RST_STREAM:
            _expect(len(payload) == 4, "RST_STREAM has 4 bytes")
            self._streams[stream_id] = Told.RESET
            return
        self._expect_open(stream_id, "more")
        ends = bool(flags & frames.END_STREAM)
        if kind == frames.HEADERS:
            _expect(ends or stream_id not in self._streams, "trailers do not end the stream")
            self._block_of, self._block_ends_stream = stream_id, ends
            self._end_of_block(flags)
        else:
            _expect(kind == frames.DATA, f"a server does not send frames of type {kind}")
            _expect(stream_id in self._streams, "DATA comes before HEADERS")
            if ends:
                self._streams[stream_id] = Told.EVERYTHING

    def _end_of_block(self, flags: int) -> None:
        if flags & frames.END_HEADERS:
            told = Told.EVERYTHING if self._block_ends_stream else Told.HEADERS
            self._streams[self._block_of] = told
            self._block_of = 0

    def _expect_open(self, stream_id: int, what: str) -> None:
        told = self._streams.get(stream_id)
        _expect(told in (None, Told.HEADERS), f"{what} for stream {stream_id}, which is over")


def _expect(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise AuditError(otherwise)
