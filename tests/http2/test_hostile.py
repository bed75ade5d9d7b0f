"""What a hostile peer can do is bounded; what a busy one does is not punished."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from epp.http2 import frames
from epp.http2.frames import ErrorCode, Setting
from epp.http2.limits import Limits
from epp.http2.sender import MAX_STALLED_BYTES
from epp.rpc import Status
from tests.http2.wire import Peer, data, message, ping, rst

ENOUGH = 1500
"""More than the default budget of 1,000 strikes."""


def flood(peer: Peer, *pieces: bytes) -> ErrorCode | None:
    """Send until the connection is given up, at most ``ENOUGH`` times."""
    for _ in range(ENOUGH):
        peer.send(*pieces)
        if peer.connection.is_dead:
            return peer.goaway()
        peer.frames()
    return None


def test_envoys_way_to_end_every_stream_is_never_throttled() -> None:
    peer = Peer()
    for stream_id in range(1, 40_001, 2):
        peer.send(
            peer.headers(stream_id) + data(stream_id, message(b"x")),
            data(stream_id, b"", end=True) + rst(stream_id),
        )
        peer.written.clear()
    assert not peer.connection.is_dead
    assert len(peer.handlers) == 20_000
    assert peer.connection.streams == 0


def test_resets_of_answered_streams_are_never_throttled() -> None:
    peer = Peer()
    for stream_id in range(1, 6_001, 2):
        peer.send(peer.headers(stream_id) + data(stream_id, message(b"x")))
        peer.send(rst(stream_id, ErrorCode.CANCEL))
        peer.written.clear()
    assert not peer.connection.is_dead


def test_rapid_reset() -> None:
    peer = Peer()
    for stream_id in range(1, 2 * ENOUGH, 2):
        peer.send(peer.headers(stream_id) + rst(stream_id, ErrorCode.CANCEL))
    assert peer.goaway() == ErrorCode.ENHANCE_YOUR_CALM
    assert len(peer.handlers) <= 1001
    assert peer.connection.streams == 0


@pytest.mark.parametrize(
    "useless",
    [
        ping(),
        frames.settings(()),
        frames.settings([(Setting.INITIAL_WINDOW_SIZE, 70_000)]),
        data(1, b""),
        frames.frame(frames.DATA, frames.PADDED, 1, b"\x01\0"),
        frames.frame(frames.PRIORITY, 0, 1, b"\0\0\0\x03\x10"),
    ],
    ids=["ping", "settings", "windows", "empty data", "padding", "priority"],
)
def test_floods_of_frames_that_serve_nothing(useless: bytes) -> None:
    peer = Peer(on_message=None)
    peer.open(1)
    assert flood(peer, useless) == ErrorCode.ENHANCE_YOUR_CALM


WRONG: dict[str, Callable[[Peer, int], bytes]] = {
    "window by nothing": lambda _, stream_id: frames.window_update(stream_id, 0),
    "window too large": lambda _, stream_id: frames.window_update(stream_id, frames.MAX_WINDOW),
    "data after the end": lambda _, stream_id: (
        data(stream_id, b"", end=True) + data(stream_id, b"")
    ),
    "headers after the end": lambda peer, stream_id: (
        data(stream_id, b"", end=True) + peer.headers(stream_id, end=True)
    ),
    "trailers without end": lambda peer, stream_id: peer.headers(stream_id, [("x", "y")]),
    "malformed": lambda peer, stream_id: peer.headers(stream_id + 2, [("x", "y")]),
    "priority": lambda _, stream_id: frames.frame(frames.PRIORITY, 0, stream_id, b"1234"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_streams_that_make_us_reset_them(wrong: Callable[[Peer, int], bytes]) -> None:
    peer = Peer(on_message=None, on_half_close=None)
    for stream_id in range(1, 4 * ENOUGH, 4):
        peer.send(peer.headers(stream_id), wrong(peer, stream_id))
        if peer.connection.is_dead:
            break
    assert peer.goaway() == ErrorCode.ENHANCE_YOUR_CALM
    assert len(peer.handlers) <= 1001
    assert peer.connection.streams == 0


def test_streams_without_windows_hoard_so_much_and_no_more() -> None:
    limits = Limits(max_unsent_total_bytes=1 << 20, connection_window_bytes=1 << 20)
    peer = Peer(limits, settings=[(Setting.INITIAL_WINDOW_SIZE, 0)])
    allowed, stream_id = 1 << 20, 1
    while allowed > 16_000 and stream_id < 1000:
        peer.send(peer.headers(stream_id), data(stream_id, message(b"x" * 15_990), end=True))
        updates = [frame for frame in peer.frames() if frame.kind == frames.WINDOW_UPDATE]
        allowed += sum(frames.increment(frame.payload) for frame in updates) - 15_995
        stream_id += 2
    assert allowed <= 16_000  # the peer has to stop
    assert peer.connection.sender.queued_bytes <= 2 << 20
    assert not peer.connection.is_dead


def test_a_header_block_without_end() -> None:
    peer = Peer()
    piece = frames.frame(frames.CONTINUATION, 0, 1, b"\0\1a\1b")
    peer.send(frames.frame(frames.HEADERS, 0, 1))
    assert flood(peer, piece) == ErrorCode.ENHANCE_YOUR_CALM


def test_answers_in_crumbs() -> None:
    peer = Peer(settings=[(Setting.INITIAL_WINDOW_SIZE, 0)])
    peer.open(1).call.send(b"x" * 100_000)
    assert flood(peer, frames.window_update(1, 1)) == ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("size", [30, 100, 1000, 5000, 20_000])
@pytest.mark.parametrize("worth_telling", [1, 4096, 32_768])
def test_an_honest_client_with_small_windows_is_never_throttled(
    size: int, worth_telling: int
) -> None:
    peer = Peer(Limits(max_strikes=50))
    call = peer.open(1).call
    for _ in range(1_000_000 // size):
        call.send(b"x" * size)
    received = owed = 0
    while peer.connection.sender.queued_bytes:
        sizes = [len(frame.payload) for frame in peer.frames() if frame.kind == frames.DATA]
        assert sizes
        for size_ in sizes:  # each frame is credited by itself, or when enough came together
            received, owed = received + size_, owed + size_
            if owed >= worth_telling:
                peer.send(frames.window_update(0, owed), frames.window_update(1, owed))
                owed = 0
        assert not peer.connection.is_dead
    assert received > 800_000


def test_windows_that_toggle_under_many_streams() -> None:
    peer = Peer(on_message=None)
    for stream_id in range(1, 2001, 2):
        peer.send(peer.headers(stream_id))
    peer.frames()
    toggle = frames.settings([(Setting.INITIAL_WINDOW_SIZE, 1)])
    assert flood(peer, toggle) == ErrorCode.ENHANCE_YOUR_CALM


def test_who_never_reads_costs_so_much_and_no_more() -> None:
    limits = Limits(max_unsent_total_bytes=1 << 20, connection_window_bytes=1 << 20)
    peer = Peer(limits, settings=[(Setting.INITIAL_WINDOW_SIZE, 1 << 30)])
    peer.connection.pause()
    peer.written.clear()
    sent, allowed = 0, 1 << 20
    for stream_id in range(1, 2001, 2):
        if sent + 16_000 > allowed or peer.connection.is_dead:
            break
        peer.send(peer.headers(stream_id), data(stream_id, message(b"x" * 15_990)))
        sent += 15_995
        allowed += sum(
            frames.increment(f.payload)
            for f in peer.frames()
            if f.kind == frames.WINDOW_UPDATE and f.stream_id == 0
        )
    assert peer.connection.sender.queued_bytes <= 2 * (1 << 20) + 2 * 16_000
    assert not peer.connection.is_dead


def test_who_never_reads_our_control_frames_is_given_up() -> None:
    peer = Peer(Limits(max_strikes=1 << 30))
    peer.connection.pause()
    written = 0
    for _ in range(400):
        peer.send(ping() * 1000)
        written += len(peer.written)
        peer.written.clear()
        if peer.connection.is_dead:
            break
    assert peer.connection.is_dead
    assert written < MAX_STALLED_BYTES + 100_000


def test_a_header_bomb_ends_the_connection() -> None:
    peer = Peer()
    bomb = b"\x40\x01a\x7f\xe1\x1e" + b"x" * 4000 + b"\xbe" * 12_000
    peer.send(frames.frame(frames.HEADERS, frames.END_HEADERS, 1, bomb))
    assert peer.goaway() == ErrorCode.COMPRESSION_ERROR


def test_header_fields_that_grow_from_a_few_bytes_are_kept_for_a_few_calls_only() -> None:
    peer = Peer(Limits(max_partial_bytes=1 << 20, max_strikes=50))
    big = "v" * 3900
    for stream_id in range(1, 2 * ENOUGH, 2):
        # the long field is sent once and then named 15 times by its number
        more = [("x-big", big)] * 15 + [("x-number", str(stream_id))]
        peer.send(peer.headers(stream_id, more=more))
        if peer.connection.is_dead:
            break
    assert peer.goaway() == ErrorCode.ENHANCE_YOUR_CALM
    assert len(peer.handlers) <= (1 << 20) // (15 * 3900)


def test_the_header_fields_of_ended_calls_are_forgotten() -> None:
    peer = Peer(Limits(max_partial_bytes=10_000))
    for stream_id in range(1, 401, 2):
        peer.send(peer.headers(stream_id), data(stream_id, b"", end=True))
        assert peer.answers(stream_id).status == Status.OK


def test_a_huge_message_that_never_comes_costs_nothing() -> None:
    peer = Peer()
    for stream_id in range(1, 2001, 2):
        peer.send(peer.headers(stream_id), data(stream_id, b"\0\x03\xff\xff\xff" + b"x" * 100))
    assert peer.connection.partial_bytes == 1000 * 100
    peer.connection.lost()
    assert peer.connection.partial_bytes == 0


def test_uploads_that_are_given_up_all_at_once_are_no_attack() -> None:
    peer = Peer(Limits(max_strikes=10))
    for stream_id in range(1, 101, 2):
        peer.send(peer.headers(stream_id), data(stream_id, message(b"x" * 50)[:20]))
    for second in range(3):
        peer.connection.refill(float(second))
    peer.send(*[rst(stream_id, ErrorCode.CANCEL) for stream_id in range(1, 99, 2)])
    assert not peer.connection.is_dead
    peer.send(data(99, message(b"x" * 50)[20:], end=True))
    assert peer.answers(99).status == Status.OK


def test_who_cannot_know_the_limit_yet_is_refused_and_not_given_up() -> None:
    peer = Peer(Limits(max_streams=2, max_strikes=5), greet=False)
    peer.send(frames.PREFACE, frames.settings(()))
    peer.send(*[peer.headers(stream_id) for stream_id in range(1, 101, 2)])
    assert not peer.connection.is_dead
    assert peer.answers(99).reset == ErrorCode.REFUSED_STREAM
    peer.send(frames.frame(frames.SETTINGS, frames.ACK, 0))
    peer.send(*[peer.headers(stream_id) for stream_id in range(101, 121, 2)])
    assert peer.goaway() == ErrorCode.ENHANCE_YOUR_CALM


def test_many_small_answers_count_with_what_they_cost() -> None:
    limits = Limits(max_unsent_total_bytes=1 << 20, connection_window_bytes=100_000)
    peer = Peer(limits, settings=[(Setting.INITIAL_WINDOW_SIZE, 0)])
    handler = peer.open(1)
    for _ in range(10_000):
        handler.call.send(b"x")
    sender = peer.connection.sender
    assert sender.held_bytes > 10 * sender.queued_bytes > 0
    peer.connection.lost()
    assert sender.held_bytes == 0


def test_time_forgives() -> None:
    peer = Peer()
    peer.connection.refill(0.0)
    for second in range(1, 40):
        for _ in range(90):
            peer.send(ping())
        peer.frames()
        peer.connection.refill(float(second))
    assert not peer.connection.is_dead


def test_an_honest_stream_survives_its_neighbours_resets() -> None:
    peer = Peer()
    peer.open(1)
    for stream_id in range(3, 1003, 2):
        peer.send(peer.headers(stream_id) + rst(stream_id, ErrorCode.CANCEL))
    peer.frames()
    peer.send(data(1, message(b"still here"), end=True))
    answer = peer.answers(1)
    assert answer.messages == [b"still here"]
    assert answer.status == Status.OK
