from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from epp.core.decision import Decision, SchedulingResult
from epp.datastore.store import Datastore
from epp.exchange import Exchange
from epp.extproc import codec
from epp.extproc.events import Decide, End
from epp.extproc.pb import ext_proc_pb2 as pb
from epp.extproc.relay import relay
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
        self.relayed = 0

    def feed(self, data: bytes) -> list[bytes]:
        if self.short and (answer := relay(self.stream, data)) is not None:
            self.relayed += 1
            return [bytes(answer)]
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


def test_a_chunk_takes_the_short_way_once_the_answer_has_begun() -> None:
    chunk = pb.ProcessingRequest(response_body=pb.HttpBody(body=USAGE)).SerializeToString()
    case = Case(short=True)
    assert case.feed(chunk) == []
    case.feed(pb.ProcessingRequest(response_headers=pb.HttpHeaders()).SerializeToString())
    assert len(case.feed(chunk)) == 1
    assert case.relayed == 1
