from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import pytest

from epp.core.data import CycleData, DataKey
from epp.core.decision import Decision, SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.errors import (
    BadRequestError,
    EppError,
    ResourceExhaustedError,
    ServiceUnavailableError,
)
from epp.core.plugin import (
    DataProducer,
    Filter,
    HeaderChange,
    Picker,
    Plugin,
    PreRequest,
    ResponseObserver,
    SaturationDetector,
    Scorer,
)
from epp.core.request import Headers, IncomingRequest, InferenceRequest, RequestBody, RequestKey
from epp.core.response import ResponseEnd, Termination
from epp.datastore.store import Datastore
from epp.director import Director
from epp.disaggregation import ROUTING_HEADERS
from epp.exchange import Exchange
from epp.extproc import codec
from epp.extproc.events import RoutedHeaders
from epp.extproc.pb import ext_proc_pb2 as pb
from epp.following import ResponseHooks
from epp.formats.bodyalone import BodyAloneParser
from epp.hooks import RequestHooks
from epp.parsing import ParserChoice
from epp.plugins.profile_handlers.single_profile import SingleProfileHandler
from epp.plugins.saturation.utilization import UtilizationDetector, UtilizationDetectorParams
from epp.saturation import AnyRoomDetector, Thresholds
from epp.scheduling.profile import Profile, WeightedScorer
from epp.scheduling.scheduler import Scheduler
from tests.fakes import FakeClock, FakeProbe, endpoints, make_endpoint, make_handle

T = TypeVar("T")

COMPLETION = b'{"model":"m","prompt":"hello"}'
HEADERS: Headers = {":path": b"/v1/completions", "x-request-id": b"r1"}


class Steps:
    """The order in which parts are called; each part is the real one, or the plainest."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def parser(self) -> BodyAloneParser:
        taken = self.taken

        class Parser(BodyAloneParser):
            def parse(self, headers: Headers, body: bytes) -> RequestBody:
                taken.append("parse")
                return super().parse(headers, body)

            def rename_model(self, body: bytes, target_model: str) -> bytes:
                taken.append("rename")
                return super().rename_model(body, target_model)

        return Parser()

    def datastore(self) -> Datastore:
        taken = self.taken

        class Store(Datastore):
            def candidates(self, subset: Sequence[str] | None = None) -> tuple[Endpoint, ...]:
                taken.append("candidates")
                return super().candidates(subset)

            def priority(self, objective: str) -> int:
                taken.append("priority")
                return super().priority(objective)

        return Store()

    def saturation(self, clock: FakeClock) -> SaturationDetector:
        taken = self.taken

        class Saturation(AnyRoomDetector):
            def saturation(self, endpoints: Sequence[Endpoint], data: CycleData) -> float:
                taken.append("saturation")
                return super().saturation(endpoints, data)

        return Saturation(Thresholds(), make_handle(clock=clock))

    def filter(self) -> Filter:
        taken = self.taken

        class All(Filter):
            type = "all"

            def filter(
                self, request: InferenceRequest, endpoints: Sequence[Endpoint]
            ) -> Sequence[Endpoint]:
                taken.append("filter")
                return [e for e in endpoints if e.name != "filtered"]

        return All()

    def scorer(self) -> Scorer:
        taken = self.taken

        class Equal(Scorer):
            type = "equal"

            def score(
                self, request: InferenceRequest, endpoints: Sequence[Endpoint]
            ) -> Sequence[float]:
                taken.append("score")
                return [1.0] * len(endpoints)

        return Equal()

    def picker(self, limit: int) -> Picker:
        taken = self.taken

        class First(Picker):
            type = "first"

            def pick(
                self, endpoints: Sequence[Endpoint], totals: Sequence[float]
            ) -> Sequence[Endpoint]:
                taken.append("pick")
                return endpoints[:limit]

        return First()

    def pre_request(self) -> PreRequest:
        taken = self.taken

        class Note(PreRequest):
            type = "note"

            def pre_request(self, request: InferenceRequest, result: SchedulingResult) -> None:
                taken.append(f"pre-request {request.target_model} to {result.picked[0].name}")

        return Note()


class World:
    """A director over two endpoints, ``a`` and ``b``, of which it picks the first."""

    def __init__(
        self,
        *members: Endpoint,
        limit: int = 1,
        honour_subset: bool = True,
        emit_scores: bool = False,
        priorities: dict[str, int] | None = None,
        saturation: SaturationDetector | None = None,
        plugins: Sequence[Plugin] = (),
        producers: Sequence[DataProducer] = (),
    ) -> None:
        steps = Steps()
        self.steps = steps.taken
        self.probe = FakeProbe()
        self.clock = FakeClock()
        self.store = steps.datastore()
        self.store.set_endpoints(members or endpoints(0, 0))
        self.store.set_priorities(priorities or {})
        self.exchange = Exchange(clock=self.clock, probe=self.probe, datastore=self.store)
        profile = Profile(
            "default",
            filters=[steps.filter()],
            scorers=[WeightedScorer(steps.scorer(), 1.0)],
            picker=steps.picker(limit),
            probe=self.probe,
        )
        self.director = Director(
            parsing=ParserChoice([steps.parser()]),
            scheduler=Scheduler(SingleProfileHandler(), [profile], self.probe),
            datastore=self.store,
            hooks=RequestHooks(
                [steps.pre_request(), *plugins],
                producers,
                saturation or steps.saturation(self.clock),
                self.probe,
            ),
            responses=ResponseHooks(plugins, self.probe),
            probe=self.probe,
            random=make_handle().random,
            honour_subset=honour_subset,
            emit_scores=emit_scores,
        )

    def decide(
        self,
        body: bytes | None = COMPLETION,
        *,
        headers: Headers | None = None,
        subset: tuple[str, ...] | None = None,
    ) -> Decision:
        incoming = IncomingRequest(
            headers=HEADERS if headers is None else headers,
            body=body,
            subset=subset,
        )
        return finished(self.director.decide(self.exchange, incoming))

    def refusal(self, body: bytes | None = COMPLETION, **how: Any) -> EppError:
        with pytest.raises(EppError) as raised:
            self.decide(body, **how)
        return raised.value


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits")


def test_a_request_takes_one_step_after_the_other() -> None:
    world = World(priorities={"batch": -1})
    for endpoint_id in ("default/a", "default/b"):
        metrics = make_endpoint("x", updated_at=world.clock.now()).metrics
        world.store.scrape_succeeded(endpoint_id, metrics)
    headers = {
        **HEADERS,
        "x-llm-d-inference-objective": b"batch",
        "x-llm-d-model-name-rewrite": b"target",
    }
    world.decide(headers=headers)
    assert world.steps == [
        "parse",
        "priority",
        "candidates",
        "saturation",
        "filter",
        "score",
        "pick",
        "rename",
        "pre-request target to a",
    ]
    assert [(point, name) for point, _, name in world.probe.plugins] == [
        ("Saturation", "any-room-detector"),
        ("ProfilePicker", "single-profile-handler"),
        ("Filter", "all"),
        ("Scorer", "equal"),
        ("Picker", "first"),
        ("ProfilePicker", "single-profile-handler"),
        ("ProcessProfilesResults", "single-profile-handler"),
        ("PreRequest", "note"),
    ]
    assert world.probe.calls[-1] == "decided"


def test_a_decision_carries_its_reasons() -> None:
    a, b, c = endpoints(0, 0, 0)
    c = make_endpoint("filtered", address=c.address)
    world = World(a, b, c, limit=2)
    decision = world.decide()
    run = decision.result.profiles["default"]
    assert run is not None
    assert [e.name for e in run.candidates] == ["a", "b", "filtered"]
    assert [(f.plugin, [e.name for e in f.removed]) for f in run.filters] == [("all", ["filtered"])]
    assert [(s.plugin, s.weight, s.scores) for s in run.scorers] == [("equal", 1.0, (1.0, 1.0))]
    assert decision.destination == "10.0.0.1:8000,10.0.0.2:8000"
    assert decision.result.picked[0].name == "a"
    assert world.probe.decisions == [decision]


def test_an_unchanged_body_goes_on_as_it_came() -> None:
    decision = World().decide()
    assert decision.body is COMPLETION
    assert decision.set_headers == (("x-gateway-destination-endpoint", b"10.0.0.1:8000"),)


def test_an_ipv6_destination_has_brackets() -> None:
    world = World(make_endpoint("six", address="2001:db8::1", port=9000))
    assert world.decide().destination == "[2001:db8::1]:9000"


FULL = (ResourceExhaustedError, "system saturated, sheddable request dropped")
EMPTY = (ServiceUnavailableError, "failed to find candidate pods for serving the request")
UNREADABLE = (BadRequestError, "Error unmarshaling request body")
SHEDDABLE = {**HEADERS, "x-gateway-inference-objective": b"batch"}


@pytest.mark.parametrize(
    ("body", "headers", "subset", "expected"),
    [
        (b"{", HEADERS, None, UNREADABLE),
        (b"", HEADERS, None, UNREADABLE),
        (b"{", SHEDDABLE, (), UNREADABLE),
        (b"{}", HEADERS, None, (BadRequestError, "model not found in request body")),
        (COMPLETION, HEADERS, (), EMPTY),
        (COMPLETION, SHEDDABLE, (), EMPTY),
        (COMPLETION, SHEDDABLE, None, FULL),
        (
            COMPLETION,
            HEADERS,
            ("10.9.9.9",),
            (
                ResourceExhaustedError,
                "failed to find target pod: failed to run scheduler profile 'default'",
            ),
        ),
    ],
    ids=["json", "no-json", "json-first", "model", "empty", "empty-first", "full", "filtered"],
)
def test_a_request_that_cannot_be_served_is_refused_with_its_reason(
    body: bytes,
    headers: Headers,
    subset: tuple[str, ...] | None,
    expected: tuple[type[EppError], str],
) -> None:
    filtered = make_endpoint("filtered", address="10.9.9.9")
    error = World(*endpoints(0, 0), filtered, priorities={"batch": -1}).refusal(
        body, headers=headers, subset=subset
    )
    assert (type(error), error.message) == expected


def test_an_empty_pool_refuses_with_503() -> None:
    world = World()
    world.store.set_endpoints([])
    assert world.refusal().status == 503
    assert world.refusal(None).status == 503


def test_a_picker_that_picks_nobody_has_no_say() -> None:
    world = World(limit=0)
    assert world.decide().destination == "10.0.0.1:8000"
    assert [(point, name) for point, _, name, _ in world.probe.plugin_failures] == [
        ("Picker", "first")
    ]


@pytest.mark.parametrize(
    ("saturation", "full_at"),
    [
        (AnyRoomDetector(Thresholds(), make_handle()), 6),
        (UtilizationDetector(UtilizationDetectorParams(), make_handle()), 5),
    ],
    ids=["any-room", "utilization"],
)
@pytest.mark.parametrize(
    ("priority", "below", "is_served"), [(-1, 1, True), (-1, 0, False), (0, 0, True), (3, 0, True)]
)
def test_only_the_sheddable_are_refused_when_the_pool_is_full(
    saturation: SaturationDetector, full_at: int, priority: int, below: int, is_served: bool
) -> None:
    waiting = full_at - below
    world = World(priorities={"o": priority}, saturation=saturation)
    for endpoint_id in ("default/a", "default/b"):
        full = make_endpoint("x", waiting_queue_size=waiting, updated_at=world.clock.now())
        world.store.scrape_succeeded(endpoint_id, full.metrics)
    headers = {**HEADERS, "x-llm-d-inference-objective": b"o"}
    if is_served:
        assert world.decide(headers=headers).request.priority == priority
    else:
        refusal = world.refusal(headers=headers)
        assert (refusal.status, refusal.message) == (429, FULL[1])
        world.exchange.failed("x")
        world.exchange.close()
        assert world.probe.failed == [("m", "m", "x")]


SIX = make_endpoint("six", address="2001:db8::1", port=8000)
A, B = endpoints(0, 0)
A1 = make_endpoint("a-1", address="10.0.0.1", port=8001)


@pytest.mark.parametrize(
    ("subset", "candidates"),
    [
        (None, ["a", "a-1", "b", "six"]),
        (("10.0.0.1",), ["a", "a-1"]),
        (("10.0.0.1:8001",), ["a-1"]),
        (("10.0.0.2:8000", "10.0.0.1:8000"), ["a", "b"]),
        ((" 10.0.0.2 ", "10.0.0.2:8000"), ["b"]),
        (("2001:db8::1",), ["six"]),
        (("[2001:db8::1]",), ["six"]),
        (("[2001:db8::1]:8000",), ["six"]),
        (("10.0.0.9", "10.0.0.2"), ["b"]),
        (("[2001:db8::1]:9",), None),
        (("10.0.0.1:9",), None),
        (("10.0.0.1:x",), None),
        (("",), None),
        ((), None),
    ],
)
@pytest.mark.parametrize("body", [COMPLETION, None], ids=["with-body", "without-body"])
def test_the_proxys_subset_limits_the_candidates(
    subset: tuple[str, ...] | None, candidates: list[str] | None, body: bytes | None
) -> None:
    world = World(A, A1, B, SIX)
    if candidates is None:
        assert world.refusal(body, subset=subset).status == 503
        return
    result = world.decide(body, subset=subset).result
    run = result.profiles[result.primary]
    assert run is not None
    assert [e.name for e in run.candidates] == candidates


def test_the_subset_may_be_left_out_of_account() -> None:
    assert (
        World(A, B, honour_subset=False).decide(subset=("10.0.0.9",)).destination == A.destination
    )


@pytest.mark.parametrize(
    ("headers", "target"),
    [
        ({}, "m"),
        ({"x-llm-d-model-name-rewrite": b"t"}, "t"),
        ({"x-gateway-model-name-rewrite": b"t"}, "t"),
        ({"x-llm-d-model-name-rewrite": b"t", "x-gateway-model-name-rewrite": b"old"}, "t"),
        ({"x-llm-d-model-name-rewrite": b"", "x-gateway-model-name-rewrite": b"old"}, "m"),
        ({"x-llm-d-model-name-rewrite": b"m"}, "m"),
        ({"x-gateway-model-name-rewrite": b"a\xff"}, "a\ufffd"),
    ],
)
def test_the_model_is_renamed_by_header(headers: dict[str, bytes], target: str) -> None:
    decision = World().decide(headers={**HEADERS, **headers})
    assert (decision.request.incoming_model, decision.request.target_model) == ("m", target)
    assert decision.body == COMPLETION.replace(b'"m"', f'"{target}"'.encode())
    lengths = [value for name, value in decision.set_headers if name == "content-length"]
    changed = len(decision.body) != len(COMPLETION)
    assert lengths == ([str(len(decision.body)).encode()] if changed else [])


@pytest.mark.parametrize(
    ("headers", "fairness_id", "priority"),
    [
        ({}, "default-flow", 0),
        ({"x-gateway-inference-fairness-id": b"f"}, "f", 0),
        (
            {"x-llm-d-inference-fairness-id": b"f", "x-gateway-inference-fairness-id": b"old"},
            "f",
            0,
        ),
        (
            {"x-llm-d-inference-fairness-id": b"", "x-gateway-inference-fairness-id": b"old"},
            "default-flow",
            0,
        ),
        ({"x-gateway-inference-objective": b"high"}, "default-flow", 5),
        (
            {"x-llm-d-inference-objective": b"", "x-gateway-inference-objective": b"high"},
            "default-flow",
            0,
        ),
        ({"x-llm-d-inference-objective": b"unknown"}, "default-flow", 0),
    ],
)
def test_flow_and_priority_come_from_headers(
    headers: dict[str, bytes], fairness_id: str, priority: int
) -> None:
    world = World(priorities={"high": 5})
    decision = world.decide(headers={**HEADERS, **headers})
    request = decision.request
    assert (request.fairness_id, request.priority) == (fairness_id, priority)
    world.exchange.routed(decision)
    assert world.probe.keys[0] == RequestKey("m", "m", fairness_id, priority)


@pytest.mark.parametrize("body", [COMPLETION, None], ids=["with-body", "without-body"])
@pytest.mark.parametrize(
    ("headers", "is_made"),
    [({}, True), ({"x-request-id": b""}, True), ({"x-request-id": b"r1"}, False)],
)
def test_a_request_gets_an_id_where_it_has_none(
    headers: dict[str, bytes], is_made: bool, body: bytes | None
) -> None:
    decision = World().decide(body, headers=headers)
    made = [value for name, value in decision.set_headers if name == "x-request-id"]
    assert made == ([decision.request.request_id.encode()] if is_made else [])
    assert decision.request.request_id == ("r1" if not is_made else made[0].decode())
    assert decision.request.request_id


def test_two_requests_without_an_id_get_different_ones() -> None:
    world = World()
    assert (
        world.decide(headers={}).request.request_id != world.decide(headers={}).request.request_id
    )


def test_a_request_without_a_body_goes_to_any_endpoint_unscored() -> None:
    world = World(*endpoints(0, 0, 0))
    decisions = [world.decide(None) for _ in range(60)]
    assert {decision.result.picked[0].name for decision in decisions} == {"a", "b", "c"}
    assert set(world.steps) == {"candidates"}
    assert world.probe.calls == ["decided"] * 60
    first = decisions[0]
    assert (first.body, first.request.body, first.request.incoming_model) == (None, None, "")
    assert first.set_headers == (("x-gateway-destination-endpoint", first.destination.encode()),)
    assert first.destination == first.result.picked[0].destination


def test_scores_are_told_to_the_proxy_only_if_asked_for_and_only_if_there_are_any() -> None:
    assert World(A, B).decide().scores == ()
    world = World(A, B, emit_scores=True)
    assert world.decide().scores == ((A.destination, 1.0), (B.destination, 1.0))
    assert world.decide(None).scores == ()


class Changes(PreRequest):
    """Changes headers as it is told."""

    type = "changes"

    def __init__(self, *changes: HeaderChange) -> None:
        self._changes = changes

    def pre_request(
        self, request: InferenceRequest, result: SchedulingResult
    ) -> Iterable[HeaderChange]:
        return self._changes


SHARE: DataKey[int] = DataKey("share")


class Counts(PreRequest, ResponseObserver):
    """Counts requests that went on, and those that ended, by what it kept of each."""

    type = "counts"

    def __init__(self) -> None:
        self.under_way = 0
        self.ends: list[ResponseEnd] = []

    def pre_request(self, request: InferenceRequest, result: SchedulingResult) -> None:
        self.under_way += 1
        request.data.keep(SHARE, 1)

    def response_ended(
        self, request: InferenceRequest, result: SchedulingResult, end: ResponseEnd
    ) -> tuple[()]:
        self.under_way -= request.data.get(SHARE) or 0
        self.ends.append(end)
        return ()


class Refuses(PreRequest):
    """Refuses every request at the last moment, or fails to."""

    type = "refuses"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def pre_request(self, request: InferenceRequest, result: SchedulingResult) -> None:
        raise self._error


def mutation(decision: Decision) -> tuple[dict[str, bytes], list[str]]:
    """The headers that the proxy is told to set and to remove."""
    answer = pb.ProcessingResponse.FromString(codec.encode(RoutedHeaders(decision)))
    changes = answer.request_headers.response.header_mutation
    return (
        {one.header.key: one.header.raw_value for one in changes.set_headers},
        list(changes.remove_headers),
    )


CLIENTS = dict.fromkeys(ROUTING_HEADERS, b"10.9.9.9:1")


@pytest.mark.parametrize("body", [COMPLETION, None], ids=["with-body", "without-body"])
def test_a_client_cannot_send_a_sidecar_anywhere(body: bytes | None) -> None:
    headers_set, removed = mutation(World().decide(body, headers={**HEADERS, **CLIENTS}))
    assert not CLIENTS.keys() & headers_set.keys()
    assert removed == list(ROUTING_HEADERS)
    assert mutation(World().decide(body))[1] == []


def test_a_routing_header_of_a_plugin_goes_on() -> None:
    prefill, encode, *others = ROUTING_HEADERS
    world = World(plugins=[Changes((prefill, b"10.0.0.7:8000"), (encode, None))])
    headers_set, removed = mutation(world.decide(headers={**HEADERS, **CLIENTS}))
    assert headers_set[prefill] == b"10.0.0.7:8000"
    assert sorted(removed) == sorted([encode, *others])


def test_what_plugins_change_in_the_headers_is_told_to_the_proxy() -> None:
    world = World(
        plugins=[
            Changes(("x-a", b"1"), ("x-b", b"2"), ("x-c", None)),
            Changes(("x-a", None), ("x-b", b"\xff")),
        ]
    )
    headers_set, removed = mutation(world.decide())
    assert headers_set == {"x-gateway-destination-endpoint": b"10.0.0.1:8000", "x-b": b"\xff"}
    assert sorted(removed) == ["x-a", "x-c"]


@pytest.mark.parametrize("refuses_first", [True, False])
def test_a_refusal_at_the_last_moment_leaves_nothing_counted(refuses_first: bool) -> None:
    counts, refuses = Counts(), Refuses(ResourceExhaustedError("no"))
    world = World(plugins=[refuses, counts] if refuses_first else [counts, refuses])
    assert world.refusal().message == "no"
    world.exchange.failed("x")
    world.exchange.close()
    assert counts.under_way == 0
    assert [end.cause for end in counts.ends] == [Termination.ERROR]


def test_a_plugin_that_fails_at_the_last_moment_does_not_stop_the_request() -> None:
    counts = Counts()
    world = World(plugins=[Refuses(ValueError("broken")), counts])
    world.exchange.routed(world.decide())
    assert counts.under_way == 1
    world.exchange.close()
    assert counts.under_way == 0


class Waits(DataProducer):
    """Waits until something has happened."""

    type = "waits"

    def __init__(self, happens: Callable[[], None]) -> None:
        self._happens = happens

    def produce(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Awaitable[None]:
        return self._wait()

    async def _wait(self) -> None:
        self._happens()


@pytest.mark.parametrize(
    ("left", "destination"),
    [([], None), (["b"], "10.0.0.2:8000"), (["a", "b"], "10.0.0.1:8000")],
)
async def test_an_endpoint_that_left_while_a_request_waited_does_not_get_it(
    left: list[str], destination: str | None
) -> None:
    members = endpoints(0, 0)

    def leave() -> None:
        world.store.set_endpoints([one for one in members if one.name in left])

    world = World(*members, producers=[Waits(leave)])
    deciding = world.director.decide(world.exchange, IncomingRequest(HEADERS, COMPLETION, None))
    if destination is None:
        with pytest.raises(ServiceUnavailableError):
            await deciding
    else:
        assert (await deciding).destination == destination
    assert not world.probe.plugin_failures


async def test_an_endpoint_that_came_while_a_request_waited_does_not_get_it() -> None:
    a, b = endpoints(0, 0)
    world = World(a, producers=[Waits(lambda: world.store.set_endpoints([b]))])
    with pytest.raises(ServiceUnavailableError):
        await world.director.decide(world.exchange, IncomingRequest(HEADERS, COMPLETION, None))
