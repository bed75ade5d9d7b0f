from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.decision import Decision, SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.errors import BadRequestError, ServiceUnavailableError
from epp.core.request import Headers, RequestKey, Usage
from epp.core.response import ResponseStart
from epp.datastore.store import Datastore
from epp.exchange import Exchange
from epp.usage import usage_reader
from tests.fakes import (
    Complete,
    FakeClock,
    FakeProbe,
    endpoints,
    make_endpoint,
    make_request,
    make_run,
)

JSON: Headers = {":status": b"200", "content-type": b"application/json"}
EVENTS: Headers = {":status": b"200", "content-type": b"text/event-stream; charset=utf-8"}
ANSWER = b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}'
SEVEN = Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7)


class CountingClock(FakeClock):
    """Knows how often it was read."""

    readings = 0

    def now(self) -> float:
        self.readings += 1
        return super().now()


class World:
    """An exchange with a request for ``m``, rewritten to ``t``."""

    def __init__(
        self,
        *picked: Endpoint,
        prompt: str | None = "hello",
        model: str = "m",
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.probe = FakeProbe()
        self.store = Datastore(self.clock)
        self.exchange = Exchange(clock=self.clock, probe=self.probe, datastore=self.store)
        chosen = picked or endpoints(0)[:1]
        self.store.set_endpoints(chosen)
        request = make_request(prompt, model=model, target="t")
        run = make_run(*chosen, picked=chosen)
        self.decision = Decision(
            request=request,
            result=SchedulingResult("p", {"p": run}),
            destination=",".join([e.destination for e in chosen]),
            set_headers=(),
            body=None if prompt is None else b"12345",
        )

    def route(self) -> Exchange:
        request = self.decision.request
        self.exchange.name_models(request.incoming_model, request.target_model)
        self.exchange.read_usage(usage_reader)
        self.exchange.routed(self.decision)
        return self.exchange


def test_a_request_is_followed_from_its_first_byte_to_its_last() -> None:
    world = World()
    world.clock.advance(0.5)
    exchange = world.route()
    exchange.response_started(ResponseStart(JSON, "10.0.0.1:8000"))
    exchange.response_chunk(ANSWER[:9])
    exchange.response_chunk(ANSWER[9:])
    world.clock.advance(2.0)
    exchange.response_ended()
    exchange.close()
    assert world.probe.calls == [
        "request_routed",
        "running_changed",
        "response_complete",
        "running_changed",
    ]
    assert world.probe.routed == [("m", "t", 5)]
    assert world.probe.running == [("m", 1), ("m", -1)]
    assert world.probe.complete == [Complete("m", "t", 2.5, len(ANSWER), False, SEVEN)]


def test_every_report_names_whose_request_it_is() -> None:
    world = World()
    key = RequestKey("m", "t", "alice", -2)
    world.exchange.name_models("m", "t", "alice", -2)
    world.exchange.routed(world.decision)
    world.exchange.response_started(ResponseStart(EVENTS, ""))
    world.exchange.response_chunk(b"data: {}\n\n")
    world.exchange.response_ended()
    world.exchange.failed("Unknown")
    world.exchange.close()
    assert world.probe.keys == [key] * 6


@pytest.mark.parametrize(
    ("headers", "gaps", "handling"), [(EVENTS, [0.25, 0.5], None), (JSON, [], 1.75)]
)
def test_the_times_of_an_answer_are_those_of_its_chunks(
    headers: Headers, gaps: list[float], handling: float | None
) -> None:
    world = World()
    world.clock.advance(0.5)
    exchange = world.route()
    world.clock.advance(1.0)
    exchange.response_started(ResponseStart(headers, ""))
    for pause in (0.75, 0.25, 0.5):
        world.clock.advance(pause)
        exchange.response_chunk(b"data: {}\n\n")
    world.clock.advance(0.25)
    exchange.response_ended()
    assert world.probe.handled == [0.5]
    assert world.probe.gaps == gaps
    assert world.probe.timings == [(2.25, handling)]
    assert world.probe.complete[0].seconds == 3.25


@pytest.mark.parametrize(("headers", "readings"), [(EVENTS, 1), (JSON, 0)])
def test_a_chunk_after_the_first_costs_at_most_one_reading_of_the_clock(
    headers: Headers, readings: int
) -> None:
    clock = CountingClock()
    world = World(clock=clock)
    exchange = world.route()
    exchange.response_started(ResponseStart(headers, ""))
    exchange.response_chunk(b"data: {}\n\n")
    before = clock.readings
    exchange.response_chunk(b"data: {}\n\n")
    assert clock.readings - before == readings


def test_an_answer_without_a_body_has_no_first_byte() -> None:
    world = World()
    exchange = world.route()
    exchange.response_started(ResponseStart(JSON, ""))
    exchange.response_ended()
    assert world.probe.timings == [(None, 0.0)]


@pytest.mark.parametrize("headers", [EVENTS, JSON])
def test_of_a_request_without_a_body_no_chunk_is_timed(headers: Headers) -> None:
    world = World(prompt=None)
    exchange = world.route()
    exchange.response_started(ResponseStart(headers, ""))
    for _ in range(3):
        exchange.response_chunk(b"data: {}\n\n")
    exchange.response_ended()
    exchange.close()
    assert world.probe.calls == []
    assert world.probe.keys == []
    assert world.probe.gaps == []


def test_an_error_after_the_request_went_on_is_no_refusal() -> None:
    world = World()
    world.route().failed("Unknown")
    world.exchange.close()
    assert len(world.probe.handled) == 1
    assert world.probe.failed == [("m", "t", "Unknown")]


def test_a_streamed_answer_is_read_event_by_event() -> None:
    world = World()
    exchange = world.route()
    exchange.response_started(ResponseStart(EVENTS, ""))
    stream = b"data: {}\n\ndata: " + ANSWER + b"\n\ndata: [DONE]\n\n"
    for byte in stream:
        exchange.response_chunk(bytes([byte]))
    exchange.response_ended()
    assert world.probe.complete == [Complete("m", "t", 0.0, len(stream), True, SEVEN)]


def test_an_answer_without_usage_is_complete_all_the_same() -> None:
    world = World()
    exchange = world.route()
    exchange.response_started(ResponseStart(JSON, ""))
    exchange.response_chunk(b"[]")
    exchange.response_ended()
    assert world.probe.complete == [Complete("m", "t", 0.0, 2, False, None)]


def test_the_end_is_reported_once_however_often_it_comes() -> None:
    world = World()
    exchange = world.route()
    exchange.response_started(ResponseStart(JSON, ""))
    for _ in range(3):
        exchange.response_ended()
    for _ in range(3):
        exchange.close()
    exchange.response_ended()
    assert len(world.probe.complete) == 1
    assert world.probe.running == [("m", 1), ("m", -1)]
    assert world.probe.failed == []


def test_a_stream_that_breaks_off_is_no_complete_answer() -> None:
    world = World()
    exchange = world.route()
    exchange.response_started(ResponseStart(JSON, ""))
    exchange.response_chunk(b"{")
    exchange.close()
    assert world.probe.complete == []
    assert world.probe.running == [("m", 1), ("m", -1)]


@pytest.mark.parametrize(
    ("headers", "is_error"),
    [
        ({":status": b"200"}, False),
        ({":status": b"204"}, False),
        ({":status": b"302"}, True),
        ({":status": b"404"}, True),
        ({":status": b"503"}, True),
        ({"status": b"500"}, True),
        ({":status": b"200", "status": b"500"}, False),
        ({}, False),
    ],
)
def test_a_status_other_than_2xx_is_the_model_servers_error(
    headers: Headers, is_error: bool
) -> None:
    world = World()
    exchange = world.route()
    exchange.response_started(ResponseStart(headers, ""))
    exchange.response_ended()
    exchange.close()
    exchange.close()
    assert world.probe.failed == ([("m", "t", "ModelServerError")] if is_error else [])


def test_a_refusal_is_reported_once_when_the_stream_is_over() -> None:
    world = World()
    world.exchange.name_models("m", "t")
    world.clock.advance(0.5)
    world.exchange.failed(ServiceUnavailableError.code)
    assert world.probe.calls == ["request_refused"]
    world.exchange.close()
    world.exchange.close()
    assert world.probe.calls == ["request_refused", "request_failed"]
    assert world.probe.handled == [0.5]
    assert world.probe.failed == [("m", "t", "ServiceUnavailable")]
    assert world.probe.running == []


def test_a_refusal_before_the_model_is_known_names_none() -> None:
    world = World()
    world.exchange.failed(BadRequestError.code)
    world.exchange.close()
    assert world.probe.failed == [("", "", "BadRequest")]


def test_a_request_without_a_body_does_not_run() -> None:
    world = World(prompt=None)
    exchange = world.route()
    exchange.close()
    assert world.probe.calls == []


def test_a_request_without_a_model_does_not_run() -> None:
    world = World(model="")
    exchange = world.route()
    exchange.close()
    assert world.probe.calls == ["request_routed"]


@pytest.mark.parametrize(
    ("served", "reachable"),
    [
        ("", "abc"),
        ("10.0.0.1:8000", "abc"),
        ("10.0.0.2:8000", "bc"),
        ("10.0.0.3:8000", "c"),
        ("10.0.0.9:8000", "abc"),
        ("10.0.0.1:9", "abc"),
        ("nonsense", "abc"),
    ],
)
def test_who_was_picked_but_passed_over_counts_as_not_answering(
    served: str, reachable: str
) -> None:
    a, b, c = endpoints(0, 0, 0)
    world = World(a, b)
    world.store.put_endpoint(c)
    for endpoint in (a, b, c):
        world.store.scrape_succeeded(endpoint.id, endpoint.metrics)
    world.route().response_started(ResponseStart(JSON, served))
    assert [e.name for e in world.store.candidates()] == list(reachable)


def test_an_ipv6_endpoint_is_recognised_as_the_one_that_served() -> None:
    six, other = make_endpoint("six", address="2001:db8::1"), make_endpoint("other")
    world = World(six)
    world.store.put_endpoint(other)
    for endpoint in (six, other):
        world.store.scrape_succeeded(endpoint.id, endpoint.metrics)
    world.route().response_started(ResponseStart(JSON, "[2001:db8::1]:8000"))
    assert [e.name for e in world.store.candidates()] == ["six", "other"]


def test_an_endpoint_that_was_passed_over_is_forgiven_after_a_second() -> None:
    a, b = endpoints(0, 0)
    world = World(a)
    world.store.put_endpoint(b)
    for endpoint in (a, b):
        world.store.scrape_succeeded(endpoint.id, endpoint.metrics)
    world.route().response_started(ResponseStart(JSON, b.destination))
    world.store.scrape_succeeded(a.id, a.metrics)  # a good scrape does not make up for it
    assert [e.name for e in world.store.candidates()] == ["b"]
    world.clock.advance(1.5)
    assert [e.name for e in world.store.candidates()] == ["a", "b"]


def test_a_refusal_may_bring_the_model_it_had_read() -> None:
    world = World()
    world.exchange.failed("BadRequest", model="m")
    world.exchange.close()
    assert world.probe.failed == [("m", "m", "BadRequest")]


EVENT_NAMES = st.sampled_from(["routed", "failed", "started", "error", "chunk", "ended", "close"])


@given(st.lists(EVENT_NAMES, max_size=12))
def test_in_any_order_of_events_nothing_is_reported_twice_and_nobody_runs_on(
    events: list[str],
) -> None:
    world = World()
    exchange = world.exchange
    actions = {
        "routed": world.route,
        "failed": lambda: exchange.failed(BadRequestError.code),
        "started": lambda: exchange.response_started(ResponseStart(JSON, "")),
        "error": lambda: exchange.response_started(ResponseStart({":status": b"500"}, "")),
        "chunk": lambda: exchange.response_chunk(ANSWER),
        "ended": exchange.response_ended,
        "close": exchange.close,
    }
    once = {"routed", "started", "error"}  # the proxy starts a request and an answer once
    for event, count in Counter(events).items():
        if event in once and count > 1:
            return
    if "started" in events and "error" in events:
        return
    if "close" in events:
        events = events[: events.index("close") + 1]  # nothing follows the end of a stream
    for event in [*events, "close"]:
        actions[event]()
    assert sum(change for _, change in world.probe.running) == 0
    assert all(
        count <= 1
        for call, count in Counter(world.probe.calls).items()
        if call != "running_changed"
    )
