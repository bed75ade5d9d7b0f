from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.decision import Decision, SchedulingResult
from epp.datastore.store import Datastore
from epp.exchange import Exchange
from epp.extproc import codec
from epp.extproc.events import MAX_PIECE_BYTES, BodyAnswer, Decide, Direction, End
from epp.extproc.pb import ext_proc_pb2 as pb
from epp.extproc.relay import Relay
from epp.extproc.stream import Stream
from tests.fakes import FakeClock, FakeProbe, make_endpoint, make_request, make_run

USAGE = b'data: {"usage":{"prompt_tokens":3}}\n\n'
MESSAGES = st.sampled_from(
    [
        pb.ProcessingRequest(request_headers=pb.HttpHeaders()),
        pb.ProcessingRequest(request_body=pb.HttpBody(body=b"x", end_of_stream=True)),
        pb.ProcessingRequest(
            response_headers=pb.HttpHeaders(
                headers=pb.HeaderMap(
                    headers=[pb.HeaderValue(key="content-type", raw_value=b"text/event-stream")]
                )
            )
        ),
        pb.ProcessingRequest(response_body=pb.HttpBody(body=USAGE)),
        pb.ProcessingRequest(response_body=pb.HttpBody(body=USAGE), metadata_context=pb.Metadata()),
        pb.ProcessingRequest(response_body=pb.HttpBody(body=bytes(62_001))),
        pb.ProcessingRequest(response_body=pb.HttpBody(body=b"z", end_of_stream=True)),
        pb.ProcessingRequest(response_body=pb.HttpBody()),
        pb.ProcessingRequest(response_trailers=pb.HttpTrailers()),
    ]
).map(lambda message: message.SerializeToString())


class Case:
    """A stream that answers in bytes, with or without the short way."""

    def __init__(self, *, short: bool) -> None:
        self.short = short
        self.probe = FakeProbe()
        self.exchange = Exchange(clock=FakeClock(), probe=self.probe, datastore=Datastore())
        self.stream = Stream(self.exchange)
        self.relay = Relay(self.stream)
        self.relayed = 0

    def feed(self, data: bytes) -> list[bytes]:
        if self.short and (answer := self.relay.answer(data)) is not None:
            self.relayed += 1
            return [answer]
        answers: list[bytes] = []
        outputs = list(self.stream.receive(codec.decode(data)))
        while outputs:
            output = outputs.pop(0)
            if isinstance(output, Decide):
                outputs = [*self.stream.decided(self.decision()), *outputs]
            elif not isinstance(output, End):
                answers.append(codec.encode(output))
        return answers

    def decision(self) -> Decision:
        self.exchange.name_models("m", "m")
        endpoint = make_endpoint("a")
        result = SchedulingResult("p", {"p": make_run(endpoint, picked=[endpoint])})
        return Decision(make_request(), result, endpoint.destination, (), b"x")


@given(st.lists(MESSAGES, max_size=10))
def test_the_short_way_says_and_counts_what_the_long_way_does(messages: list[bytes]) -> None:
    short, long = Case(short=True), Case(short=False)
    for message in messages:
        assert short.feed(message) == long.feed(message)
    for case in (short, long):
        case.stream.closed()
    assert short.probe.complete == long.probe.complete
    assert short.probe.calls == long.probe.calls
    assert short.probe.timings == long.probe.timings
    assert short.probe.gaps == long.probe.gaps


def answering() -> Case:
    case = Case(short=True)
    case.feed(pb.ProcessingRequest(response_headers=pb.HttpHeaders()).SerializeToString())
    return case


def chunk(body: bytes, *, end: bool = False) -> bytes:
    message = pb.HttpBody(body=body, end_of_stream=end)
    return pb.ProcessingRequest(response_body=message).SerializeToString()


METADATA = pb.ProcessingRequest(metadata_context=pb.Metadata()).SerializeToString()


@given(
    st.binary(min_size=1, max_size=300) | st.sampled_from([bytes(MAX_PIECE_BYTES)]),
    st.lists(st.sampled_from([b"", METADATA, b"\x50\x01"]), min_size=1, max_size=4),
)
def test_a_chunk_is_answered_as_the_long_way_answers_it(body: bytes, rests: list[bytes]) -> None:
    case = answering()
    expected = codec.encode(BodyAnswer(Direction.RESPONSE, body, False))
    for rest in rests:
        assert case.relay.answer(chunk(body) + rest) == expected
        assert case.relay.answer(bytearray(chunk(body) + rest)) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        bytes(132),
        b"\x2a",
        b"\x2a\x80",
        b"\x2a\x02\x00\x00",
        b"\x2a\xff\xff\xff\xff\x01",
        METADATA,
        chunk(b""),
        chunk(b"x", end=True),
        chunk(bytes(MAX_PIECE_BYTES + 1)),
        chunk(b"x")[:-1],
        chunk(b"x") + b"\xff",
        chunk(b"x") + chunk(b"y"),
        pb.ProcessingRequest(request_body=pb.HttpBody(body=b"x")).SerializeToString(),
    ],
)
@pytest.mark.parametrize("before", [b"", METADATA])
def test_anything_but_a_chunk_is_left_to_the_long_way(data: bytes, before: bytes) -> None:
    case = answering()
    case.relay.answer(chunk(b"x") + before)
    assert case.relay.answer(data) is None


def test_before_the_answer_has_begun_nothing_is_relayed() -> None:
    assert Case(short=True).feed(chunk(USAGE)) == []


def test_a_chunk_takes_the_short_way_once_the_answer_has_begun() -> None:
    case = answering()
    assert len(case.feed(chunk(USAGE))) == 1
    assert case.relayed == 1
