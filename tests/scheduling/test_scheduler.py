from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from epp.core.decision import ProfileRun, SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.errors import ResourceExhaustedError
from epp.core.plugin import Filter, Picker, ProfileHandler
from epp.core.request import InferenceRequest
from epp.scheduling.profile import Profile
from epp.scheduling.scheduler import Scheduler
from tests.fakes import FakeProbe, endpoints, make_request


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
