"""A peer for ``Connection`` without sockets: builds frames, and reads what was written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec
from hpack import Decoder, Encoder

from epp.http2 import frames
from epp.http2.connection import Connection
from epp.http2.frames import ErrorCode, Setting
from epp.http2.limits import Limits
from epp.rpc import Call, Message, Service, Status
from lab.http2_audit import Audit

PATH = "/test.Service/Call"
REQUEST = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", PATH),
    (":authority", "test"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
)


class Frame(msgspec.Struct, frozen=True):
    """One frame that the connection wrote."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes


class Recorder:
    """A handler that writes down what it is told; ``on_*`` may answer."""

    def __init__(
        self,
        call: Call,
        on_message: Callable[[Call, Message], None] | None = None,
        on_half_close: Callable[[Call], None] | None = None,
    ) -> None:
        self.call = call
        self.messages: list[bytes] = []
        self.kinds: list[type] = []
        self.events: list[str] = []
        self._on_message = on_message
        self._on_half_close = on_half_close

    def message(self, data: Message) -> None:
        self.messages.append(bytes(data))
        self.kinds.append(type(data))
        self.events.append("message")
        if self._on_message:
            self._on_message(self.call, data)

    def half_closed(self) -> None:
        self.events.append("half-closed")
        if self._on_half_close:
            self._on_half_close(self.call)

    def ended(self) -> None:
        self.events.append("ended")


def echo(call: Call, data: Message) -> None:
    call.send(data)


def finish(call: Call) -> None:
    call.finish()


class Peer:
    """A client and the connection that it talks to; whatever that writes is audited."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        on_message: Callable[[Call, Message], None] | None = echo,
        on_half_close: Callable[[Call], None] | None = finish,
        services: Mapping[str, Service] | None = None,
        settings: Sequence[tuple[Setting, int]] = (),
        greet: bool = True,
    ) -> None:
        self.handlers: list[Recorder] = []
        self.written = bytearray()
        self._audit = Audit()
        self.writes = 0
        self.wakes = 0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.cancelled_timers = 0
        self._encoder = Encoder()
        self._decoder = Decoder()

        def service(call: Call) -> Recorder:
            self.handlers.append(Recorder(call, on_message, on_half_close))
            return self.handlers[-1]

        self.connection = Connection(
            services or {PATH: service},
            limits or Limits(),
            write=self._write,
            wake=self._wake,
            call_later=self._call_later,
        )
        self.connection.flush()
        if greet:
            self.greet(settings)

    @property
    def handler(self) -> Recorder:
        return self.handlers[-1]

    def greet(self, settings: Sequence[tuple[Setting, int]] = ()) -> None:
        """Preface, SETTINGS and the acknowledgement of theirs; forgets what was written so far."""
        self.send(frames.PREFACE, frames.settings(settings), frames.frame(frames.SETTINGS, 1, 0))
        self.frames()

    def send(self, *data: bytes) -> None:
        self.connection.receive(b"".join(data))

    def headers(
        self,
        stream_id: int,
        fields: Sequence[tuple[str, str]] = REQUEST,
        *,
        end: bool = False,
        more: Sequence[tuple[str, str]] = (),
    ) -> bytes:
        block = self._encoder.encode([*fields, *more])
        flags = frames.END_HEADERS | (frames.END_STREAM if end else 0)
        return frames.frame(frames.HEADERS, flags, stream_id, block)

    def open(self, stream_id: int = 1, *, more: Sequence[tuple[str, str]] = ()) -> Recorder:
        self.send(self.headers(stream_id, more=more))
        return self.handler

    def frames(self) -> list[Frame]:
        """What was written since the last call."""
        self.connection.flush()
        data, found = bytes(self.written), []
        self.written.clear()
        while data:
            high, low, kind, flags, stream_id = frames.read_head(data, 0)
            size = high << 8 | low
            found.append(Frame(kind, flags, stream_id, data[9 : 9 + size]))
            assert len(data) >= 9 + size, "a frame is cut"
            data = data[9 + size :]
        return found

    def answers(self, stream_id: int = 1) -> Answer:
        """What the stream was sent since the last look at the connection."""
        answer = Answer()
        for frame in self.frames():
            if frame.kind == frames.HEADERS:
                fields = dict(self._decoder.decode(frame.payload))
                if frame.stream_id == stream_id:
                    answer.fields |= fields
                    answer.is_ended |= bool(frame.flags & frames.END_STREAM)
            elif frame.stream_id != stream_id:
                continue
            elif frame.kind == frames.DATA:
                answer.data += frame.payload
                answer.sizes.append(len(frame.payload))
                answer.is_ended |= bool(frame.flags & frames.END_STREAM)
            elif frame.kind == frames.RST_STREAM:
                answer.reset = ErrorCode(frames.read_u32(frame.payload, 0)[0])
        return answer

    def goaway(self) -> ErrorCode | None:
        """The code of the last GOAWAY that was written since the last look."""
        codes = [f.payload[4:8] for f in self.frames() if f.kind == frames.GOAWAY]
        return ErrorCode(frames.read_u32(codes[-1], 0)[0]) if codes else None

    def _write(self, data: bytes) -> None:
        self._audit.take(data)
        self.written += data
        self.writes += 1

    def _wake(self) -> None:
        self.wakes += 1

    def _call_later(self, seconds: float, call: Callable[[], None]) -> Callable[[], None]:
        self.timers.append((seconds, call))

        def cancel() -> None:
            self.cancelled_timers += 1

        return cancel


class Answer:
    """One stream's answer."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.data = b""
        self.sizes: list[int] = []
        self.is_ended = False
        self.reset: ErrorCode | None = None

    @property
    def status(self) -> Status | None:
        text = self.fields.get("grpc-status")
        return Status(int(text)) if text is not None else None

    @property
    def messages(self) -> list[bytes]:
        return read_messages(self.data)


def message(data: bytes) -> bytes:
    """A gRPC message."""
    return b"\0" + frames.write_u32(len(data)) + data


def read_messages(data: bytes) -> list[bytes]:
    found = []
    while data:
        size = frames.read_u32(data, 1)[0]
        assert data[0] == 0
        assert len(data) >= 5 + size, "a message is cut"
        found.append(data[5 : 5 + size])
        data = data[5 + size :]
    return found


def data(stream_id: int, payload: bytes, *, end: bool = False, flags: int = 0) -> bytes:
    """A DATA frame."""
    return frames.frame(frames.DATA, flags | (frames.END_STREAM if end else 0), stream_id, payload)


def rst(stream_id: int, code: ErrorCode = ErrorCode.NO_ERROR) -> bytes:
    return frames.rst_stream(stream_id, code)


def ping(payload: bytes = b"12345678", *, ack: bool = False) -> bytes:
    return frames.frame(frames.PING, int(ack), 0, payload)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until it holds, ten seconds at most."""
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never came to that")
