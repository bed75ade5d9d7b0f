from __future__ import annotations

from epp.core.decision import Decision, SchedulingResult
from tests.fakes import endpoints, make_request, make_run


def test_the_primary_profile_says_who_was_picked() -> None:
    a, b = endpoints(1, 2)
    result = SchedulingResult(
        "second",
        {"first": make_run(a, b, picked=[a]), "second": make_run(a, b, picked=[b, a])},
    )
    assert result.picked == (b, a)


def test_a_failed_primary_profile_picked_nobody() -> None:
    assert SchedulingResult("p", {"p": None}).picked == ()


def test_the_first_of_the_picked_shall_serve() -> None:
    a, b = endpoints(1, 2)
    result = SchedulingResult("p", {"p": make_run(a, b, picked=[b, a])})
    decision = Decision(make_request(), result, "10.0.0.2:8000,10.0.0.1:8000", (), None)
    assert decision.result.picked[0] is b
