from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from epp.core.call import STRIKES
from epp.core.decision import ProfileRun, SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.errors import BadRequestError, ResourceExhaustedError
from epp.core.plugin import Filter, Picker, ProfileHandler
from epp.core.request import InferenceRequest
from epp.scheduling.profile import Profile
from epp.scheduling.scheduler import Scheduler
from tests.fakes import FakeProbe, endpoints, make_request, make_run

REFUSAL = BadRequestError("no")
UNHASHABLE: Any = []


class Steps(ProfileHandler):
    """Runs the given profiles step by step; the first one counts."""

    type = "steps"

    def __init__(self, *steps: Sequence[str]) -> None:
        self._steps = list(steps)
        self.seen: list[dict[str, bool]] = []

    def select(
        self,
        request: InferenceRequest,
        profiles: Sequence[str],
        results: Mapping[str, ProfileRun | None],
    ) -> Sequence[str]:
        self.seen.append({name: run is not None for name, run in results.items()})
        return self._steps.pop(0) if self._steps else ()

    def combine(
        self, request: InferenceRequest, results: Mapping[str, ProfileRun | None]
    ) -> SchedulingResult:
        return SchedulingResult(next(iter(results)), dict(results))


class Nobody(Filter):
    type = "nobody"

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        return ()


class First(Picker):
    type = "first"

    def pick(self, endpoints: Sequence[Endpoint], totals: Sequence[float]) -> Sequence[Endpoint]:
        return endpoints[:1]


def profile(name: str, *filters: Filter) -> Profile:
    return Profile(name, filters=filters, scorers=[], picker=First(), probe=FakeProbe())


def test_profiles_run_until_the_handler_selects_none() -> None:
    handler = Steps(["decode"], ["prefill", "encode"])
    scheduler = Scheduler(
        handler, [profile("decode"), profile("prefill"), profile("encode")], FakeProbe()
    )
    a, b = endpoints(1, 2)
    result = scheduler.schedule(make_request(), [a, b])
    assert handler.seen == [
        {},
        {"decode": True},
        {"decode": True, "prefill": True, "encode": True},
    ]
    assert (result.primary, list(result.profiles), result.picked) == (
        "decode",
        ["decode", "prefill", "encode"],
        (a,),
    )


def test_a_failed_profile_is_the_handlers_matter() -> None:
    handler = Steps(["bad", "good"])
    scheduler = Scheduler(handler, [profile("bad", Nobody()), profile("good")], FakeProbe())
    result = scheduler.schedule(make_request(), endpoints(1))
    assert handler.seen[-1] == {"bad": False, "good": True}
    assert result.profiles["bad"] is None


def test_a_handler_that_selects_nothing_finds_no_endpoint() -> None:
    scheduler = Scheduler(Steps(), [profile("p")], FakeProbe())
    with pytest.raises(
        ResourceExhaustedError,
        match="failed to find target pod: failed to run any scheduler profile for request r1",
    ):
        scheduler.schedule(make_request(), endpoints(1))


def test_a_cycle_is_reported_once_and_the_handler_at_each_call() -> None:
    probe = FakeProbe()
    (a,) = endpoints(1)
    Scheduler(Steps(["p"]), [profile("p")], probe).schedule(make_request(target="t"), [a])
    assert probe.attempts == [("t", a)]
    assert probe.calls == ["plugin_ran"] * 3 + ["scheduled"]
    assert probe.plugins == [
        ("ProfilePicker", "steps", "steps"),
        ("ProfilePicker", "steps", "steps"),
        ("ProcessProfilesResults", "steps", "steps"),
    ]


def test_a_cycle_without_a_result_is_reported_too() -> None:
    probe = FakeProbe()
    with pytest.raises(ResourceExhaustedError):
        Scheduler(Steps(), [profile("p")], probe).schedule(make_request(target="t"), endpoints(1))
    assert len(probe.cycles) == 1
    assert probe.attempts == [("t", None)]


class Does(ProfileHandler):
    """Selects and combines as it is told to; by default everything once, and the first counts."""

    type = "does"

    def __init__(
        self,
        select: Callable[..., Any] | None = None,
        combine: Callable[..., Any] | None = None,
    ) -> None:
        self._select = select or (lambda profiles, results: () if results else profiles)
        self._combine = combine or (lambda results: SchedulingResult("good", results))
        self.times = 0

    def select(
        self,
        request: InferenceRequest,
        profiles: Sequence[str],
        results: Mapping[str, ProfileRun | None],
    ) -> Sequence[str]:
        self.times += 1
        selected: Sequence[str] = self._select(profiles, results)
        return selected

    def combine(
        self, request: InferenceRequest, results: Mapping[str, ProfileRun | None]
    ) -> SchedulingResult:
        result: SchedulingResult = self._combine(results)
        return result


def raising(error: Exception) -> Callable[..., Any]:
    def raise_it(*_given: Any) -> Any:
        raise error

    return raise_it


def scheduled(handler: ProfileHandler, probe: FakeProbe | None = None) -> SchedulingResult:
    profiles = [profile("bad", Nobody()), profile("good"), profile("other")]
    return Scheduler(handler, profiles, probe or FakeProbe()).schedule(
        make_request(), endpoints(1, 2)
    )


@pytest.mark.parametrize(
    ("select", "ran"),
    [
        (lambda _profiles, results: ["good"], ["good"]),
        (lambda profiles, _results: profiles, ["bad", "good", "other"]),
        (lambda _profiles, results: iter(["good", "other"]), ["good", "other"]),
        (lambda _profiles, results: ["good", "good"], ["good"]),
        (lambda _profiles, results: raising(ValueError())() if results else ["good"], ["good"]),
        (lambda _profiles, results: ["unknown"] if results else ["good"], ["good"]),
        (lambda _profiles, results: 7 if results else ["good"], ["good"]),
        (lambda _profiles, results: [UNHASHABLE] if results else ["good"], ["good"]),
        (lambda _profiles, results: None if results else ["good"], ["good"]),
    ],
    ids=["same", "all", "lazy", "twice", "raises", "unknown", "number", "unhashable", "none"],
)
def test_a_profile_runs_once_however_a_handler_goes_on(
    select: Callable[..., Any], ran: list[str]
) -> None:
    result = scheduled(Does(select))
    assert list(result.profiles) == ran
    assert result.primary == "good"


@pytest.mark.parametrize("select", [raising(ValueError()), lambda *_given: ["unknown"]])
def test_instead_of_a_handler_that_cannot_begin_the_first_profile_runs(
    select: Callable[..., Any],
) -> None:
    probe, combine = FakeProbe(), raising(ValueError())
    scheduler = Scheduler(Does(select, combine), [profile("good"), profile("other")], probe)
    result = scheduler.schedule(make_request(), endpoints(1))
    assert (result.primary, list(result.profiles)) == ("good", ["good"])
    assert [point for point, *_ in probe.plugin_failures] == [
        "ProfilePicker",
        "ProfilePicker",
        "ProcessProfilesResults",
    ]


NO_RUN = make_run(*endpoints(1), picked=[])


@pytest.mark.parametrize(
    "combine",
    [
        raising(ValueError()),
        lambda results: None,
        lambda results: SchedulingResult("bad", results),
        lambda results: SchedulingResult("unknown", results),
        lambda results: SchedulingResult("good", {}),
        lambda results: SchedulingResult("good", {"good": NO_RUN}),
        lambda results: SchedulingResult("good", None),  # type: ignore[arg-type]
    ],
)
def test_instead_of_a_combination_that_fails_the_first_profile_with_a_result_counts(
    combine: Callable[..., Any],
) -> None:
    probe = FakeProbe()
    result = scheduled(Does(combine=combine), probe)
    assert (result.primary, result.picked[0].name) == ("good", "a")
    assert [point for point, *_ in probe.plugin_failures] == ["ProcessProfilesResults"]


def test_if_no_profile_has_a_result_either_the_request_is_refused() -> None:
    handler = Does(lambda *_given: ["bad"], raising(ValueError()))
    with pytest.raises(ResourceExhaustedError, match="no profile found an endpoint"):
        scheduled(handler)


@pytest.mark.parametrize("handler", [Does(raising(REFUSAL)), Does(combine=raising(REFUSAL))])
def test_a_handler_may_refuse(handler: Does) -> None:
    probe = FakeProbe()
    with pytest.raises(BadRequestError) as raised:
        scheduled(handler, probe)
    assert raised.value is REFUSAL
    assert probe.plugin_failures == []


def test_a_handler_over_its_budget_is_called_no_more() -> None:
    handler = Does(
        lambda *_given: ["other"], lambda results: SchedulingResult(next(iter(results)), results)
    )
    probe = FakeProbe()
    handler.budget_seconds = -1.0
    scheduler = Scheduler(handler, [profile("good"), profile("other")], probe)
    primaries = [
        scheduler.schedule(make_request(), endpoints(1)).primary for _ in range(2 * STRIKES)
    ]
    assert primaries[0] == "other"
    assert primaries[-1] == "good"
    assert handler.times == STRIKES
    assert {point for point, _ in probe.set_aside} == {"ProfilePicker", "ProcessProfilesResults"}
