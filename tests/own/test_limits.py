from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from epp.core.endpoint import Endpoint
from epp.core.plugin import DisaggregationDecider, Filter, ResponseObserver
from epp.core.request import InferenceRequest
from epp.own.alarm import Alarm
from epp.own.limits import limit
from tests.own.slow import HARD, for_ever, long_enough, mine, run


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_budget_and_a_limit_of_0_are_none() -> None:
    plugin = mine(long_enough, hard=0, budget=0)
    assert run(plugin) == [1.0]
    assert plugin.budget_seconds is None


def test_without_a_budget_such_calls_count_all_the_same() -> None:
    assert mine(for_ever, hard=HARD, budget=0).budget_seconds == HARD


class Several(Filter, ResponseObserver, DisaggregationDecider):
    def __init__(self) -> None:
        self.decide = lambda request, endpoint: self.end()  # type: ignore[method-assign]

    def end(self) -> bool:
        raise SystemExit

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        raise SystemExit

    def response_ended(self, request: object, result: object, end: object) -> Iterable[Any]:
        raise SystemExit

    def describe(self) -> Mapping[str, object]:
        raise SystemExit


def test_all_methods_that_the_picker_calls_are_watched_and_no_others() -> None:
    plugin = Several()
    limit(plugin, 0.002, HARD, alarm=Alarm())
    several: Any = plugin
    for call in (
        lambda: several.filter(None, ()),
        lambda: several.response_ended(None, None, None),
        lambda: several.decide(None, None),
        several.describe,
    ):
        with pytest.raises(RuntimeError, match="SystemExit"):
            call()
    with pytest.raises(SystemExit):
        plugin.end()
    assert "response_chunk" not in vars(plugin)
