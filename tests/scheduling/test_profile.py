from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.call import STRIKES
from epp.core.decision import FilterRun, ScorerRun
from epp.core.endpoint import Endpoint
from epp.core.errors import ResourceExhaustedError
from epp.core.plugin import Filter, Picker, Scorer
from epp.core.request import InferenceRequest
from epp.scheduling.profile import Profile, WeightedScorer
from tests.fakes import FakeProbe, endpoints, make_endpoint, make_request


class KeepShorterThan(Filter):
    """Keeps waiting queues under a limit, and remembers who was asked about."""

    type = "shorter"

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.seen: list[list[str]] = []

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        self.seen.append([e.name for e in endpoints])
        return [e for e in endpoints if e.metrics.waiting_queue_size < self._limit]


class Fixed(Scorer):
    """Says what it is told to say."""

    type = "fixed"

    def __init__(self, *scores: float) -> None:
        self._scores = scores

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        return self._scores


class Best(Picker):
    """The highest total, without chance."""

    type = "best"

    def pick(self, endpoints: Sequence[Endpoint], totals: Sequence[float]) -> Sequence[Endpoint]:
        return [endpoints[list(totals).index(max(totals))]]


def profile(
    *scorers: tuple[Scorer, float], filters: Sequence[Filter] = (), probe: FakeProbe | None = None
) -> Profile:
    return Profile(
        "p",
        filters=filters,
        scorers=[WeightedScorer(scorer, weight) for scorer, weight in scorers],
        picker=Best(),
        probe=probe or FakeProbe(),
    )


def test_filters_run_in_their_order_and_each_sees_what_the_others_left() -> None:
    first, second = KeepShorterThan(10), KeepShorterThan(5)
    candidates = a, b, c = endpoints(2, 6, 10)
    run = profile((Fixed(0.5), 1.0), filters=[first, second]).run(make_request(), candidates)
    assert (first.seen, second.seen) == ([["a", "b", "c"]], [["a", "b"]])
    assert run.filters == (FilterRun("shorter", (c,)), FilterRun("shorter", (b,)))
    assert (run.candidates, run.scored, run.picked) == ((a, b, c), (a,), (a,))


def test_filters_stop_when_nobody_is_left() -> None:
    first, second = KeepShorterThan(0), KeepShorterThan(5)
    with pytest.raises(ResourceExhaustedError, match="no pods available for the given request"):
        profile(filters=[first, second]).run(make_request(), endpoints(1))
    assert second.seen == []


def test_totals_are_weighted_sums_of_clamped_scores() -> None:
    a, b, c = endpoints(0, 0, 0)
    scorers = [(Fixed(0.5, 2.0, -1.0), 2.0), (Fixed(1.0, nan, inf), 3.0)]
    run = profile(*scorers).run(make_request(), [a, b, c])
    assert run.totals == (4.0, 2.0, 3.0)
    assert run.picked == (a,)


def test_a_run_keeps_the_raw_scores_and_the_weights() -> None:
    run = profile((Fixed(0.25, 1.0), 2.0), (Fixed(1.0, 0.0), -3.0)).run(
        make_request(), endpoints(0, 0)
    )
    assert run.scorers == (
        ScorerRun("fixed", 2.0, (0.25, 1.0)),
        ScorerRun("fixed", -3.0, (1.0, 0.0)),
    )
    assert (run.totals, run.picker) == ((-2.5, 2.0), "best")


def test_without_scorers_every_total_is_zero() -> None:
    assert profile().run(make_request(), endpoints(1, 2)).totals == (0.0, 0.0)


def test_one_scorer_named_twice_counts_twice() -> None:
    scorer = Fixed(0.5, 0.25)
    run = profile((scorer, 1.0), (scorer, 1.0)).run(make_request(), endpoints(0, 0))
    assert run.totals == (1.0, 0.5)


@pytest.mark.parametrize("scores", [(1.0,), (1.0, 0.5, 0.0), (1.0, "2"), (None, 1.0)])
def test_a_scorer_that_says_something_else_has_no_say(scores: tuple[Any, ...]) -> None:
    probe = FakeProbe()
    wrong, right = Fixed(*scores), Fixed(0.25, 0.75)
    wrong.bind("wrong")
    run = profile((wrong, 1.0), (right, 2.0), probe=probe).run(make_request(), endpoints(0, 0))
    assert run.totals == (0.5, 1.5)
    assert [scorer.plugin for scorer in run.scorers] == ["fixed"]
    assert run.failed == ("wrong",)
    assert [failure[:3] for failure in probe.plugin_failures] == [("Scorer", "fixed", "wrong")]


def test_every_plugin_call_is_reported_once() -> None:
    probe = FakeProbe()
    filters = [KeepShorterThan(5)]
    profile((Fixed(1.0), 1.0), filters=filters, probe=probe).run(make_request(), endpoints(1))
    assert probe.plugins == [
        ("Filter", "shorter", "shorter"),
        ("Scorer", "fixed", "fixed"),
        ("Picker", "best", "best"),
    ]


@given(
    st.lists(
        st.tuples(st.lists(st.floats(), min_size=3, max_size=3), st.floats(-10, 10)), max_size=4
    )
)
def test_a_total_stays_within_the_weights_whatever_scorers_say(
    said: list[tuple[list[float], float]],
) -> None:
    scorers = [(Fixed(*scores), weight) for scores, weight in said]
    run = profile(*scorers).run(make_request(), endpoints(0, 0, 0))
    least = sum(weight for _, weight in said if weight < 0)
    most = sum(weight for _, weight in said if weight > 0)
    assert all(least - 1e-9 <= total <= most + 1e-9 for total in run.totals)


class Does(Filter, Scorer, Picker):
    """Does in each role what it is told to do."""

    type = "does"

    def __init__(self, does: Callable[..., Any]) -> None:
        self._does = does
        self.times = 0

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        kept: Sequence[Endpoint] = self._told(endpoints)
        return kept

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        scores: Sequence[float] = self._told(endpoints)
        return scores

    def pick(self, endpoints: Sequence[Endpoint], totals: Sequence[float]) -> Sequence[Endpoint]:
        picked: Sequence[Endpoint] = self._told(endpoints)
        return picked

    def _told(self, endpoints: Sequence[Endpoint]) -> Any:
        self.times += 1
        return self._does(endpoints)


def raising(error: Exception) -> Callable[..., Any]:
    def raise_it(_endpoints: Sequence[Endpoint]) -> Any:
        raise error

    return raise_it


STRANGER = make_endpoint("stranger")
BREAKS = [raising(ValueError()), raising(ResourceExhaustedError("no")), lambda _given: 7]


@pytest.mark.parametrize("does", [*BREAKS, lambda given: [*given, STRANGER], lambda _given: "ab"])
def test_a_filter_that_fails_removes_nobody(does: Callable[..., Any]) -> None:
    probe = FakeProbe()
    a, b = endpoints(1, 2)
    run = profile(filters=[Does(does), KeepShorterThan(2)], probe=probe).run(make_request(), [a, b])
    assert (run.scored, run.failed) == ((a,), ("does",))
    assert [filter_run.plugin for filter_run in run.filters] == ["shorter"]
    assert [(point, name) for point, _, name, _ in probe.plugin_failures] == [("Filter", "does")]


def test_a_filter_can_neither_double_nor_replace_nor_reorder_endpoints() -> None:
    a, b, c = endpoints(1, 2, 3)
    other = make_endpoint("a", address="10.9.9.9")
    run = profile(filters=[Does(lambda _given: [c, other, a, c])]).run(make_request(), [a, b, c])
    assert run.scored == (a, c)
    assert run.filters == (FilterRun("does", (b,)),)


@pytest.mark.parametrize(
    "does", [*BREAKS, lambda given: [1.0], lambda given: ["1"] * len(given), lambda _given: None]
)
def test_a_scorer_that_fails_gives_nothing(does: Callable[..., Any]) -> None:
    probe = FakeProbe()
    scorers = (Does(does), 5.0), (Fixed(0.0, 1.0), 1.0)
    run = profile(*scorers, probe=probe).run(make_request(), endpoints(1, 2))
    assert (run.totals, run.failed) == ((0.0, 1.0), ("does",))
    assert [scorer_run.plugin for scorer_run in run.scorers] == ["fixed"]
    assert [(point, name) for point, _, name, _ in probe.plugin_failures] == [("Scorer", "does")]


def picking(does: Callable[..., Any], probe: FakeProbe) -> tuple[Profile, Does]:
    picker = Does(does)
    scorers = [WeightedScorer(Fixed(0.1, 0.9, 0.9), 1.0)]
    return Profile("p", filters=[], scorers=scorers, picker=picker, probe=probe), picker


@pytest.mark.parametrize(
    "does",
    [*BREAKS, lambda _given: [], lambda _given: [STRANGER], lambda given: [given[0], STRANGER]],
)
def test_instead_of_a_picker_that_fails_the_first_of_the_best_wins(
    does: Callable[..., Any],
) -> None:
    probe = FakeProbe()
    a, b, c = endpoints(1, 2, 3)
    run = picking(does, probe)[0].run(make_request(), [a, b, c])
    assert (run.picked, run.failed) == ((b,), ("does",))
    assert [(point, name) for point, _, name, _ in probe.plugin_failures] == [("Picker", "does")]


def test_plugins_over_their_budget_are_called_no_more() -> None:
    probe = FakeProbe()
    a, b = endpoints(1, 2)
    filters, scorer, picker = Does(lambda given: given[:1]), Does(lambda given: [1.0]), Does(list)
    for plugin in (filters, scorer, picker):
        plugin.budget_seconds = -1.0
    made = Profile(
        "p", filters=[filters], scorers=[WeightedScorer(scorer, 1.0)], picker=picker, probe=probe
    )
    for _ in range(STRIKES + 3):
        run = made.run(make_request(), [a, b])
    assert [plugin.times for plugin in (filters, scorer, picker)] == [STRIKES] * 3
    assert (run.scored, run.totals, run.picked) == ((a, b), (0.0, 0.0), (a,))
    assert run.failed == ("does",) * 3
    assert sorted(point for point, _ in probe.set_aside) == ["Filter", "Picker", "Scorer"]
