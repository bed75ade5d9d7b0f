from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.decision import Decision, ProfileRun, SchedulingResult
from epp.core.errors import ServiceUnavailableError
from epp.core.request import InferenceRequest, RequestBody
from epp.core.response import ResponseStart
from epp.datastore.store import Datastore
from epp.exchange import Exchange
from epp.extproc import events as ev
from epp.extproc.events import MAX_PIECE_BYTES
from epp.extproc.stream import Stream, pieces
from epp.usage import usage_reader
from tests.fakes import FakeClock, FakeProbe, make_endpoint

HEADERS = {":path": b"/v1/completions", "x-request-id": b"r1"}
ANSWER_HEADERS = {":status": b"200", "content-type": b"application/json"}


class Case:
    """A stream with its exchange and probe."""

    def __init__(self) -> None:
        self.probe = FakeProbe()
        self.exchange = Exchange(clock=FakeClock(), probe=self.probe, datastore=Datastore())
        self.stream = Stream(self.exchange)

    def feed(self, *events: ev.Event) -> list[ev.Output]:
        """Everything that is due after these events; orders to decide are carried out at once."""
        out: list[ev.Output] = []
        for event in events:
            for output in self.stream.receive(event):
                out.append(output)
                if isinstance(output, ev.Decide):
                    out += self.stream.decided(self.decision(output))
        return out

    def decision(self, order: ev.Decide) -> Decision:
        body = order.request.body
        request = InferenceRequest(
            request_id="r1",
            headers=order.request.headers,
            body=RequestBody(model="m") if body is not None else None,
            incoming_model="m",
            target_model="m",
        )
        self.exchange.name_models("m", "m")
        endpoint = make_endpoint("a")
        run = ProfileRun("p", (endpoint,), (), (endpoint,), (), (0.0,), "x", (endpoint,))
        return Decision(request, SchedulingResult("p", {"p": run}), "10.0.0.1:8000", (), body)


def shape(outputs: Sequence[ev.Output]) -> list[str]:
    """The kinds of the outputs, with the flags that matter."""
    names = []
    for output in outputs:
        name = type(output).__name__
        if isinstance(output, ev.BodyAnswer):
            name = f"{output.direction.name} {bytes(output.body)!r}{' end' * output.end_of_stream}"
        elif isinstance(output, ev.PassedBody):
            name = f"{output.direction.name} as it is"
        elif isinstance(output, ev.RoutedBody):
            name = f"RoutedBody{' changed' * output.is_changed}"
        elif isinstance(output, ev.HeadersAnswer) and output.direction is ev.Direction.REQUEST:
            name = "noted"
        elif isinstance(output, ev.TrailersAnswer):
            name = f"{output.direction.name} trailers"
        elif isinstance(output, ev.ImmediateAnswer):
            name = f"{output.status} {output.body}"
        elif isinstance(output, ev.End):
            name = f"end {output.problem}".strip()
        names.append(name)
    return names


def body_of(outputs: Sequence[ev.Output], direction: ev.Direction) -> bytes:
    return b"".join(
        bytes(o.body) for o in outputs if isinstance(o, ev.BodyAnswer) and o.direction is direction
    )


REQUEST_HEADERS = ev.RequestHeaders(HEADERS, False)
LAST = ev.RequestBody(b"", True)


@pytest.mark.parametrize(
    ("events", "answers"),
    [
        ([ev.RequestHeaders(HEADERS, True)], ["Decide", "RoutedHeaders"]),
        ([REQUEST_HEADERS, ev.RequestBody(b"ab", False)], []),
        (
            [REQUEST_HEADERS, ev.RequestBody(b"ab", False), LAST],
            ["Decide", "RoutedHeaders", "REQUEST b'ab' end"],
        ),
        ([REQUEST_HEADERS, LAST], ["Decide", "RoutedHeaders", "REQUEST b'' end"]),
        (
            [REQUEST_HEADERS, ev.RequestBody(b"ab", False), ev.RequestTrailers()],
            ["Decide", "RoutedHeaders", "REQUEST b'ab'", "REQUEST trailers"],
        ),
        ([ev.RequestBody(b"x", True)], ["Decide", "RoutedHeaders", "REQUEST b'x' end"]),
        (
            [REQUEST_HEADERS, LAST, ev.RequestBody(b"again", True)],
            ["Decide", "RoutedHeaders", "REQUEST b'' end"],
        ),
        ([REQUEST_HEADERS, ev.RequestHeaders(HEADERS, True)], []),
        ([ev.Unknown()], []),
        ([ev.ResponseHeaders(ResponseStart(ANSWER_HEADERS), True)], ["HeadersAnswer"]),
        (
            [
                ev.ResponseHeaders(ResponseStart(ANSWER_HEADERS), False),
                ev.ResponseBody(b"x", False),
                ev.ResponseBody(b"", True),
                ev.ResponseBody(b"late", True),
            ],
            ["HeadersAnswer", "RESPONSE b'x'", "RESPONSE b'' end"],
        ),
        (
            [
                ev.ResponseHeaders(ResponseStart(ANSWER_HEADERS), False),
                ev.ResponseBody(b"x", False),
                ev.ResponseTrailers(),
                ev.ResponseTrailers(),
            ],
            ["HeadersAnswer", "RESPONSE b'x'", "RESPONSE trailers"],
        ),
        ([ev.ResponseBody(b"x", True)], []),
        (
            [
                REQUEST_HEADERS,
                ev.RequestBody(b"request", False),
                ev.ResponseHeaders(ResponseStart(ANSWER_HEADERS), False),
                ev.RequestBody(b"more", True),
                ev.ResponseBody(b"early", True),
            ],
            ["HeadersAnswer", "RESPONSE b'early' end"],
        ),
        (
            [ev.RequestHeaders(HEADERS, False, modes=ev.Modes(9, 9))],
            ["500 inference gateway: Internal - request body mode 9 is not supported", "end"],
        ),
    ],
)
def test_each_message_gets_the_answers_that_are_due(
    events: list[ev.Event], answers: list[str]
) -> None:
    assert shape(Case().feed(*events)) == answers


def test_an_early_answer_withdraws_the_decision() -> None:
    case = Case()
    case.stream.receive(REQUEST_HEADERS)
    (order,) = case.stream.receive(LAST)
    assert case.stream.is_deciding
    assert shape(case.stream.receive(ev.ResponseHeaders(ResponseStart(ANSWER_HEADERS), True))) == [
        "HeadersAnswer"
    ]
    assert not case.stream.is_deciding
    assert isinstance(order, ev.Decide)
    assert list(case.stream.decided(case.decision(order))) == []


def test_a_refusal_is_an_immediate_response_and_the_end() -> None:
    case = Case()
    case.stream.receive(REQUEST_HEADERS)
    case.stream.receive(LAST)
    outputs = case.stream.decided(ServiceUnavailableError("nobody is there"))
    assert shape(outputs) == ["503 inference gateway: ServiceUnavailable - nobody is there", "end"]
    assert case.feed(ev.ResponseHeaders(ResponseStart(ANSWER_HEADERS), True)) == []


@pytest.mark.parametrize(
    ("events", "end"),
    [
        ([], ["end"]),
        (
            [REQUEST_HEADERS, ev.RequestBody(b"x", False)],
            ["end the request ended before its body was complete"],
        ),
        ([REQUEST_HEADERS, LAST], ["end"]),
        (
            [REQUEST_HEADERS, LAST, ev.ResponseHeaders(ResponseStart(ANSWER_HEADERS), False)],
            ["end"],
        ),
    ],
)
def test_a_half_close_ends_well_only_when_nothing_is_held_back(
    events: list[ev.Event], end: list[str]
) -> None:
    case = Case()
    case.feed(*events)
    assert shape(case.stream.half_closed()) == end


def test_a_half_close_while_deciding_is_answered_all_the_same() -> None:
    case = Case()
    case.stream.receive(REQUEST_HEADERS)
    (order,) = case.stream.receive(LAST)
    assert list(case.stream.half_closed()) == []
    assert isinstance(order, ev.Decide)
    assert shape(case.stream.decided(case.decision(order)))[0] == "RoutedHeaders"


@pytest.mark.parametrize(
    ("size", "count"), [(0, 1), (62_000, 1), (62_001, 2), (124_000, 2), (125_000, 3)]
)
def test_bodies_are_cut_at_62000_bytes(size: int, count: int) -> None:
    body = bytes(size)
    cut = pieces(ev.Direction.REQUEST, body, end=True)
    assert len(cut) == count
    assert body_of(cut, ev.Direction.REQUEST) == body
    ends = [piece.end_of_stream for piece in cut if isinstance(piece, ev.BodyAnswer)]
    assert ends == [False] * (count - 1) + [True]


def cut(data: st.DataObject, body: bytes) -> list[bytes]:
    places = data.draw(st.lists(st.integers(0, len(body)), max_size=8).map(sorted))
    return [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]


@given(data=st.data(), size=st.sampled_from([0, 1, 50, MAX_PIECE_BYTES + 1]))
def test_any_chunking_of_a_body_gives_the_same_bytes(data: st.DataObject, size: int) -> None:
    body = bytes(i % 251 for i in range(size))
    with_trailers = data.draw(st.booleans())
    request: list[ev.Event] = [ev.RequestBody(piece, False) for piece in cut(data, body)]
    response: list[ev.Event] = [ev.ResponseBody(piece, False) for piece in cut(data, body)]
    out = Case().feed(
        REQUEST_HEADERS,
        *request,
        ev.RequestTrailers() if with_trailers else LAST,
        ev.ResponseHeaders(ResponseStart(ANSWER_HEADERS), False),
        *response,
        ev.ResponseTrailers() if with_trailers else ev.ResponseBody(b"", True),
    )
    orders = [output for output in out if isinstance(output, ev.Decide)]
    assert [order.request.body for order in orders] == [body]
    assert body_of(out, ev.Direction.REQUEST) == body
    assert body_of(out, ev.Direction.RESPONSE) == body
    for direction in ev.Direction:
        ends = sum(
            isinstance(o, ev.BodyAnswer) and o.end_of_stream and o.direction is direction
            for o in out
        )
        assert ends == (0 if with_trailers else 1)


WHOLE: list[ev.Event] = [
    REQUEST_HEADERS,
    ev.RequestBody(b'{"model":"m"}', False),
    LAST,
    ev.ResponseHeaders(ResponseStart(ANSWER_HEADERS), False),
    ev.ResponseBody(b"{}", False),
    ev.ResponseBody(b"", True),
]


def test_an_empty_piece_of_an_answer_is_answered_but_is_no_chunk() -> None:
    case = Case()
    case.feed(REQUEST_HEADERS, LAST)
    case.feed(ev.ResponseHeaders(ResponseStart({"content-type": b"text/event-stream"}), False))
    bodies = (b"", b"data: 1", b"", b"data: 2", b"")
    answers = case.feed(*(ev.ResponseBody(body, False) for body in bodies))
    assert shape(answers) == [f"RESPONSE {body!r}" for body in bodies]
    assert len(case.probe.gaps) == 1


@pytest.mark.parametrize("length", range(len(WHOLE) + 1))
def test_a_reset_after_each_message_leaves_the_gauges_at_zero(length: int) -> None:
    case = Case()
    case.feed(*WHOLE[:length])
    case.stream.closed()
    case.stream.closed()
    assert sum(change for _, change in case.probe.running) == 0


EVENTS = st.sampled_from(
    [
        ev.RequestHeaders(HEADERS, False),
        ev.RequestHeaders(HEADERS, True),
        ev.RequestHeaders({}, False, modes=ev.Modes(1, 1)),
        ev.RequestBody(b"a", False),
        ev.RequestBody(b"b", True),
        ev.RequestTrailers(),
        ev.ResponseHeaders(ResponseStart(ANSWER_HEADERS), False),
        ev.ResponseHeaders(ResponseStart({}, "10.9.9.9:1"), True),
        ev.ResponseBody(b"c", False),
        ev.ResponseBody(b"d", True),
        ev.ResponseTrailers(),
        ev.Unknown(),
    ]
)


@given(st.lists(EVENTS, max_size=12))
def test_no_order_of_messages_gets_a_spurious_answer(events: list[ev.Event]) -> None:
    """Per direction: at most one headers answer, then pieces, then at most one end."""
    case = Case()
    out = case.feed(*events)
    case.stream.closed()
    assert sum(change for _, change in case.probe.running) == 0
    request = [o for o in shape(out) if o.startswith(("Routed", "REQUEST"))]
    response = [o for o in shape(out) if o.startswith(("HeadersAnswer", "RESPONSE"))]
    for answers in (request, response):
        assert len([a for a in answers if a.endswith("Headers") or a == "HeadersAnswer"]) <= 1
        if answers:
            assert answers[0] in ("RoutedHeaders", "HeadersAnswer")
        ends = [i for i, a in enumerate(answers) if a.endswith((" end", "trailers"))]
        assert len(ends) <= 1
        assert not ends or ends[0] == len(answers) - 1


NONE, STREAMED, BUFFERED, PARTIAL, DUPLEX = range(5)
ANSWERED = ev.ResponseHeaders(ResponseStart(ANSWER_HEADERS), False)


def headers_in(request: int, response: int = DUPLEX, **more: bytes) -> ev.RequestHeaders:
    return ev.RequestHeaders({**HEADERS, **more}, False, modes=ev.Modes(request, response))


@pytest.mark.parametrize(
    ("events", "answers"),
    [
        ([headers_in(NONE)], ["Decide", "RoutedHeaders"]),
        ([headers_in(NONE), ev.RequestBody(b"x", True)], ["Decide", "RoutedHeaders"]),
        (
            [headers_in(STREAMED), ev.RequestBody(b"ab", False), ev.RequestBody(b"c", True), LAST],
            ["Decide", "RoutedHeaders", "REQUEST as it is", "REQUEST as it is"],
        ),
        (
            [headers_in(STREAMED), ev.RequestBody(b"ab", False), ev.RequestTrailers()],
            ["Decide", "RoutedHeaders", "REQUEST as it is", "REQUEST trailers"],
        ),
        ([headers_in(BUFFERED)], ["noted"]),
        (
            [headers_in(BUFFERED), ev.RequestBody(b"ab", True)],
            ["noted", "Decide", "RoutedBody"],
        ),
        (
            [headers_in(BUFFERED), ev.RequestBody(b"ab", False), ev.RequestTrailers()],
            ["noted", "Decide", "RoutedBody", "REQUEST trailers"],
        ),
        (
            [headers_in(BUFFERED), ev.RequestTrailers()],
            [
                "noted",
                "400 inference gateway: BadRequest - the request has trailers and no body",
                "end",
            ],
        ),
        (
            [headers_in(PARTIAL), ev.RequestBody(b"cut off", False)],
            ["noted", "Decide", "RoutedBody"],
        ),
        (
            [
                headers_in(DUPLEX, upgrade=b"websocket"),
                ev.RequestBody(b"frame", False),
                ev.RequestBody(b"", True),
            ],
            ["Decide", "RoutedHeaders", "REQUEST b'frame'", "REQUEST b'' end"],
        ),
        (
            [headers_in(DUPLEX, expect=b"100-Continue"), ev.RequestBody(b"ab", True)],
            ["Decide", "RoutedHeaders", "REQUEST b'ab' end"],
        ),
    ],
)
def test_a_request_is_answered_in_the_mode_of_its_proxy(
    events: list[ev.Event], answers: list[str]
) -> None:
    assert shape(Case().feed(*events)) == answers


@pytest.mark.parametrize(
    ("mode", "events", "answers"),
    [
        (NONE, [ANSWERED], ["HeadersAnswer"]),
        (
            STREAMED,
            [ANSWERED, ev.ResponseBody(b"ab", False), ev.ResponseBody(b"", True)],
            ["HeadersAnswer", "RESPONSE as it is", "RESPONSE as it is"],
        ),
        (
            BUFFERED,
            [ANSWERED, ev.ResponseBody(b"ab", True), ev.ResponseBody(b"x", True)],
            ["HeadersAnswer", "RESPONSE as it is"],
        ),
        (
            STREAMED,
            [ANSWERED, ev.ResponseBody(b"ab", False), ev.ResponseTrailers()],
            ["HeadersAnswer", "RESPONSE as it is", "RESPONSE trailers"],
        ),
    ],
)
def test_an_answer_passes_in_the_mode_of_its_proxy(
    mode: int, events: list[ev.Event], answers: list[str]
) -> None:
    case = Case()
    case.feed(headers_in(DUPLEX, mode), LAST)
    assert shape(case.feed(*events)) == answers
    case.stream.closed()
    case.stream.closed()
    assert case.probe.calls.count("response_complete") == 1


@pytest.mark.parametrize("mode", [STREAMED, BUFFERED])
def test_the_usage_of_an_answer_is_read_in_every_mode(mode: int) -> None:
    case = Case()
    case.exchange.read_usage(usage_reader)
    case.feed(headers_in(DUPLEX, mode), LAST, ANSWERED)
    case.feed(ev.ResponseBody(b'{"usage":{"prompt_tokens":3,', mode == 0))
    case.feed(ev.ResponseBody(b'"completion_tokens":4}}', True))
    (complete,) = case.probe.complete
    assert complete.usage is not None
    assert (complete.usage.prompt_tokens, complete.usage.completion_tokens) == (3, 4)


@pytest.mark.parametrize("mode", [STREAMED, DUPLEX])
def test_what_comes_while_a_decision_waits_is_answered_after_it(mode: int) -> None:
    case = Case()
    (order,) = case.stream.receive(headers_in(mode, upgrade=b"h2c"))
    assert isinstance(order, ev.Decide)
    for event in (ev.RequestBody(b"a", False), ev.RequestBody(b"b", False), ev.RequestTrailers()):
        assert case.stream.receive(event) == ()
    answers = shape(case.stream.decided(case.decision(order)))
    passed = ["REQUEST as it is"] * 2 if mode == STREAMED else ["REQUEST b'a'", "REQUEST b'b'"]
    assert answers == ["RoutedHeaders", *passed, "REQUEST trailers"]


def test_a_buffered_body_that_was_renamed_is_sent_back() -> None:
    case = Case()
    case.stream.receive(headers_in(BUFFERED))
    (order,) = case.stream.receive(ev.RequestBody(b"ab", True))
    assert isinstance(order, ev.Decide)
    decision = msgspec.structs.replace(case.decision(order), body=b"cd")
    assert shape(case.stream.decided(decision)) == ["RoutedBody changed"]


def test_a_proxy_that_only_observes_gets_no_answer_and_nothing_is_counted() -> None:
    case = Case()
    modes = ev.Modes(is_observing=True)
    events: list[ev.Event] = [
        ev.RequestHeaders(HEADERS, False, modes=modes),
        ev.RequestBody(b"ab", True),
        ANSWERED,
        ev.ResponseBody(b"x", True),
    ]
    assert case.feed(*events) == []
    case.stream.closed()
    assert case.probe.calls == []


def test_a_body_that_comes_though_none_was_told_of_passes_as_in_duplex() -> None:
    case = Case()
    case.feed(headers_in(DUPLEX, NONE), LAST, ANSWERED)
    assert case.stream.is_answering
    assert shape(case.feed(ev.ResponseBody(b"x", False))) == ["RESPONSE b'x'"]
    case.stream.closed()  # cut off, not complete
    assert "response_complete" not in case.probe.calls
