from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.http2.frames import ErrorCode, Setting, window_update
from epp.http2.limits import Limits
from epp.rpc import Call, Message, Status
from tests.http2.wire import PATH, Peer, Recorder, data, message


@given(st.lists(st.binary(max_size=60), max_size=6), st.lists(st.integers(0, 400), max_size=12))
def test_messages_and_frames_need_not_end_together(messages: list[bytes], cuts: list[int]) -> None:
    peer = Peer()
    peer.open(1)
    whole = b"".join(message(text) for text in messages)
    places = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    for start, end in pairwise(places):
        peer.send(data(1, whole[start:end]))
    peer.send(data(1, b"", end=True))
    assert peer.handler.messages == messages
    assert peer.answers().messages == messages
    assert peer.connection.partial_bytes == 0


def test_a_message_of_one_frame_is_bytes_and_a_long_one_is_the_receivers_own() -> None:
    peer = Peer()
    peer.open(1)
    long = message(b"x" * 40_000)
    peer.send(
        data(1, message(b"short")), *[data(1, long[n : n + 9000]) for n in range(0, 45_000, 9000)]
    )
    assert peer.handler.kinds == [bytes, bytearray]
    assert peer.handler.messages[1] == b"x" * 40_000


def test_a_compressed_message_is_not_supported() -> None:
    peer = Peer()
    peer.open(1)
    peer.send(data(1, b"\1\0\0\0\1x"))
    answer = peer.answers()
    assert (answer.status, answer.reset) == (Status.UNIMPLEMENTED, ErrorCode.NO_ERROR)
    assert peer.handler.events == ["ended"]


@pytest.mark.parametrize("size", [100, 101])
def test_a_message_over_the_limit_exhausts_it_before_it_is_sent(size: int) -> None:
    peer = Peer(Limits(max_message_bytes=100))
    peer.open(1)
    peer.send(data(1, message(b"x" * size)[:20]))
    assert peer.answers().status == (None if size == 100 else Status.RESOURCE_EXHAUSTED)


def test_unfinished_messages_have_a_limit_together() -> None:
    peer = Peer(Limits(max_partial_bytes=20_000))
    for stream_id in (1, 3, 5):
        peer.open(stream_id)
        peer.send(data(stream_id, message(b"x" * 9000)[:8005]))
    assert [handler.events for handler in peer.handlers] == [[], [], ["ended"]]
    assert peer.connection.partial_bytes == 16_000
    assert peer.answers(5).status == Status.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("size", [1, 4, 5, 8])
def test_a_request_that_ends_within_a_message_is_an_error(size: int) -> None:
    peer = Peer()
    peer.open(1)
    peer.send(data(1, message(b"text")[:size], end=True))
    answer = peer.answers()
    assert answer.status == Status.INTERNAL
    assert peer.handler.events == ["ended"]


def test_an_early_end_tells_the_client_not_to_go_on() -> None:
    peer = Peer()
    handler = peer.open(1)
    handler.call.finish(Status.INVALID_ARGUMENT, "no good")
    answer = peer.answers()
    assert answer.status == Status.INVALID_ARGUMENT
    assert answer.fields[":status"] == "200"
    assert answer.reset == ErrorCode.NO_ERROR
    peer.send(data(1, message(b"late")))
    assert peer.frames() == []


def test_a_deadline_ends_the_call() -> None:
    peer = Peer()
    peer.open(1, more=[("grpc-timeout", "250m")])
    ((seconds, expire),) = peer.timers
    assert seconds == pytest.approx(0.25)
    expire()
    assert peer.answers().status == Status.DEADLINE_EXCEEDED
    assert peer.handler.events == ["ended"]


def test_a_call_that_ends_in_time_cancels_its_deadline() -> None:
    peer = Peer()
    peer.open(1, more=[("grpc-timeout", "250m")])
    peer.send(data(1, b"", end=True))
    assert peer.cancelled_timers == 1
    peer.timers[0][1]()
    assert peer.answers().status == Status.OK


class BrokenHandler(Recorder):
    where = ""

    def message(self, data: Message) -> None:
        super().message(data)
        if self.where == "message":
            raise KeyError("oops")

    def half_closed(self) -> None:
        super().half_closed()
        if self.where == "half_closed":
            raise KeyError("oops")


@pytest.mark.parametrize("where", ["open", "message", "half_closed"])
def test_a_broken_handler_costs_its_call_and_nothing_else(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[BrokenHandler] = []

    def service(call: Call) -> BrokenHandler:
        if where == "open":
            raise KeyError("oops")
        made.append(BrokenHandler(call))
        made[-1].where = where
        return made[-1]

    peer = Peer(services={PATH: service})
    peer.send(peer.headers(1), data(1, message(b"x"), end=True))
    assert peer.answers().status == Status.INTERNAL
    assert "A gRPC handler failed" in caplog.text
    assert not peer.connection.is_dead
    assert peer.connection.streams == 0
    assert all(handler.events[-1] == "ended" for handler in made)


def test_metadata_goes_both_ways() -> None:
    peer = Peer()
    handler = peer.open(1, more=[("x-a", "1"), ("x-a", "2")])
    call = handler.call
    assert call.metadata[b"x-a"] == b"1,2"
    call.send_metadata([(b"x-initial", b"i")])  # type: ignore[attr-defined]
    call.finish(trailers=[(b"x-trailing", b"t")])
    answer = peer.answers()
    assert answer.fields["x-initial"] == "i"
    assert answer.fields["x-trailing"] == "t"


def test_a_message_in_parts_is_one_message() -> None:
    peer = Peer()
    handler = peer.open(1)
    handler.call.send_parts([b"head ", memoryview(b"and body")])
    assert peer.answers().messages == [b"head and body"]


def test_an_end_waits_for_what_the_client_does_not_take_yet() -> None:
    peer = Peer(settings=[(Setting.INITIAL_WINDOW_SIZE, 0)])
    handler = peer.open(1)
    handler.call.send(b"x")
    handler.call.finish()
    handler.call.send(b"too late")
    assert peer.answers().status is None
    assert handler.events == []
    peer.send(window_update(1, 100))
    answer = peer.answers()
    assert (answer.messages, answer.status) == ([b"x"], Status.OK)
    assert handler.events == ["ended"]
