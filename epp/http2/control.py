"""The frames that carry no part of a request: SETTINGS, PING, WINDOW_UPDATE and their like.

Source: RFC 9113, sections 6.3 to 6.9.
"""

from __future__ import annotations

from collections.abc import Callable

from epp.http2 import frames
from epp.http2.frames import ACK, ErrorCode, Http2Error, Setting
from epp.http2.limits import StrikeBudget
from epp.http2.sender import MAX_SENT_FRAME_BYTES, Sender
from epp.http2.streams import Ended, Streams

_DRAIN_PING = b"drainnow"
_ALIVE_PING = b"alive???"


class ControlFrames:
    """Acts on control frames, and sends those that we begin with.

    ``is_acknowledged``: the peer knows our SETTINGS. ``may_close``: it knows that we take no more
    streams, and every stream that it opened before is here.
    """

    __slots__ = (
        "_is_draining",
        "_pings",
        "_sender",
        "_streams",
        "_window_at_ping",
        "is_acknowledged",
        "may_close",
    )

    def __init__(self, sender: Sender, streams: Streams, max_strikes: int) -> None:
        self._sender = sender
        self._streams = streams
        self._pings = StrikeBudget(max_strikes)
        self._window_at_ping = sender.window
        self._is_draining = False
        self.is_acknowledged = False
        self.may_close = False

    def act(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Do what the frame demands; one of an unknown type demands nothing.

        Raises:
            Http2Error: it breaks a rule that ends the connection.
        """
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, flags, stream_id, payload)

    def drain(self) -> None:
        """Take no more streams; those that are on their way now, and the running ones, go on.

        The first GOAWAY excludes nothing; what the peer sends before it answers the PING was sent
        before it knew.
        """
        if not self._is_draining:
            self._is_draining = True
            self._sender.control(
                frames.goaway(frames.MAX_WINDOW, ErrorCode.NO_ERROR)
                + frames.frame(frames.PING, 0, 0, _DRAIN_PING)
            )

    def ping(self) -> None:
        """Ask whether the peer is still there."""
        self._sender.control(frames.frame(frames.PING, 0, 0, _ALIVE_PING))

    def earn(self) -> None:
        """Data came: the peer may ping once more."""
        self._pings.earn()

    def refill(self, now: float) -> None:
        """Let time forgive pings; ``now`` is in seconds."""
        self._pings.refill(now)

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & ACK:
            if payload:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement with settings")
            self.is_acknowledged = True
            return
        # first, for each setting may touch every stream
        self._streams.strike(1 + len(payload) / 6 * len(self._streams.running) / 100)
        for key, value in frames.read_settings(payload):
            if key == Setting.HEADER_TABLE_SIZE:
                self._sender.limit_table()
            elif key == Setting.INITIAL_WINDOW_SIZE:
                self._set_initial_window(value)
            elif key == Setting.MAX_FRAME_SIZE:
                self._sender.max_frame_bytes = min(value, MAX_SENT_FRAME_BYTES)
        self._sender.control(frames.frame(frames.SETTINGS, ACK, 0))
        self._sender.pump()

    def _set_initial_window(self, value: int) -> None:
        sender = self._sender
        change = value - sender.initial_window
        sender.initial_window = value
        for stream in self._streams.running.values():
            stream.window += change
            if stream.window > frames.MAX_WINDOW:
                raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is too large")
            sender.make_ready(stream)

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "PING has 8 bytes")
        if not flags & ACK:
            window = self._sender.window
            if window != self._window_at_ping:
                self._window_at_ping = window  # data of ours is on its way, and may be measured
            elif not self._pings.spend():
                raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "too many pings")
            self._sender.control(frames.frame(frames.PING, ACK, 0, payload))
        elif payload == _DRAIN_PING and self._is_draining:
            self._sender.control(frames.goaway(self._streams.last_id, ErrorCode.NO_ERROR))
            self.may_close = True

    def _goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY has at least 8 bytes")

    def _window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        increment = frames.increment(payload)
        sender = self._sender
        if not stream_id:
            if not increment:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
            sender.window += increment
            self._window_at_ping += increment
            if sender.window > frames.MAX_WINDOW:
                raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "the window is too large")
            sender.pump()
            return
        stream = self._streams.running.get(stream_id)
        if stream is None:
            self._streams.check_used(stream_id, "WINDOW_UPDATE")
        elif not increment:
            self._streams.reset(stream_id, ErrorCode.PROTOCOL_ERROR)
        elif stream.window + increment > frames.MAX_WINDOW:
            self._streams.reset(stream_id, ErrorCode.FLOW_CONTROL_ERROR)
        else:
            stream.window += increment
            sender.make_ready(stream)
            sender.pump()

    def _rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM has 4 bytes")
        self._streams.check_used(stream_id, "RST_STREAM")
        stream = self._streams.running.get(stream_id)
        if stream is None:
            return
        is_young = stream.opened_at_tick >= self._streams.ticks - 1
        if is_young and not stream.is_half_closed and not stream.has_answered:
            self._streams.strike()
        stream.close()
        self._streams.remember(stream_id, Ended.BY_PEER)

    def _priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "PRIORITY without a stream")
        self._streams.strike()
        if len(payload) != 5:
            self._streams.reset(stream_id, ErrorCode.FRAME_SIZE_ERROR)
        elif frames.depends_on(payload) == stream_id:
            self._streams.reset(stream_id, ErrorCode.PROTOCOL_ERROR)

    def _push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise Http2Error(ErrorCode.PROTOCOL_ERROR, "clients do not push")


_HANDLERS: dict[int, Callable[[ControlFrames, int, int, bytes], None]] = {
    frames.PRIORITY: ControlFrames._priority,
    frames.RST_STREAM: ControlFrames._rst_stream,
    frames.SETTINGS: ControlFrames._settings,
    frames.PUSH_PROMISE: ControlFrames._push_promise,
    frames.PING: ControlFrames._ping,
    frames.GOAWAY: ControlFrames._goaway,
    frames.WINDOW_UPDATE: ControlFrames._window_update,
}
