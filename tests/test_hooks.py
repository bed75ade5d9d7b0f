from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from math import nan
from typing import Any

import pytest

from epp.core.call import STRIKES
from epp.core.data import CycleData, DataKey
from epp.core.decision import SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.errors import BadRequestError, EppError, ServiceUnavailableError
from epp.core.plugin import (
    Admitter,
    DataProducer,
    HeaderChange,
    HeaderProcessor,
    Plugin,
    PreRequest,
    SaturationDetector,
    Screener,
)
from epp.core.request import Headers, InferenceRequest
from epp.hooks import RequestHooks
from tests.fakes import FakeProbe, endpoints, make_endpoint, make_request, make_run

SEEN: DataKey[str] = DataKey("seen")
REFUSAL = BadRequestError("no")
A, B, C = ALL = tuple(endpoints(0, 0, 0))
RESULT = SchedulingResult("p", {"p": make_run(*ALL, picked=[A])})


class Told:
    """Does what a test says, and remembers who was called."""

    def __init__(self, does: Callable[..., Any], log: list[str] | None = None) -> None:
        self.does = does
        self.log: list[str] = [] if log is None else log


class Reads(Told, HeaderProcessor):
    type = "reads"

    def process_headers(self, headers: Headers, data: CycleData) -> None:
        self.log.append(self.type)
        self.does(headers, data)


class Screens(Told, Screener):
    type = "screens"

    def screen(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        kept: Sequence[Endpoint] = self.does(endpoints)
        return kept


class Produces(Told, DataProducer):
    type = "produces"
    time_limit_seconds = 0.4

    def produce(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Awaitable[None] | None:
        self.log.append(self.name)
        pending: Awaitable[None] | None = self.does(request)
        return pending


class Admits(Told, Admitter):
    type = "admits"

    def admit(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> None:
        self.log.append(self.type)
        self.does()


class Notes(Told, PreRequest):
    type = "notes"

    def pre_request(
        self, request: InferenceRequest, result: SchedulingResult
    ) -> Iterable[HeaderChange] | None:
        self.log.append(self.type)
        changes: Iterable[HeaderChange] | None = self.does()
        return changes


class Measures(Told, SaturationDetector):
    type = "measures"

    def saturation(self, endpoints: Sequence[Endpoint], data: CycleData) -> float:
        self.log.append(self.type)
        saturation: float = self.does()
        return saturation


def raising(error: BaseException) -> Callable[..., Any]:
    def raise_it(*_given: Any) -> Any:
        raise error

    return raise_it


def saying(value: Any) -> Callable[..., Any]:
    return lambda *_given: value


class World:
    """Hooks with these plugins."""

    def __init__(self, *plugins: Plugin, saturation: Callable[..., Any] = lambda: 0.0) -> None:
        self.probe = FakeProbe()
        producers = [plugin for plugin in plugins if isinstance(plugin, DataProducer)]
        self.detector = Measures(saturation)
        self.hooks = RequestHooks(plugins, producers, self.detector, self.probe)
        self.request = make_request()

    @property
    def failed(self) -> list[str]:
        return [f"{point} {name}" for point, _, name, _ in self.probe.plugin_failures]

    async def produce(self) -> None:
        if (pending := self.hooks.produce(self.request, ALL)) is not None:
            await pending


BREAKS = [ValueError("broken"), KeyError("x"), TimeoutError(), RuntimeError()]


@pytest.mark.parametrize("error", BREAKS)
def test_a_plugin_that_raises_has_no_say_and_the_next_one_has(error: Exception) -> None:
    log: list[str] = []
    world = World(
        *[role(raising(error), log) for role in (Reads, Screens, Admits, Notes)],
        *[role(saying(None), log) for role in (Reads, Admits)],
        Screens(lambda given: given[:1], log),
        Notes(saying([("x-a", b"1")]), log),
    )
    world.hooks.process_headers({}, CycleData())
    assert world.hooks.screen(world.request, ALL) == [A]
    world.hooks.admit(world.request, ALL)
    assert world.hooks.tell(world.request, RESULT) == {"x-a": b"1"}
    assert log == ["reads"] * 2 + ["admits"] * 2 + ["notes"] * 2
    assert world.failed == [
        "RequestHeader reads",
        "Screener screens",
        "Admission admits",
        "PreRequest notes",
    ]


def test_those_who_may_refuse_a_request_do() -> None:
    refused = raising(REFUSAL)
    world = World(Reads(refused), Screens(refused), Admits(refused), Notes(refused))
    for ask in (
        lambda: world.hooks.process_headers({}, CycleData()),
        lambda: world.hooks.screen(world.request, ALL),
        lambda: world.hooks.admit(world.request, ALL),
        lambda: world.hooks.tell(world.request, RESULT),
    ):
        with pytest.raises(BadRequestError) as raised:
            ask()
        assert raised.value is REFUSAL
    assert world.failed == []


def test_header_processors_leave_what_they_know_with_the_request() -> None:
    data = CycleData()

    def read(headers: Headers, data: CycleData) -> None:
        data.set(SEEN, headers["x"].decode())

    World(Reads(read)).hooks.process_headers({"x": b"1"}, data)
    assert data.get(SEEN) == "1"


@pytest.mark.parametrize(
    ("says", "is_saturated", "fails"),
    [
        (saying(0.99), False, False),
        (saying(1.0), True, False),
        (saying(7), True, False),
        (saying(nan), False, False),
        (saying("full"), False, True),
        (saying(None), False, True),
        (raising(ValueError()), False, True),
        (raising(REFUSAL), False, True),
    ],
)
def test_a_detector_that_fails_says_that_there_is_room(
    says: Callable[..., Any], is_saturated: bool, fails: bool
) -> None:
    world = World(saturation=says)
    assert world.hooks.is_saturated(ALL, CycleData()) is is_saturated
    assert world.failed == (["Saturation measures"] if fails else [])


@pytest.mark.parametrize(
    ("says", "left", "fails"),
    [
        ([saying(ALL)], [A, B, C], 0),
        ([saying([B])], [B], 0),
        ([saying([C, A])], [A, C], 0),
        ([saying([A, B]), saying([B, C])], [B], 0),
        ([saying([make_endpoint("z")]), saying([B, C])], [B, C], 1),
        ([saying([A, make_endpoint("z")])], [A, B, C], 1),
        ([saying(None)], [A, B, C], 1),
        ([saying("abc")], [A, B, C], 1),
    ],
)
def test_an_endpoint_is_left_if_every_screener_leaves_it(
    says: list[Callable[..., Any]], left: list[Endpoint], fails: int
) -> None:
    world = World(*[Screens(does) for does in says])
    assert world.hooks.screen(world.request, list(ALL)) == left
    assert world.failed == ["Screener screens"] * fails


def test_every_screener_sees_all_endpoints() -> None:
    seen: list[int] = []

    def first(given: Sequence[Endpoint]) -> Sequence[Endpoint]:
        seen.append(len(given))
        return given[:1]

    world = World(Screens(first), Screens(first))
    world.hooks.screen(world.request, ALL)
    assert seen == [3, 3]


@pytest.mark.parametrize("says", [[saying([])], [saying([A]), saying([B])]])
def test_without_an_endpoint_left_the_request_is_refused(says: list[Callable[..., Any]]) -> None:
    world = World(*[Screens(does) for does in says])
    with pytest.raises(
        ServiceUnavailableError, match="screeners eliminated all endpoint candidates"
    ):
        world.hooks.screen(world.request, ALL)


def test_without_screeners_the_endpoints_are_those_that_came() -> None:
    assert World().hooks.screen(make_request(), ALL) is ALL


@pytest.mark.parametrize(
    ("made", "changes"),
    [
        (None, {}),
        ((), {}),
        ([("x-a", b"1"), ("x-b", None)], {"x-a": b"1", "x-b": None}),
        (iter([("x-a", b"1")]), {"x-a": b"1"}),
        ([("x-a", b"1"), ("x-a", b"2")], {"x-a": b"2"}),
    ],
)
def test_what_pre_request_plugins_change_is_told(made: Any, changes: dict[str, bytes]) -> None:
    world = World(Notes(saying(made)))
    assert world.hooks.tell(world.request, RESULT) == changes
    assert world.failed == []


@pytest.mark.parametrize(
    "made",
    [
        7,
        "ab",
        [("x-a",)],
        [("X-A", b"1")],
        [("x-a", "1")],
        [("x-a", 1)],
        [(b"x-a", b"1")],
        [(None, None)],
        [("x-a", b"1\r\nx-b: 2")],
        [("x a", None)],
    ],
)
def test_changes_that_are_none_cost_only_themselves(made: Any) -> None:
    world = World(Notes(saying(made)), Notes(saying([("x-b", b"2")])))
    assert world.hooks.tell(world.request, RESULT) == {"x-b": b"2"}
    assert world.failed == ["PreRequest notes"]


def test_of_several_changes_of_a_header_the_last_one_counts() -> None:
    world = World(
        Notes(saying([("x-a", b"1"), ("x-b", None)])), Notes(saying([("x-a", None), ("x-b", b"2")]))
    )
    assert world.hooks.tell(world.request, RESULT) == {"x-a": None, "x-b": b"2"}


def test_all_are_told_before_the_first_refusal_counts() -> None:
    log: list[str] = []
    other = ServiceUnavailableError("later")
    world = World(
        Notes(saying(None), log),
        Notes(raising(REFUSAL), log),
        Notes(raising(other), log),
        Notes(saying(None), log),
    )
    with pytest.raises(EppError) as raised:
        world.hooks.tell(world.request, RESULT)
    assert raised.value is REFUSAL
    assert log == ["notes"] * 4


@pytest.mark.parametrize("does", [saying(None), raising(ValueError()), raising(REFUSAL)])
def test_a_plugin_over_its_budget_is_called_no_more(does: Callable[..., Any]) -> None:
    log: list[str] = []
    roles = (Reads, Admits, Notes, Produces)
    plugins: list[Any] = [role(saying(None), log) for role in roles]
    screens = Screens(saying([A]))
    for plugin in (*plugins, screens):
        plugin.budget_seconds = -1.0
    world = World(*plugins, screens)
    for _ in range(STRIKES):
        world.hooks.process_headers({}, CycleData())
        assert world.hooks.screen(world.request, ALL) == [A]
        assert world.hooks.produce(world.request, ALL) is None
        world.hooks.admit(world.request, ALL)
        world.hooks.tell(world.request, RESULT)
    for plugin in plugins:
        plugin.does = does
    before = len(log)
    world.hooks.process_headers({}, CycleData())
    assert world.hooks.screen(world.request, ALL) == [A, B, C]
    assert world.hooks.produce(world.request, ALL) is None
    world.hooks.admit(world.request, ALL)
    assert world.hooks.tell(world.request, RESULT) == {}
    assert len(log) == before == STRIKES * len(roles)
    assert len(world.probe.set_aside) == len(roles) + 1


def test_a_detector_over_its_budget_is_asked_no_more() -> None:
    world = World(saturation=saying(1.0))
    detector = Measures(saying(1.0))
    detector.budget_seconds = -1.0
    hooks = RequestHooks([], [], detector, world.probe)
    asked = [hooks.is_saturated(ALL, CycleData()) for _ in range(STRIKES + 3)]
    assert asked == [True] * STRIKES + [False] * 3
    assert len(detector.log) == STRIKES


def named(name: str, does: Callable[..., Any], log: list[str]) -> Produces:
    made = Produces(does, log)
    made.bind(name)
    return made


def test_producers_that_need_not_wait_leave_nothing_to_await() -> None:
    log: list[str] = []
    world = World(
        named("first", lambda request: request.data.set(SEEN, "1"), log),
        named("broken", raising(ValueError()), log),
        named("refusing", raising(REFUSAL), log),
        named("last", lambda request: request.data.set(SEEN, "2"), log),
    )
    assert world.hooks.produce(world.request, ALL) is None
    assert world.request.data.get(SEEN) == "2"
    assert log == ["first", "broken", "refusing", "last"]
    assert world.failed == ["DataProducer broken", "DataProducer refusing"]


async def later(seconds: float, then: Callable[[], Any] = lambda: None) -> None:
    await asyncio.sleep(seconds)
    then()


@pytest.mark.looptime
async def test_who_comes_after_one_that_waits_finds_what_it_made() -> None:
    log: list[str] = []
    world = World()
    request = world.request

    def look(request: InferenceRequest) -> None:
        log.append(request.data.get(SEEN) or "nothing")

    world = World(
        named("slow", lambda r: later(0.3, lambda: r.data.set(SEEN, "slow")), log),
        named("plain", look, log),
        named("slower", lambda r: later(0.3, lambda: r.data.set(SEEN, "slower")), log),
        named("last", look, log),
    )
    world.request = request
    started = asyncio.get_running_loop().time()
    await world.produce()
    assert log == ["slow", "plain", "slow", "slower", "last", "slower"]
    assert asyncio.get_running_loop().time() - started == pytest.approx(0.6)
    assert world.failed == []


@pytest.mark.looptime
@pytest.mark.parametrize(
    "pending",
    [
        lambda _request: later(0.5),
        lambda _request: later(3600),
        lambda _request: later(0.1, raising(ValueError())),
        lambda _request: later(0.1, raising(REFUSAL)),
        lambda _request: later(0.0, raising(TimeoutError())),
        saying(7),
    ],
    ids=["late", "never", "raises", "refuses", "timeout", "no-awaitable"],
)
async def test_one_that_cannot_make_its_data_in_time_costs_no_more_than_its_time(
    pending: Callable[..., Any],
) -> None:
    log: list[str] = []
    world = World(named("slow", pending, log), named("next", saying(None), log))
    started = asyncio.get_running_loop().time()
    await world.produce()
    assert asyncio.get_running_loop().time() - started <= 0.4 + 1e-6
    assert world.failed == ["DataProducer slow"]
    assert log == ["slow", "next"]


@pytest.mark.looptime
@pytest.mark.parametrize("becomes", [ValueError(), REFUSAL, None])
async def test_a_producer_that_swallows_the_end_of_its_request_does_not_make_it_go_on(
    becomes: Exception | None,
) -> None:
    log: list[str] = []

    async def stubborn() -> None:
        try:
            await asyncio.sleep(0.3)
        except asyncio.CancelledError:
            if becomes is not None:
                raise becomes from None

    world = World(
        named("stubborn", lambda _request: stubborn(), log), named("next", saying(None), log)
    )
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(world.produce())
        await asyncio.sleep(0.1)
        task.cancel()
    assert task.cancelled()
    assert log == ["stubborn"]


@pytest.mark.looptime
async def test_a_request_that_ends_before_a_producer_began_to_wait_leaves_nothing_open() -> None:
    world = World(named("slow", lambda _request: later(0.3), []))
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(world.produce())
        await asyncio.sleep(0)
        task.cancel()  # a coroutine that nobody awaited would be a warning
    assert task.cancelled()


def test_what_producers_offer_at_all_times_is_there_from_the_start() -> None:
    class Standing(Produces):
        @property
        def standing(self) -> dict[DataKey[Any], object]:
            return {SEEN: "always"}

    hooks = World(Standing(saying(None))).hooks
    first, second = hooks.open_data(), hooks.open_data()
    first.set(SEEN, "once")
    assert (first.get(SEEN), second.get(SEEN)) == ("once", "always")
