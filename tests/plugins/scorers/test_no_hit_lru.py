from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.data import PREFIX_MATCH, PrefixMatch
from epp.core.decision import SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.request import InferenceRequest
from epp.plugins.scorers.no_hit_lru import NoHitLruScorer, NoHitLruScorerParams
from tests.fakes import endpoints, make_handle, make_request, make_run

A, B, C = ENDPOINTS = endpoints(0, 0, 0)


def make(size: int = 1024) -> NoHitLruScorer:
    return NoHitLruScorer(NoHitLruScorerParams(lru_size=size), make_handle())


def ask(**matched: int) -> InferenceRequest:
    request = make_request()
    blocks = {f"default/{name}": number for name, number in matched.items()}
    request.data.set(PREFIX_MATCH.of(), PrefixMatch(4, 64, blocks))
    return request


def send(scorer: NoHitLruScorer, picked: Endpoint, prefill: Endpoint | None = None) -> None:
    """A cold request goes there."""
    request = ask()
    scorer.score(request, ENDPOINTS)
    profiles = {"p": make_run(*ENDPOINTS, picked=[picked])}
    if prefill:
        profiles["prefill"] = make_run(*ENDPOINTS, picked=[prefill])
    scorer.pre_request(request, SchedulingResult("p", profiles))


@pytest.mark.parametrize(
    ("sent", "scores"),
    [
        ([], [1.0, 0.5, 0.0]),
        ([A], [0.0, 1.0, 0.5]),
        ([B, A], [0.0, 0.5, 1.0]),
        ([B, A, C], [0.5, 1.0, 0.0]),
        ([B, A, C, B], [1.0, 0.0, 0.5]),
    ],
)
def test_who_got_no_cold_request_for_longest_comes_first(
    sent: list[Endpoint], scores: list[float]
) -> None:
    scorer = make()
    for endpoint in sent:
        send(scorer, endpoint)
    assert scorer.score(ask(), ENDPOINTS) == scores


@pytest.mark.parametrize(
    ("request_", "is_cold"),
    [
        (ask(b=1), False),
        (ask(b=0), True),
        (ask(z=4), True),
        (make_request(None), True),
    ],
)
def test_a_request_is_warm_when_a_candidate_has_a_block(
    request_: InferenceRequest, is_cold: bool
) -> None:
    scorer = make()
    assert scorer.score(request_, ENDPOINTS) == ([1.0, 0.5, 0.0] if is_cold else [0.5] * 3)
    scorer.pre_request(request_, SchedulingResult("p", {"p": make_run(*ENDPOINTS, picked=[A])}))
    assert scorer.describe() == {"remembered": int(is_cold)}


def test_a_request_that_nobody_asked_about_is_not_remembered() -> None:
    scorer = make()
    run = make_run(*ENDPOINTS, picked=[A])
    scorer.pre_request(ask(), SchedulingResult("p", {"p": run}))
    assert scorer.describe() == {"remembered": 0}


def test_a_lone_candidate_gets_all() -> None:
    scorer = make()
    send(scorer, A)
    assert scorer.score(ask(), [A]) == [1.0]


def test_the_endpoint_that_prefills_gets_a_cold_request_too() -> None:
    scorer = make()
    send(scorer, B, prefill=A)
    assert scorer.score(ask(), ENDPOINTS) == [0.0, 0.5, 1.0]


def test_a_profile_that_failed_is_no_matter() -> None:
    scorer = make()
    request = ask()
    scorer.score(request, ENDPOINTS)
    scorer.pre_request(request, SchedulingResult("p", {"p": None, "prefill": None}))
    assert scorer.describe() == {"remembered": 0}


def test_candidates_are_ranked_among_themselves() -> None:
    scorer = make()
    for endpoint in (C, B, A):
        send(scorer, endpoint)
    assert scorer.score(ask(), [A, B]) == [0.0, 1.0]
    assert scorer.score(ask(), [B, C]) == [0.0, 1.0]


def test_only_so_many_are_remembered_and_none_that_left() -> None:
    scorer = make(size=2)
    for endpoint in (A, B, C):
        send(scorer, endpoint)
    assert scorer.score(ask(), ENDPOINTS) == [1.0, 0.5, 0.0]
    scorer.endpoint_removed(C.id)
    scorer.endpoint_removed("default/unknown")
    assert scorer.score(ask(), ENDPOINTS) == [1.0, 0.0, 0.5]


def test_older_parameters_are_accepted_and_said_to_do_nothing() -> None:
    params = NoHitLruScorerParams(prefix_plugin_type="a", prefix_plugin_name="b")
    assert [key for key, _ in params.hints()] == ["prefixPluginType", "prefixPluginName"]
    assert list(NoHitLruScorerParams().hints()) == []


@given(st.integers(2, 8), st.integers(1, 30))
def test_cold_requests_go_round(number: int, requests: int) -> None:
    scorer, pool = make(), endpoints(*[0] * number)
    counts = dict.fromkeys([e.id for e in pool], 0)
    for _ in range(requests):
        request = ask()
        scores = scorer.score(request, pool)
        assert sorted(scores, reverse=True) == [1.0 - i / (number - 1) for i in range(number)]
        best = pool[scores.index(1.0)]
        counts[best.id] += 1
        run = make_run(*pool, picked=[best])
        scorer.pre_request(request, SchedulingResult("p", {"p": run}))
    assert max(counts.values()) - min(counts.values()) <= 1
