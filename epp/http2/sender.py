"""The sending side of a connection: frames wait for the turn's end, data waits for windows.

Theory of operation: whatever is sent during one turn of the loop is written at its end, in one
piece. A message goes out at once when both windows and one frame have room for it and nothing of
its stream is queued; otherwise it is queued in its stream, and ``pump`` sends what the windows
allow, one frame per stream in turn. While the socket does not take more, data stays queued and only
control frames are written; a peer that never reads is found out by how much of those there is.

A stream is *ready* while it has something queued and a window; so a window that opens touches only
streams that can use it.

Source: RFC 9113, sections 5.2 and 6.9.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Protocol

from epp.http2.frames import (
    DATA,
    DEFAULT_FRAME_BYTES,
    DEFAULT_WINDOW,
    END_STREAM,
    frame,
    head,
    header_block,
    message_head,
    write_u32,
)
from epp.http2.hpack import NO_TABLE
from epp.rpc import Parts

MAX_SENT_FRAME_BYTES = 65_536
"""Longer frames save nothing, and hold the other streams up."""

MAX_STALLED_BYTES = 4 * 1024 * 1024
"""Control frames and headers for a peer that does not read."""

_WRITE_BYTES = 65_536
_CRUMB_BYTES = 256
_PART_BYTES = 64
_UNCOMPRESSED = b"\0"


class Outgoing(Protocol):
    """What the sender keeps of a stream, in the stream."""

    id: int
    window: int
    queued_bytes: int
    queue: deque[bytes | bytearray | memoryview] | None

    def sent(self) -> None:
        """Some of the queue is gone."""


class Sender:
    """Sends frames of many streams over one connection.

    ``write`` takes bytes for the socket; ``wake`` is called when there is something to ``flush``.
    ``queued_bytes`` is what all streams have queued, ``is_overrun`` tells that the peer does not
    read. ``crumbs`` counts frames that the windows made tiny, one after the other, and that
    completed nothing: an honest peer causes one now and then, when a window comes to its end.
    """

    __slots__ = (
        "_frames",
        "_pending_bytes",
        "_ready",
        "_sent_crumb",
        "_stalled_bytes",
        "_table_update",
        "_wake",
        "_write",
        "crumbs",
        "initial_window",
        "is_overrun",
        "is_paused",
        "max_frame_bytes",
        "queued_bytes",
        "queued_parts",
        "window",
    )

    def __init__(self, write: Callable[[bytes], None], wake: Callable[[], None]) -> None:
        self._write = write
        self._wake = wake
        self._frames: list[bytes | bytearray | memoryview] = []
        self._pending_bytes = 0
        self._ready: OrderedDict[int, Outgoing] = OrderedDict()
        self._stalled_bytes = 0
        self._sent_crumb = False
        self._table_update = b""
        self.window = DEFAULT_WINDOW
        self.initial_window = DEFAULT_WINDOW
        self.max_frame_bytes = DEFAULT_FRAME_BYTES
        self.queued_bytes = 0
        self.queued_parts = 0
        self.crumbs = 0
        self.is_paused = False
        self.is_overrun = False

    @property
    def held_bytes(self) -> int:
        """About the memory of all queues: the bytes, and what it costs to keep them apart."""
        return self.queued_bytes + _PART_BYTES * self.queued_parts

    def control(self, data: bytes) -> None:
        """Send a frame, or several, that no window holds back."""
        if not self._frames:
            self._wake()
        self._frames.append(data)
        self._pending_bytes += len(data)
        if self.is_paused:
            self._stalled_bytes += len(data)
            self.is_overrun = self._stalled_bytes > MAX_STALLED_BYTES

    def headers(self, stream_id: int, block: bytes, *, end: bool) -> None:
        """Send a header block; ``end`` closes our side of the stream."""
        if self._table_update:
            block, self._table_update = self._table_update + block, b""
        self.control(header_block(stream_id, block, end=end))

    def end(self, stream_id: int) -> None:
        """Close our side of the stream without trailers."""
        self.control(frame(DATA, END_STREAM, stream_id))

    def message(self, stream: Outgoing, data: bytes | bytearray) -> None:
        """Send one gRPC message, now or when the windows allow.

        Written at once in the usual case: no queue, no copy until the turn's one write.
        """
        size = len(data)
        framed = size + 5
        if (
            not stream.queued_bytes
            and framed <= stream.window
            and framed <= self.window
            and framed <= self.max_frame_bytes
            and not self.is_paused
        ):
            stream.window -= framed
            self.window -= framed
            frames = self._frames
            if not frames:
                self._wake()
            frames.append(message_head(stream.id, size))
            frames.append(data)
            self._pending_bytes += framed
            if self._pending_bytes > _WRITE_BYTES:
                self.flush()
            return
        self.raw(stream, (_UNCOMPRESSED + write_u32(size), data))

    def message_parts(self, stream: Outgoing, parts: Parts) -> None:
        """Send one gRPC message that comes in parts, without joining them."""
        size = sum(map(len, parts))
        self.raw(stream, (_UNCOMPRESSED + write_u32(size), *parts))

    def raw(self, stream: Outgoing, parts: Parts) -> None:
        """Send bytes as they are."""
        size = sum(map(len, parts))
        queue = stream.queue
        if queue is None:
            queue = stream.queue = deque()
        queue.extend(parts)
        stream.queued_bytes += size
        self.queued_bytes += size
        self.queued_parts += len(parts)
        self.make_ready(stream)
        self.pump()

    def make_ready(self, stream: Outgoing) -> None:
        """Let ``pump`` look at the stream, if it has both something queued and a window."""
        if stream.queued_bytes and stream.window > 0:
            self._ready[stream.id] = stream

    def pump(self) -> None:
        """Send what the windows and the socket allow."""
        ready = self._ready
        while ready and self.window > 0 and not self.is_paused:
            stream_id, stream = ready.popitem(last=False)
            size = min(stream.window, self.window, self.max_frame_bytes, stream.queued_bytes)
            if size <= 0:
                continue
            if self._send_piece(stream, size) or size >= _CRUMB_BYTES:
                self._sent_crumb = False
            else:
                self.crumbs += self._sent_crumb
                self._sent_crumb = True
            if stream.queued_bytes and stream.window > 0:
                ready[stream_id] = stream
            stream.sent()

    def forget(self, stream: Outgoing) -> None:
        """Drop what the stream has queued."""
        self._ready.pop(stream.id, None)
        if stream.queued_bytes:
            self.queued_bytes -= stream.queued_bytes
            self.queued_parts -= len(stream.queue or ())
            stream.queued_bytes = 0
            stream.queue = None

    def flush(self) -> None:
        """Write what has come together."""
        frames = self._frames
        if frames:
            data = b"".join(frames)
            frames.clear()
            self._pending_bytes = 0
            self._write(data)

    def pause(self) -> None:
        """The socket does not take more."""
        self.is_paused = True

    def resume(self) -> None:
        """The socket takes more again."""
        self.is_paused = self.is_overrun = False
        self._stalled_bytes = 0
        self.pump()

    def limit_table(self) -> None:
        """The peer set the size of our header table, which is empty: say so in the next block."""
        self._table_update = NO_TABLE

    def _send_piece(self, stream: Outgoing, size: int) -> bool:
        """Send so many bytes of the queue; whether they complete something of what was queued."""
        stream.window -= size
        self.window -= size
        stream.queued_bytes -= size
        self.queued_bytes -= size
        if not self._frames:
            self._wake()
        frames, queue = self._frames, stream.queue
        assert queue is not None, "what is ready has something queued"
        frames.append(head(DATA, 0, stream.id, size))
        self._pending_bytes += size
        left, completes = size, False
        while left:
            part = queue.popleft()
            if len(part) > left:
                view = memoryview(part)
                queue.appendleft(view[left:])
                part = view[:left]
            else:
                completes = True
                self.queued_parts -= 1
            frames.append(part)
            left -= len(part)
        if self._pending_bytes > _WRITE_BYTES:
            self.flush()
        return completes
