from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.http2 import frames
from epp.http2.sender import MAX_STALLED_BYTES, Sender
from tests.http2.wire import read_messages


class FakeStream:
    def __init__(self, stream_id: int, window: int) -> None:
        self.id = stream_id
        self.window = window
        self.queued_bytes = 0
        self.queue: deque[bytes | bytearray | memoryview] | None = None
        self.told = 0

    def sent(self) -> None:
        self.told += 1


class Wire:
    def __init__(self) -> None:
        self.data = bytearray()
        self.writes: list[int] = []
        self.wakes = 0
        self.sender = Sender(self._write, self._wake)

    def _write(self, data: bytes) -> None:
        self.data += data
        self.writes.append(len(data))

    def _wake(self) -> None:
        self.wakes += 1

    def bodies(self) -> list[tuple[int, bytes]]:
        """Stream and payload of each DATA frame that was written."""
        self.sender.flush()
        found, data = [], bytes(self.data)
        while data:
            high, low, kind, _, stream_id = frames.read_head(data, 0)
            size = high << 8 | low
            if kind == frames.DATA:
                found.append((stream_id, data[9 : 9 + size]))
            data = data[9 + size :]
        self.data.clear()
        return found


@given(
    st.lists(st.binary(max_size=300), max_size=8),
    st.lists(st.integers(1, 400), max_size=40),
    st.booleans(),
)
def test_every_byte_arrives_in_order_whatever_the_windows(
    messages: list[bytes], updates: list[int], in_parts: bool
) -> None:
    wire = Wire()
    stream = FakeStream(1, 0)
    received = b""
    for data in messages:
        if in_parts:
            wire.sender.message_parts(stream, [data[:7], memoryview(data)[7:]])
        else:
            wire.sender.message(stream, data)
    allowed = 0
    for update in [*updates, 10_000]:
        allowed += update
        stream.window += update
        wire.sender.make_ready(stream)
        wire.sender.pump()
        received += b"".join(payload for _, payload in wire.bodies())
        assert len(received) <= allowed
    assert read_messages(received) == messages
    assert (stream.queued_bytes, wire.sender.queued_bytes) == (0, 0)


def test_streams_take_turns() -> None:
    wire = Wire()
    wire.sender.window = 1 << 30
    streams = [FakeStream(n, 0) for n in (1, 3, 5)]
    for stream in streams:
        wire.sender.message(stream, b"x" * 40_000)
    for stream in streams:
        stream.window = 1 << 20
        wire.sender.make_ready(stream)
    wire.sender.pump()
    assert [stream_id for stream_id, _ in wire.bodies()] == [1, 3, 5] * 3


def test_one_turn_is_one_write_until_it_grows_long() -> None:
    wire = Wire()
    wire.sender.window = 1 << 30
    stream = FakeStream(1, 1 << 30)
    for _ in range(10):
        wire.sender.message(stream, b"x" * 100)
    assert wire.wakes == 1
    assert wire.writes == []
    for _ in range(100):
        wire.sender.message(stream, b"x" * 1000)
    assert wire.writes
    assert max(wire.writes) < 70_000


def test_a_paused_socket_holds_data_back_and_lets_control_frames_through() -> None:
    wire = Wire()
    stream = FakeStream(1, 1000)
    wire.sender.pause()
    wire.sender.message(stream, b"data")
    wire.sender.control(frames.rst_stream(3, frames.ErrorCode.CANCEL))
    assert wire.bodies() == []
    assert wire.writes
    wire.sender.resume()
    assert wire.bodies() == [(1, b"\0\0\0\0\4data")]


def test_who_never_reads_is_found_out() -> None:
    wire = Wire()
    wire.sender.pause()
    reset = frames.rst_stream(3, frames.ErrorCode.CANCEL)
    for _ in range(MAX_STALLED_BYTES // len(reset)):
        wire.sender.control(reset)
    assert not wire.sender.is_overrun
    wire.sender.control(reset)
    wire.sender.control(reset)
    assert wire.sender.is_overrun


@pytest.mark.parametrize(("window", "crumbs"), [(1, 1), (255, 1), (256, 0), (1_000, 0)])
def test_tiny_windows_are_counted(window: int, crumbs: int) -> None:
    wire = Wire()
    stream = FakeStream(1, window)
    wire.sender.message(stream, b"x" * 600)
    assert wire.sender.crumbs == crumbs


def test_a_forgotten_stream_leaves_nothing_behind() -> None:
    wire = Wire()
    stream = FakeStream(1, 10)
    wire.sender.message(stream, b"x" * 100)
    wire.bodies()
    wire.sender.forget(stream)
    assert wire.sender.queued_bytes == 0
    stream.window = 1000
    wire.sender.pump()
    assert wire.bodies() == []
