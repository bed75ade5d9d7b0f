"""One HTTP/2 connection, server side, without I/O: bytes in, calls of services, bytes out.

Theory of operation
-------------------
What a frame may do depends on the state of its stream::

    frame          idle        open        half-closed   ended       reset by us   reset by peer
    HEADERS        opens it    trailers    S closed      C closed    ignored       S closed
    DATA           C protocol  taken       S closed      C closed    ignored       S closed
    RST_STREAM     C protocol  ends it     ends it       ignored     ignored       ignored
    WINDOW_UPDATE  C protocol  taken       taken         ignored     ignored       ignored

"S" is an error of the stream, "C" one of the connection; "closed" and "protocol" are STREAM_CLOSED
and PROTOCOL_ERROR. *idle* is a number above all that were used, *half-closed* a stream whose
request is complete, *ended* one that both sides ended in order; what crosses our own reset on its
way is ignored. A number that was passed over, or whose end is forgotten, is "C protocol" for
HEADERS, and for the others as if the peer had reset it. PRIORITY changes nothing; unknown types are
ignored.

A connection error sends GOAWAY and sets ``is_dead``; whoever owns the socket then closes it. Frames
that serve nothing are counted against a ``StrikeBudget``. Nothing here depends on how the bytes
were cut on their way.

Source: RFC 9113, sections 5 and 6.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from epp.http2 import frames
from epp.http2.control import ControlFrames
from epp.http2.frames import (
    END_STREAM,
    PADDED,
    ErrorCode,
    Http2Error,
    Setting,
)
from epp.http2.headers import HeaderFields, read_fields
from epp.http2.hpack import BlockCache, HeaderDecoder, HpackError
from epp.http2.limits import Limits
from epp.http2.reader import FrameReader
from epp.http2.sender import Sender
from epp.http2.stream import Stream
from epp.http2.streams import Ended, Streams
from epp.http2.window import ReceiveWindow
from epp.rpc import Services, Status


class ConnectionFailure(msgspec.Struct, frozen=True):
    """Why a connection was given up."""

    code: ErrorCode
    text: str


class Connection:
    """The protocol of one connection.

    ``write`` takes bytes for the socket, ``wake`` asks for a call of ``flush`` soon, ``call_later``
    runs a function after so many seconds and returns how to cancel that. ``is_dead`` means that the
    socket has to be closed once everything is written, ``is_done`` that it may be.
    """

    def __init__(
        self,
        services: Services,
        limits: Limits,
        *,
        write: Callable[[bytes], None],
        wake: Callable[[], None],
        call_later: Callable[[float, Callable[[], None]], Callable[[], None]],
    ) -> None:
        self.limits = limits
        self.sender = Sender(write, self._wanted)
        self.partial_bytes = 0
        self.is_dead = False
        self.failure: ConnectionFailure | None = None
        self._services = services
        self._wake = wake
        self._call_later = call_later
        self._in_turn = False
        self._reader = FrameReader(limits.max_header_bytes)
        self._headers = BlockCache(HeaderDecoder(limits.max_header_bytes), read_fields)
        self._streams = Streams(self.sender, limits.max_strikes)
        self._control = ControlFrames(self.sender, self._streams, limits.max_strikes)
        self._window = ReceiveWindow(limits.connection_window_bytes)
        self._crumbs = 0
        self._head_bytes = 0
        self._heard = False
        self.sender.control(
            frames.settings(
                (
                    (Setting.MAX_CONCURRENT_STREAMS, limits.max_streams),
                    (Setting.INITIAL_WINDOW_SIZE, limits.stream_window_bytes),
                    (Setting.MAX_HEADER_LIST_SIZE, limits.max_header_bytes),
                )
            )
            + frames.window_update(0, limits.connection_window_bytes - frames.DEFAULT_WINDOW)
        )

    # What the owner of the socket calls.

    @property
    def streams(self) -> int:
        """How many calls are running."""
        return len(self._streams.running)

    @property
    def last_stream(self) -> int:
        """The number of the newest stream; 0 while there was none."""
        return self._streams.last_id

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do after ``drain``."""
        return self._control.may_close and not self._streams.running

    @property
    def is_ready(self) -> bool:
        """Whether the peer has begun properly: preface, SETTINGS, and our SETTINGS acknowledged."""
        return self._reader.has_settings and self._control.is_acknowledged

    def receive(self, data: bytes) -> None:
        """Take what came from the socket and do what is due; never raises for what a peer sends."""
        if self.is_dead:
            return
        self._heard = True
        self._in_turn = True
        try:
            self._read(data)
            self._end_of_turn()
        except Http2Error as error:
            self.fail(error.code, str(error))
        except HpackError as error:
            self.fail(ErrorCode.COMPRESSION_ERROR, str(error))
        finally:
            self._in_turn = False
        self.sender.flush()

    def flush(self) -> None:
        """Write what was sent outside of ``receive``."""
        self.sender.flush()

    def lost(self) -> None:
        """The socket is gone."""
        self.is_dead = True
        for stream in self._streams.all():
            stream.close()

    def drain(self) -> None:
        """Take no more streams; those that are on their way now, and the running ones, go on."""
        if not self.is_dead:
            self._control.drain()

    def ping(self) -> None:
        """Ask whether the peer is still there."""
        if not self.is_dead:
            self._control.ping()

    def finish_all(self, status: Status, text: str) -> None:
        """End every running call with this status."""
        for stream in self._streams.all():
            stream.abandon(status, text)

    def heard(self) -> bool:
        """Whether anything came since the last call."""
        heard, self._heard = self._heard, False
        return heard

    def refill(self, now: float) -> None:
        """Let time forgive strikes; ``now`` is in seconds."""
        self._streams.refill(now)
        self._control.refill(now)

    def pause(self) -> None:
        """The socket does not take more."""
        self.sender.pause()

    def resume(self) -> None:
        """The socket takes more again."""
        self.sender.resume()
        if not self.is_dead:
            self._credit()

    def fail(self, code: ErrorCode, text: str) -> None:
        """Give the connection up."""
        if self.is_dead:
            return
        if code is not ErrorCode.NO_ERROR:
            self.failure = ConnectionFailure(code, text)
        self.sender.control(frames.goaway(self._streams.last_id, code, text))
        self.lost()

    # What streams call.

    def closed(self, stream: Stream) -> None:
        """Forget a stream, but not at once how it ended."""
        self._head_bytes -= stream.head.size_bytes
        self._streams.end(stream)
        if self.is_done:
            self._wanted()

    def _wanted(self) -> None:
        if not self._in_turn:
            self._wake()

    # What frames do.

    def _read(self, data: bytes) -> None:
        for kind, flags, stream_id, payload, start, end in self._reader.read(data):
            if kind == frames.DATA:
                self._data(flags, stream_id, payload, start, end)
            elif kind == frames.HEADERS:
                self._headers_frame(flags, stream_id, payload)
            else:
                self._control.act(kind, flags, stream_id, payload)
            if self.is_dead:
                return

    def _end_of_turn(self) -> None:
        sender = self.sender
        self._credit()
        if sender.crumbs > self._crumbs:
            self._streams.strike(sender.crumbs - self._crumbs)
            self._crumbs = sender.crumbs
        if sender.is_overrun:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "you do not read our answers")

    def _credit(self) -> None:
        """Allow the peer more bytes, unless it leaves too many of ours unread."""
        if self._window.is_due and self.sender.held_bytes < self.limits.max_unsent_total_bytes:
            self.sender.control(frames.window_update(0, self._window.refill()))

    def _data(self, flags: int, stream_id: int, data: bytes, start: int, end: int) -> None:
        size = end - start
        if not self._window.take(size):
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "more than the connection's window")
        stream = self._streams.running.get(stream_id)
        if stream is None or stream.is_half_closed:
            self._stray_data(stream_id, stream)
            return
        if not stream.receive_window.take(size):
            self._streams.reset(stream_id, ErrorCode.FLOW_CONTROL_ERROR)
            return
        if flags & PADDED:
            start, end = frames.without_padding(data, start, end)
        ends = bool(flags & END_STREAM)
        if not stream.takes_content(end - start, ends=ends):
            self._streams.reset(stream_id, ErrorCode.PROTOCOL_ERROR)
            return
        stream.is_half_closed = ends  # before a handler may end the call
        if start < end:
            stream.data(data, start, end)
            self._control.earn()
        elif not ends:
            self._streams.strike()
        if stream.receive_window.is_due:
            stream.credit()
        if ends:
            stream.half_closed()

    def _stray_data(self, stream_id: int, stream: Stream | None) -> None:
        """DATA on a stream that takes none."""
        self._streams.check_used(stream_id, "DATA")
        how = None if stream else self._streams.how_ended(stream_id)
        if how is Ended.IN_ORDER:
            raise Http2Error(ErrorCode.STREAM_CLOSED, "DATA on a closed stream")
        if how is not Ended.BY_US:
            self._streams.reset(stream_id, ErrorCode.STREAM_CLOSED)

    def _headers_frame(self, flags: int, stream_id: int, block: bytes) -> None:
        if not stream_id & 1:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "clients open streams of odd numbers")
        head = self._headers.read(block)
        if self._reader.depends_on_itself:
            self._streams.last_id = max(self._streams.last_id, stream_id)
            self._streams.reset(stream_id, ErrorCode.PROTOCOL_ERROR)
            return
        stream = self._streams.running.get(stream_id)
        if stream is not None:
            self._trailers(stream, head, flags)
        elif stream_id <= self._streams.last_id:
            self._late_headers(stream_id)
        else:
            self._streams.last_id = stream_id
            self._open(stream_id, head, ends=bool(flags & END_STREAM))

    def _trailers(self, stream: Stream, head: HeaderFields, flags: int) -> None:
        if stream.is_half_closed:
            self._streams.reset(stream.id, ErrorCode.STREAM_CLOSED)
            return
        is_good = flags & END_STREAM and head.are_trailers
        if not is_good or not stream.takes_content(0, ends=True):
            self._streams.reset(stream.id, ErrorCode.PROTOCOL_ERROR)
        else:
            stream.is_half_closed = True
            stream.half_closed()

    def _late_headers(self, stream_id: int) -> None:
        """HEADERS on a stream that is no more."""
        match self._streams.how_ended(stream_id):
            case Ended.BY_PEER:
                self._streams.reset(stream_id, ErrorCode.STREAM_CLOSED)
            case Ended.IN_ORDER:
                raise Http2Error(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")
            case None:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "the stream's number was passed over")

    def _open(self, stream_id: int, head: HeaderFields, *, ends: bool) -> None:
        if head.is_malformed or not head.is_request:
            self._streams.reset(stream_id, ErrorCode.PROTOCOL_ERROR)
            return
        if head.content_length is not None and (
            head.content_length < 0 or (ends and head.content_length > 0)
        ):
            self._streams.reset(stream_id, ErrorCode.PROTOCOL_ERROR)
            return
        limits, head_bytes = self.limits, self._head_bytes + head.size_bytes
        if (
            len(self._streams.running) >= limits.max_streams
            or head_bytes > limits.max_partial_bytes
            or self._control.may_close
        ):
            self._refuse(stream_id)
            return
        self._head_bytes = head_bytes
        stream = self._streams.running[stream_id] = Stream(self, stream_id, head)
        stream.opened_at_tick = self._streams.ticks
        stream.is_half_closed = ends
        if head.is_grpc:
            self._start(stream, head)
        if ends:
            stream.half_closed()

    def _refuse(self, stream_id: int) -> None:
        """Too many streams: a strike only of a peer that knows how many there may be."""
        if self._control.is_acknowledged:
            self._streams.reset(stream_id, ErrorCode.REFUSED_STREAM)
        else:
            self.sender.control(frames.rst_stream(stream_id, ErrorCode.REFUSED_STREAM))
            self._streams.remember(stream_id, Ended.BY_US)

    def _start(self, stream: Stream, head: HeaderFields) -> None:
        service = self._services.get(head.path)
        if service is None:
            stream.finish(Status.UNIMPLEMENTED, f"unknown method {head.path}")
            return
        if head.timeout_seconds is not None:
            stream.cancel_timer = self._call_later(head.timeout_seconds, stream.expire)
        stream.open(service)
