from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Any

import msgspec
import pytest

from epp.core.call import STRIKES
from epp.core.data import CycleData, DataKey
from epp.core.decision import Decision, SchedulingResult
from epp.core.errors import ResourceExhaustedError
from epp.core.plugin import Plugin, ResponseHeaderProcessor, ResponseObserver
from epp.core.request import InferenceRequest, Usage
from epp.core.response import Metadata, ResponseEnd, ResponseStart, Termination
from epp.datastore.store import Datastore
from epp.exchange import Exchange
from epp.extproc import codec
from epp.extproc import events as ev
from epp.extproc.pb import ext_proc_pb2 as pb
from epp.extproc.relay import Relay
from epp.extproc.stream import Stream
from epp.following import Following, ResponseHooks
from epp.usage import usage_reader
from tests.fakes import FakeClock, FakeProbe, endpoints, make_request, make_run

KEPT: DataKey[str] = DataKey("kept")
PASSING: DataKey[str] = DataKey("passing")
(A,) = endpoints(0)
RESULT = SchedulingResult("p", {"p": make_run(A, picked=[A])})
START = ResponseStart({":status": b"200", "content-type": b"application/json"})
FAILURE = ResponseStart({":status": b"503"})
ANSWER = b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}'
SEVEN = Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7)
COST = Metadata("space", "cost", 1.5)
REFUSAL = ResourceExhaustedError("no")


class Sets(ResponseHeaderProcessor):
    """Sets the headers that a test says."""

    type = "sets"

    def __init__(self, does: Callable[[], Any]) -> None:
        self.does = does
        self.requests: list[InferenceRequest] = []

    def response_headers(
        self, request: InferenceRequest, result: SchedulingResult, response: ResponseStart
    ) -> Iterable[tuple[str, bytes]]:
        self.requests.append(request)
        headers: Iterable[tuple[str, bytes]] = self.does()
        return headers


class Observes(ResponseObserver):
    """Remembers what it saw, and does what a test says."""

    type = "observes"

    def __init__(
        self, ended: Callable[[], Any] = tuple, chunk: Callable[[], Any] = lambda: None
    ) -> None:
        self._ended = ended
        self._chunk = chunk
        self.chunks: list[bytes] = []
        self.ends: list[ResponseEnd] = []
        self.requests: list[InferenceRequest] = []

    def response_chunk(
        self, request: InferenceRequest, result: SchedulingResult, chunk: bytes | bytearray
    ) -> None:
        self.chunks.append(bytes(chunk))
        self._chunk()

    def response_ended(
        self, request: InferenceRequest, result: SchedulingResult, end: ResponseEnd
    ) -> Iterable[Metadata]:
        self.ends.append(end)
        self.requests.append(request)
        metadata: Iterable[Metadata] = self._ended()
        return metadata


class SeesAll(Observes):
    type = "sees-all"
    sees_every_chunk = True


def raising(error: Exception) -> Callable[[], Any]:
    def raise_it() -> Any:
        raise error

    return raise_it


class World:
    """A stream of a request that these plugins follow."""

    def __init__(self, *plugins: Plugin) -> None:
        self.probe = FakeProbe()
        self.request = make_request("a long prompt")
        self.request.data.set(PASSING, "1")
        self.request.data.keep(KEPT, "2")
        self.following = Following(ResponseHooks(plugins, self.probe), self.request, RESULT)
        self.exchange = Exchange(clock=FakeClock(), probe=self.probe, datastore=Datastore())
        self.stream = Stream(self.exchange)

    @property
    def failed(self) -> list[str]:
        return [f"{point} {name}" for point, _, name, _ in self.probe.plugin_failures]

    def decide(self) -> None:
        """What the director does, up to its answer."""
        self.receive(ev.RequestHeaders({}, False), ev.RequestBody(b"{}", True))
        self.exchange.name_models("m", "m")
        self.exchange.read_usage(usage_reader)
        self.exchange.follow(self.following)

    def route(self) -> None:
        self.decide()
        self.stream.decided(Decision(self.request, RESULT, A.destination, (), b"{}"))

    def receive(self, *events: ev.Event) -> list[pb.ProcessingResponse]:
        """The answers as the proxy reads them."""
        outputs = [output for event in events for output in self.stream.receive(event)]
        return [
            pb.ProcessingResponse.FromString(codec.encode(output))
            for output in outputs
            if not isinstance(output, ev.Decide | ev.End)
        ]


BREAKS = [ValueError("broken"), KeyError("x"), TimeoutError(), REFUSAL]


@pytest.mark.parametrize("error", BREAKS)
def test_a_plugin_that_raises_costs_nobody_anything(error: Exception) -> None:
    broken, well = SeesAll(raising(error), raising(error)), SeesAll(lambda: [COST])
    headers = Sets(raising(error)), Sets(lambda: [("x-a", b"1")])
    world = World(*headers, broken, well)
    assert world.following.started(START) == (("x-a", b"1"),)
    for _ in range(2):
        assert world.following.chunk is not None
        world.following.chunk(b"1")
    assert world.following.ended(ResponseEnd()) == (COST,)
    assert well.chunks == [b"1", b"1"]
    assert world.failed == [
        "ResponseReceived sets",
        "ResponseStreaming sees-all",
        "ResponseStreaming sees-all",
        "ResponseComplete sees-all",
    ]


@pytest.mark.parametrize(
    "made",
    [7, "ab", [("x-a",)], [("X-A", b"1")], [("x-a", "1")], [(None, b"")], [("x-a", b"\n")]],
)
def test_headers_that_are_none_cost_only_themselves(made: Any) -> None:
    world = World(Sets(lambda: made), Sets(lambda: iter([("x-b", b"2")])))
    assert world.following.started(START) == (("x-b", b"2"),)
    assert world.failed == ["ResponseReceived sets"]


@pytest.mark.parametrize(
    "made",
    [
        7,
        "ab",
        [("space", "name")],
        [("space", "name", "much")],
        [("space", "name", None)],
        [(b"space", "name", 1)],
        [("space", 1, 1)],
        [Metadata("space", "name", raising)],  # type: ignore[arg-type]
    ],
)
def test_metadata_that_is_none_costs_only_itself(made: Any) -> None:
    world = World(Observes(lambda: made), Observes(lambda: [COST]))
    assert world.following.ended(ResponseEnd()) == (COST,)
    assert world.failed == ["ResponseComplete observes"]


@pytest.mark.parametrize("made", [None, (), [], iter(())])
def test_nobody_has_to_say_anything(made: Any) -> None:
    world = World(Sets(lambda: made or ()), Observes(lambda: made))
    assert world.following.started(START) == ()
    assert world.following.ended(ResponseEnd()) == ()
    assert world.failed == []


def test_numbers_may_be_of_any_kind() -> None:
    world = World(Observes(lambda: iter([("space", "count", 3), ("space", "most", inf)])))
    assert world.following.ended(ResponseEnd()) == (
        Metadata("space", "count", 3.0),
        Metadata("space", "most", inf),
    )


def test_only_the_first_piece_is_told_to_those_who_do_not_ask_for_all() -> None:
    first, every = Observes(), SeesAll()
    world = World(first, every)
    world.route()
    world.receive(ev.ResponseHeaders(START, False))
    for piece in (b"1", b"2", b"3"):
        world.receive(ev.ResponseBody(piece, False))
    world.receive(ev.ResponseBody(b"4", True))
    assert first.chunks == [b"1"]
    assert every.chunks == [b"1", b"2", b"3", b"4"]
    assert first.ends[0].chunks == every.ends[0].chunks == 4


def test_nobody_is_called_for_pieces_that_nobody_wants() -> None:
    world = World(Sets(tuple))
    assert world.following.chunk is None
    world = World(Observes())
    assert world.following.chunk is not None
    world.following.chunk(b"1")
    assert world.following.chunk is None


def test_a_plugin_over_its_budget_is_called_no_more() -> None:
    observer, setter = SeesAll(), Sets(lambda: [("x-a", b"1")])
    observer.budget_seconds = setter.budget_seconds = -1.0
    world = World(observer, setter)
    hooks = ResponseHooks([observer, setter], world.probe)
    for _ in range(STRIKES + 3):
        following = Following(hooks, world.request, RESULT)
        headers = following.started(START)
        assert following.chunk is not None
        following.chunk(b"1")
        following.ended(ResponseEnd())
    assert (len(observer.chunks), len(observer.ends), len(setter.requests)) == (STRIKES,) * 3
    assert headers == ()


def test_without_plugins_there_is_nothing_to_follow() -> None:
    assert not ResponseHooks([Plugin()], FakeProbe())
    assert ResponseHooks([Sets(tuple)], FakeProbe())
    assert ResponseHooks([Observes()], FakeProbe())


def test_of_a_request_only_what_was_kept_is_there_while_it_is_answered() -> None:
    observer, setter = Observes(), Sets(tuple)
    world = World(observer, setter)
    world.following.started(START)
    world.following.ended(ResponseEnd())
    for request in (*observer.requests, *setter.requests):
        assert (request.body, request.request_id) == (None, "r1")
        assert (request.data.get(KEPT), request.data.get(PASSING)) == ("2", None)


def test_a_long_answer_does_not_hold_its_prompt() -> None:
    class Prompt(CycleData):
        __slots__ = ("__weakref__",)

    world = World(Observes())
    held = Prompt()
    request = msgspec.structs.replace(world.request, data=held)
    hooks = ResponseHooks([Observes()], world.probe)
    exchange = world.exchange
    exchange.follow(Following(hooks, request, RESULT))
    exchange.routed(Decision(request, RESULT, A.destination, (), b"{}"))
    gone = weakref.ref(held)
    del held, request
    gc.collect()
    assert gone() is None


def headers(start: ResponseStart = START, *, end: bool = False) -> ev.ResponseHeaders:
    return ev.ResponseHeaders(start, end)


def body(data: bytes = ANSWER, *, end: bool = False) -> ev.ResponseBody:
    return ev.ResponseBody(data, end)


NATURAL, GONE, ERROR = Termination.NATURAL, Termination.CLIENT_DISCONNECT, Termination.ERROR


@pytest.mark.parametrize(
    ("events", "end"),
    [
        ([headers(), body(end=True)], ResponseEnd(NATURAL, SEVEN, 1)),
        ([headers(), body(), body(b"", end=True)], ResponseEnd(NATURAL, SEVEN, 1)),
        ([headers(), body(), ev.ResponseTrailers()], ResponseEnd(NATURAL, SEVEN, 1)),
        ([headers(), ev.ResponseTrailers()], ResponseEnd(NATURAL, None, 0)),
        ([headers(end=True)], ResponseEnd(NATURAL, None, 0)),
        ([headers(FAILURE), body(b"no", end=True)], ResponseEnd(NATURAL, None, 1)),
        (
            [headers(), body(end=True), body(end=True), ev.ResponseTrailers(), headers(end=True)],
            ResponseEnd(NATURAL, SEVEN, 1),
        ),
        ([], ResponseEnd(GONE, None, 0)),
        ([headers()], ResponseEnd(GONE, None, 0)),
        ([headers(), body(ANSWER[:9])], ResponseEnd(GONE, None, 1)),
        ([headers(), body(ANSWER)], ResponseEnd(GONE, SEVEN, 1)),
        ([headers(FAILURE), body(b"n")], ResponseEnd(ERROR, None, 1)),
    ],
)
def test_the_end_is_told_once_whichever_way_it_comes(
    events: Sequence[ev.Event], end: ResponseEnd
) -> None:
    observer, other = Observes(raising(ValueError())), Observes()
    world = World(observer, other)
    world.route()
    world.receive(*events)
    world.stream.half_closed()
    world.stream.closed()
    world.stream.closed()
    assert observer.ends == other.ends == [end]


def test_a_request_that_is_refused_after_plugins_heard_of_it_ends_with_an_error() -> None:
    observer = Observes()
    world = World(observer)
    world.decide()
    world.stream.decided(REFUSAL)
    world.stream.closed()
    assert observer.ends == [ResponseEnd(ERROR, None, 0)]


def test_a_request_whose_answer_came_before_its_decision_ends_too() -> None:
    observer = Observes()
    world = World(observer)
    world.decide()
    world.receive(headers(), body(end=True))
    world.stream.closed()
    assert [end.cause for end in observer.ends] == [GONE]


def test_a_piece_that_takes_the_short_way_is_told_as_well() -> None:
    every = SeesAll()
    world = World(every)
    world.route()
    world.receive(headers())
    message = pb.ProcessingRequest(response_body=pb.HttpBody(body=b"short"))
    message.metadata_context.SetInParent()
    assert Relay(world.stream).answer(message.SerializeToString()) is not None
    assert every.chunks == [b"short"]


def numbers(answer: pb.ProcessingResponse) -> dict[str, dict[str, float]]:
    spaces = answer.dynamic_metadata.fields
    return {
        space: {name: value.number_value for name, value in one.struct_value.fields.items()}
        for space, one in spaces.items()
    }


MANY = bytes(3 * ev.MAX_PIECE_BYTES)


@pytest.mark.parametrize(
    ("events", "kinds"),
    [
        ([headers(end=True)], ["response_headers"]),
        ([headers(), body(end=True)], ["response_headers", "response_body"]),
        ([headers(), body(), body(b"", end=True)], ["response_headers"] + 2 * ["response_body"]),
        ([headers(), body(MANY, end=True)], ["response_headers"] + 3 * ["response_body"]),
        (
            [headers(), body(), ev.ResponseTrailers()],
            ["response_headers", "response_body", "response_trailers"],
        ),
    ],
    ids=["headers-only", "one-piece", "empty-end", "many-pieces", "trailers"],
)
def test_what_plugins_tell_at_the_end_is_in_the_last_answer_alone(
    events: Sequence[ev.Event], kinds: list[str]
) -> None:
    world = World(
        Observes(lambda: [COST, Metadata("space", "b", 2)]), Observes(lambda: [("t", "c", 3)])
    )
    world.route()
    answers = world.receive(*events)
    assert [answer.WhichOneof("response") for answer in answers] == kinds
    assert [numbers(answer) for answer in answers[:-1]] == [{}] * (len(kinds) - 1)
    assert numbers(answers[-1]) == {"space": {"cost": 1.5, "b": 2.0}, "t": {"c": 3.0}}


def test_what_plugins_set_is_in_the_answers_headers() -> None:
    world = World(Sets(lambda: [("x-a", b"1")]), Sets(lambda: [("x-b", b"\xff")]))
    world.route()
    (answer,) = world.receive(headers())
    changed = answer.response_headers.response.header_mutation.set_headers
    assert [(one.header.key, one.header.raw_value) for one in changed] == [
        ("x-went-into-resp-headers", b"true"),
        ("x-a", b"1"),
        ("x-b", b"\xff"),
    ]
