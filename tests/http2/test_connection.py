from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.http2 import frames
from epp.http2.frames import ErrorCode, Setting
from epp.http2.limits import Limits
from epp.rpc import Call, Message, Status
from tests.http2.wire import (
    REQUEST,
    Peer,
    data,
    echo,
    finish,
    message,
    ping,
    rst,
)


def test_a_call_is_answered_with_headers_messages_and_trailers() -> None:
    peer = Peer()
    peer.send(peer.headers(1), data(1, message(b"one")), data(1, message(b"two"), end=True))
    answer = peer.answers()
    assert answer.fields[":status"] == "200"
    assert answer.fields["content-type"] == "application/grpc"
    assert answer.messages == [b"one", b"two"]
    assert (answer.status, answer.is_ended, answer.reset) == (Status.OK, True, None)
    assert peer.handler.events == ["message", "message", "half-closed", "ended"]
    assert peer.connection.streams == 0


def test_what_one_turn_answers_is_written_at_once() -> None:
    peer = Peer()
    before = peer.writes
    peer.send(*[peer.headers(n) + data(n, message(b"x"), end=True) for n in range(1, 41, 2)])
    assert peer.writes == before + 1
    assert len(peer.handlers) == 20


@given(st.data())
def test_however_the_bytes_are_cut_the_calls_are_the_same(drawn: st.DataObject) -> None:
    peer = Peer(greet=False)
    padded = frames.frame(frames.DATA, frames.PADDED, 1, b"\x03" + message(b"padded") + b"\0\0\0")
    conversation = b"".join(
        (
            frames.PREFACE,
            frames.settings(()),
            peer.headers(1),
            data(1, message(b"a" * 40)[:7]),
            data(1, message(b"a" * 40)[7:] + message(b"") + message(b"b")[:3]),
            peer.headers(3),
            data(1, message(b"b")[3:]),
            ping(),
            padded,
            data(3, message(b"c"), end=True),
            data(1, b"", end=True),
        )
    )
    cuts = drawn.draw(st.lists(st.integers(0, len(conversation)), max_size=30))
    places = [0, *sorted(cuts), len(conversation)]
    for start, end in pairwise(places):
        peer.send(conversation[start:end])
    first, second = peer.handlers
    assert first.messages == [b"a" * 40, b"", b"b", b"padded"]
    assert second.messages == [b"c"]
    assert first.events[-2:] == second.events[-2:] == ["half-closed", "ended"]
    assert not peer.connection.is_dead


# What a frame does to a stream in each state: "S" an error of the stream, "C" of the connection.
NOTHING, STREAM, CONNECTION = "nothing", "stream", "connection"


def idle(peer: Peer) -> None:
    peer.open(1)


def half_closed(peer: Peer) -> None:
    peer.open(3)
    peer.send(data(3, b"", end=True))


def ended(peer: Peer) -> None:
    half_closed(peer)
    peer.handler.call.finish()


def reset_by_us(peer: Peer) -> None:
    peer.open(3)
    peer.handler.call.finish()


def reset_by_peer(peer: Peer) -> None:
    peer.open(3)
    peer.send(rst(3, ErrorCode.CANCEL))


CLOSED, PROTOCOL = ErrorCode.STREAM_CLOSED, ErrorCode.PROTOCOL_ERROR
LEGAL: list[tuple[str, Callable[[Peer], None], str, ErrorCode | None]] = [
    ("headers", half_closed, STREAM, CLOSED),
    ("headers", ended, CONNECTION, CLOSED),
    ("headers", reset_by_us, NOTHING, None),
    ("headers", reset_by_peer, STREAM, CLOSED),
    ("data", idle, CONNECTION, PROTOCOL),
    ("data", half_closed, STREAM, CLOSED),
    ("data", ended, CONNECTION, CLOSED),
    ("data", reset_by_us, NOTHING, None),
    ("data", reset_by_peer, STREAM, CLOSED),
    ("rst", idle, CONNECTION, PROTOCOL),
    ("rst", ended, NOTHING, None),
    ("rst", reset_by_us, NOTHING, None),
    ("rst", reset_by_peer, NOTHING, None),
    ("window", idle, CONNECTION, PROTOCOL),
    ("window", half_closed, NOTHING, None),
    ("window", ended, NOTHING, None),
    ("window", reset_by_us, NOTHING, None),
    ("window", reset_by_peer, NOTHING, None),
]


@pytest.mark.parametrize(
    ("kind", "state", "outcome", "code"),
    LEGAL,
    ids=[f"{kind}-{state.__name__}" for kind, state, _, _ in LEGAL],
)
def test_a_frame_does_what_the_table_says(
    kind: str, state: Callable[[Peer], None], outcome: str, code: ErrorCode | None
) -> None:
    peer = Peer(on_half_close=None)
    state(peer)
    peer.frames()
    peer.send(
        {
            "headers": lambda: peer.headers(3, end=True),
            "data": lambda: data(3, message(b"x")),
            "rst": lambda: rst(3),
            "window": lambda: frames.window_update(3, 5),
        }[kind]()
    )
    assert peer.connection.is_dead == (outcome == CONNECTION)
    if outcome == CONNECTION:
        assert peer.goaway() == code
        assert peer.connection.failure is not None
    else:
        assert peer.answers(3).reset == (code if outcome == STREAM else None)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (frames.frame(frames.PRIORITY, 0, 9, b"1234"), ErrorCode.FRAME_SIZE_ERROR),
        (frames.frame(frames.PRIORITY, 0, 9, b"\0\0\0\x09\x10"), ErrorCode.PROTOCOL_ERROR),
        (data(2, b"x"), ErrorCode.PROTOCOL_ERROR),
        (rst(2), ErrorCode.PROTOCOL_ERROR),
        (frames.window_update(2, 5), ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_a_stream_that_nobody_opened_is_not_reset(frame: bytes, code: ErrorCode) -> None:
    peer = Peer()
    peer.open(5)
    peer.send(frame)
    assert peer.goaway() == code


@pytest.mark.parametrize("passed_over", [True, False])
def test_a_stream_whose_end_is_forgotten_was_reset_by_its_peer(passed_over: bool) -> None:
    peer = Peer(on_half_close=None)
    if not passed_over:
        peer.open(3).call.finish()
    for stream_id in range(5, 8005, 2):
        peer.send(peer.headers(stream_id), data(stream_id, b"", end=True))
        peer.handler.call.finish()
    peer.frames()
    peer.send(rst(3), frames.window_update(3, 5))
    assert peer.frames() == []
    peer.send(data(3, b"x"))
    assert peer.answers(3).reset == ErrorCode.STREAM_CLOSED
    peer.send(data(3, b"x"))
    assert peer.frames() == []
    peer.connection.lost()


def test_a_number_that_was_passed_over_cannot_be_used_any_more() -> None:
    peer = Peer()
    peer.open(5)
    peer.send(peer.headers(3))
    assert peer.goaway() == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "fields",
    [
        [f for f in REQUEST if f[0] != ":path"],
        [f for f in REQUEST if f[0] != ":method"],
        [*REQUEST, (":path", "/late")],
        [*REQUEST, ("connection", "close")],
        [*REQUEST, ("te", "gzip")],
        [*REQUEST, ("content-length", "minus")],
        [(":unknown", "x"), *REQUEST],
    ],
)
def test_a_malformed_request_is_an_error_of_its_stream(fields: list[tuple[str, str]]) -> None:
    peer = Peer()
    peer.send(peer.headers(1, fields))
    assert peer.answers().reset == ErrorCode.PROTOCOL_ERROR
    peer.send(peer.headers(3) + data(3, message(b"x"), end=True))
    assert peer.answers(3).messages == [b"x"]


@pytest.mark.parametrize(
    ("pieces", "is_good"),
    [((3, 5), True), ((8,), True), ((9,), False), ((7,), False), ((), False)],
)
def test_a_content_length_must_be_kept(pieces: tuple[int, ...], is_good: bool) -> None:
    peer = Peer(on_message=None)
    peer.send(peer.headers(1, more=[("content-length", "8")]))
    whole = message(b"abcd")[:5] + b"abcd"
    sent = 0
    for size in pieces:
        peer.send(data(1, whole[sent : sent + size]))
        sent += size
    peer.send(data(1, b"", end=True))
    expected = None if is_good else ErrorCode.PROTOCOL_ERROR
    assert peer.answers().reset == expected


def test_an_unknown_method_is_unimplemented() -> None:
    peer = Peer()
    fields = [(":path", "/no.Such/Method") if f[0] == ":path" else f for f in REQUEST]
    peer.send(peer.headers(1, fields, end=True))
    answer = peer.answers()
    assert answer.status == Status.UNIMPLEMENTED
    assert "/no.Such/Method" in answer.fields["grpc-message"]
    assert answer.is_ended


def test_what_is_no_grpc_gets_415_when_it_is_complete() -> None:
    peer = Peer()
    fields = [("content-type", "text/plain") if f[0] == "content-type" else f for f in REQUEST]
    peer.send(peer.headers(1, fields))
    assert not peer.answers().fields
    peer.send(data(1, b"body", end=True))
    answer = peer.answers()
    assert answer.fields[":status"] == "415"
    assert answer.data
    assert answer.is_ended
    assert peer.connection.streams == 0


def test_request_trailers_end_the_request() -> None:
    peer = Peer()
    peer.send(peer.headers(1), data(1, message(b"x")))
    peer.send(peer.headers(1, [("x-checksum", "1")], end=True))
    assert peer.handler.events == ["message", "half-closed", "ended"]
    assert peer.answers().status == Status.OK


@pytest.mark.parametrize(
    ("fields", "end"), [([(":path", "/x")], True), ([("x-checksum", "1")], False)]
)
def test_bad_trailers_are_an_error_of_the_stream(fields: list[tuple[str, str]], end: bool) -> None:
    peer = Peer()
    peer.send(peer.headers(1), peer.headers(1, fields, end=end))
    assert peer.answers().reset == ErrorCode.PROTOCOL_ERROR
    assert peer.handler.events == ["ended"]


def test_a_stream_that_depends_on_itself_is_refused_and_the_table_stays_right() -> None:
    peer = Peer()
    block = peer.headers(1)[9:]
    payload = frames.write_u32(1) + b"\x10" + block
    flags = frames.END_HEADERS | frames.HAS_PRIORITY
    peer.send(frames.frame(frames.HEADERS, flags, 1, payload))
    assert peer.answers().reset == ErrorCode.PROTOCOL_ERROR
    peer.send(peer.headers(3) + data(3, message(b"x"), end=True))
    assert peer.answers(3).messages == [b"x"]


def test_streams_over_the_limit_are_refused() -> None:
    peer = Peer(Limits(max_streams=2))
    for stream_id in (1, 3, 5):
        peer.send(peer.headers(stream_id))
    assert peer.answers(5).reset == ErrorCode.REFUSED_STREAM
    peer.send(rst(1, ErrorCode.CANCEL), peer.headers(7))
    assert peer.connection.streams == 2


def test_the_peers_windows_are_kept_byte_for_byte() -> None:
    peer = Peer(settings=[(Setting.INITIAL_WINDOW_SIZE, 10)])
    peer.send(peer.headers(1), data(1, message(b"0123456789abcdef"), end=True))
    received = peer.answers().data
    assert len(received) == 10
    for increment in (1, 5, 100):
        peer.send(frames.window_update(1, increment))
        answer = peer.answers()
        received += answer.data
    assert received == message(b"0123456789abcdef")
    assert answer.status == Status.OK
    assert answer.is_ended


def test_the_connections_window_is_shared_in_turns() -> None:
    peer = Peer(settings=[(Setting.INITIAL_WINDOW_SIZE, 1 << 20)])
    for stream_id in (1, 3):
        peer.open(stream_id)
    for handler in peer.handlers:
        handler.call.send(b"x" * 100_000)
    sent = {1: 0, 3: 0}
    for frame in peer.frames():
        if frame.kind == frames.DATA:
            sent[frame.stream_id] += len(frame.payload)
    assert sum(sent.values()) == 65_535
    peer.send(frames.window_update(0, 65_536))
    for frame in peer.frames():
        if frame.kind == frames.DATA:
            sent[frame.stream_id] += len(frame.payload)
    assert sum(sent.values()) == 131_071
    assert abs(sent[1] - sent[3]) <= 2 * 16_384 + 1 or min(sent.values()) > 30_000


def test_settings_that_change_windows_count_for_running_streams() -> None:
    peer = Peer(settings=[(Setting.INITIAL_WINDOW_SIZE, 10)])
    peer.open(1).call.send(b"x" * 95)
    assert len(peer.answers().data) == 10
    peer.send(frames.settings([(Setting.INITIAL_WINDOW_SIZE, 4)]))  # now at -6
    peer.send(frames.window_update(1, 6))
    assert not peer.answers().data
    peer.send(frames.settings([(Setting.INITIAL_WINDOW_SIZE, 94)]))
    assert len(peer.answers().data) == 90


def test_the_peer_is_credited_for_what_it_sent() -> None:
    limits = Limits(stream_window_bytes=100_000, connection_window_bytes=200_000)
    peer = Peer(limits, on_message=None)
    peer.open(1)
    credited = {0: 0, 1: 0}
    for _ in range(40):
        peer.send(data(1, message(b"x" * 9995)))
        for frame in peer.frames():
            if frame.kind == frames.WINDOW_UPDATE:
                credited[frame.stream_id] += frames.increment(frame.payload)
    assert not peer.connection.is_dead
    assert credited[1] > 400_000 - 100_000
    assert credited[0] > 400_000 - 200_000


@pytest.mark.parametrize("which", ["stream", "connection"])
def test_more_than_a_window_is_an_error(which: str) -> None:
    big, small = 1 << 20, 70_000
    peer = Peer(
        Limits(
            stream_window_bytes=small if which == "stream" else big,
            connection_window_bytes=small if which == "connection" else big,
            max_unsent_bytes=0,
            max_unsent_total_bytes=0,
        ),
        settings=[(Setting.INITIAL_WINDOW_SIZE, 0)],
    )
    peer.open(1)
    for _ in range(5):
        peer.send(data(1, message(b"x" * 16_379)))
    if which == "connection":
        assert peer.goaway() == ErrorCode.FLOW_CONTROL_ERROR
    else:
        assert peer.answers().reset == ErrorCode.FLOW_CONTROL_ERROR
        assert not peer.connection.is_dead


def test_who_does_not_take_our_answers_is_not_allowed_more() -> None:
    limits = Limits(
        stream_window_bytes=100_000,
        connection_window_bytes=100_000,
        max_unsent_bytes=20_000,
        max_unsent_total_bytes=20_000,
    )
    peer = Peer(limits, settings=[(Setting.INITIAL_WINDOW_SIZE, 0)])
    peer.open(1)
    for _ in range(6):
        peer.send(data(1, message(b"x" * 15_000)))
    kinds = [frame.kind for frame in peer.frames()]
    assert frames.WINDOW_UPDATE not in kinds
    peer.send(frames.window_update(1, 200_000), frames.window_update(0, 200_000))
    updates = [f.stream_id for f in peer.frames() if f.kind == frames.WINDOW_UPDATE]
    assert sorted(set(updates)) == [0, 1]


def test_a_window_cannot_grow_over_its_maximum() -> None:
    peer = Peer()
    peer.open(1)
    peer.send(frames.window_update(1, frames.MAX_WINDOW))
    assert peer.answers().reset == ErrorCode.FLOW_CONTROL_ERROR
    peer.send(frames.window_update(0, frames.MAX_WINDOW))
    assert peer.goaway() == ErrorCode.FLOW_CONTROL_ERROR


def test_after_a_table_size_the_next_block_says_that_ours_is_empty() -> None:
    peer = Peer(settings=[(Setting.HEADER_TABLE_SIZE, 0)])
    peer._decoder.max_allowed_table_size = 0
    peer.send(peer.headers(1, end=True), peer.headers(3, end=True))
    blocks = [f.payload for f in peer.frames() if f.kind == frames.HEADERS]
    assert [block[:1] == b"\x20" for block in blocks] == [True, False]


def test_pings_are_answered() -> None:
    peer = Peer()
    peer.send(ping(b"abcdefgh"))
    (answer,) = peer.frames()
    assert (answer.kind, answer.flags, answer.payload) == (frames.PING, frames.ACK, b"abcdefgh")


def test_a_drain_serves_what_is_on_its_way_and_then_nothing() -> None:
    peer = Peer()
    peer.open(1)
    peer.connection.drain()
    first = peer.frames()
    assert [f.kind for f in first] == [frames.GOAWAY, frames.PING]
    assert frames.read_u32(first[0].payload, 0)[0] == frames.MAX_WINDOW
    peer.send(peer.headers(3), data(3, message(b"late"), end=True))
    assert peer.answers(3).messages == [b"late"]
    assert not peer.connection.is_done
    peer.send(ping(first[1].payload, ack=True))
    (last,) = peer.frames()
    assert frames.read_u32(last.payload, 0)[0] == 3
    peer.send(peer.headers(5))
    assert peer.answers(5).reset == ErrorCode.REFUSED_STREAM
    assert not peer.connection.is_done
    peer.send(data(1, message(b"x"), end=True))
    assert peer.answers(1).messages == [b"x"]
    assert peer.connection.is_done


def test_an_idle_connection_is_done_as_soon_as_the_peer_knows() -> None:
    peer = Peer()
    peer.connection.drain()
    drain = next(f for f in peer.frames() if f.kind == frames.PING)
    assert not peer.connection.is_done
    peer.send(ping(drain.payload, ack=True))
    assert peer.connection.is_done


def test_the_last_stream_of_a_drained_connection_wakes_its_owner() -> None:
    peer = Peer()
    handler = peer.open(1)
    peer.connection.drain()
    drain = next(f for f in peer.frames() if f.kind == frames.PING)
    peer.send(ping(drain.payload, ack=True))
    peer.frames()
    wakes = peer.wakes
    handler.call.finish()
    assert peer.wakes > wakes
    assert peer.connection.is_done


def test_a_connection_that_is_given_up_ends_every_call_once() -> None:
    peer = Peer()
    handlers = [peer.open(stream_id) for stream_id in (1, 3, 5)]
    peer.send(frames.window_update(0, 0))
    assert peer.goaway() == ErrorCode.PROTOCOL_ERROR
    peer.connection.lost()
    assert [handler.events for handler in handlers] == [["ended"]] * 3
    handlers[0].call.send(b"x")
    handlers[0].call.finish()
    assert peer.frames() == []
    peer.send(ping())
    assert peer.frames() == []


def test_nothing_follows_the_goaway_of_a_connection_that_is_given_up() -> None:
    peer = Peer(Limits(connection_window_bytes=70_000, max_unsent_total_bytes=1))
    peer.open(1)
    peer.connection.pause()
    peer.send(*[data(1, message(b"x" * 12_000)) for _ in range(3)])  # half the window
    peer.send(frames.window_update(0, 0))
    assert peer.goaway() == ErrorCode.PROTOCOL_ERROR
    peer.connection.resume()
    peer.connection.drain()
    peer.connection.ping()
    assert peer.frames() == []


def test_ending_all_calls_says_why() -> None:
    peer = Peer()
    peer.open(1)
    peer.connection.finish_all(Status.UNAVAILABLE, "stopping")
    answer = peer.answers()
    assert (answer.status, answer.fields["grpc-message"]) == (Status.UNAVAILABLE, "stopping")
    assert peer.handler.events == ["ended"]


@pytest.mark.parametrize(
    "bytes_", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", b"PRI * HTTP/1"]
)
def test_what_is_not_http2_is_told_so(bytes_: bytes) -> None:
    peer = Peer(greet=False)
    peer.send(bytes_)
    assert peer.goaway() == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "wrong",
    [
        frames.frame(frames.SETTINGS, 0, 0, b"12345"),
        frames.frame(frames.SETTINGS, frames.ACK, 0, b"123456"),
        frames.frame(frames.SETTINGS, 0, 1),
        frames.frame(frames.PING, 0, 0, b"1234567"),
        frames.frame(frames.PING, 0, 1, b"12345678"),
        frames.frame(frames.GOAWAY, 0, 1, b"12345678"),
        frames.frame(frames.GOAWAY, 0, 0, b"1234"),
        frames.frame(frames.WINDOW_UPDATE, 0, 0, b"123"),
        frames.frame(frames.RST_STREAM, 0, 1, b"123"),
        frames.frame(frames.PRIORITY, 0, 0, b"12345"),
        frames.frame(frames.PUSH_PROMISE, 0, 1, b"12345"),
        frames.frame(frames.CONTINUATION, 0, 1, b"12345"),
        frames.frame(frames.HEADERS, frames.END_HEADERS, 2, b""),
        frames.frame(frames.DATA, 0, 0, b"x"),
        frames.settings([(Setting.ENABLE_PUSH, 2)]),
        frames.settings([(Setting.INITIAL_WINDOW_SIZE, 1 << 31)]),
        frames.settings([(Setting.MAX_FRAME_SIZE, 100)]),
        frames.head(frames.DATA, 0, 1, 16_385),
    ],
)
def test_a_broken_rule_ends_the_connection(wrong: bytes) -> None:
    peer = Peer()
    peer.open(1)
    peer.frames()
    peer.send(wrong)
    assert peer.goaway() is not None
    assert peer.connection.is_dead
    assert peer.handler.events == ["ended"]


def test_unknown_frames_are_ignored() -> None:
    peer = Peer()
    peer.send(frames.frame(0x42, 7, 9, b"whatever"))
    assert peer.frames() == []


@given(st.binary(max_size=400), st.booleans())
def test_arbitrary_bytes_end_in_an_error_at_worst(junk: bytes, greet: bool) -> None:
    peer = Peer(greet=greet)
    if greet:
        peer.open(1)
    peer.send(junk)
    peer.send(junk)
    peer.connection.lost()
    assert all(handler.events.count("ended") == 1 for handler in peer.handlers)


Ending = Callable[[Peer], None]
ENDINGS: dict[str, Ending] = {
    "finish": lambda peer: peer.handler.call.finish(),
    "finish with status": lambda peer: peer.handler.call.finish(Status.ABORTED, "no"),
    "half-close": lambda peer: peer.send(data(1, b"", end=True)),
    "reset": lambda peer: peer.send(rst(1, ErrorCode.CANCEL)),
    "deadline": lambda peer: peer.timers[0][1](),
    "lost": lambda peer: peer.connection.lost(),
    "abandoned": lambda peer: peer.connection.finish_all(Status.UNAVAILABLE, ""),
    "connection error": lambda peer: peer.send(frames.window_update(0, 0)),
    "stream error": lambda peer: peer.send(frames.window_update(1, 0)),
    "compressed": lambda peer: peer.send(data(1, b"\1\0\0\0\1x")),
    "truncated": lambda peer: peer.send(data(1, b"\0\0\0\0\5x", end=True)),
}


@given(st.lists(st.sampled_from(sorted(ENDINGS)), min_size=1, max_size=4), st.booleans())
def test_a_call_ends_exactly_once_whatever_ends_it(endings: list[str], queued: bool) -> None:
    peer = Peer(settings=[(Setting.INITIAL_WINDOW_SIZE, 0 if queued else 65_535)])
    handler = peer.open(1, more=[("grpc-timeout", "5S")])
    peer.send(data(1, message(b"x")))
    for ending in endings:
        ENDINGS[ending](peer)
    peer.connection.lost()
    assert handler.events.count("ended") == 1
    assert handler.events[-1] == "ended"
    assert peer.connection.streams == 0
    assert peer.connection.partial_bytes == 0
    assert peer.connection.sender.queued_bytes == 0


def test_a_handler_may_finish_from_within_a_message() -> None:
    def answer(call: Call, data: Message) -> None:
        echo(call, data)
        finish(call)

    peer = Peer(on_message=answer)
    peer.send(peer.headers(1), data(1, message(b"a") + message(b"b")), data(1, message(b"c")))
    answer_ = peer.answers()
    assert answer_.messages == [b"a"]
    assert (answer_.status, answer_.reset) == (Status.OK, ErrorCode.NO_ERROR)
    assert peer.handler.events == ["message", "ended"]
