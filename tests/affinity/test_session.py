from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.affinity.session import SessionAffinity, SessionAffinityParams
from epp.core.data import AGENT_IDENTITY, SESSION_ID
from epp.core.decision import ProfileRun, SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.request import InferenceRequest
from epp.core.response import ResponseStart
from tests.fakes import FakeClock, endpoints, make_handle, make_request, make_run

A, B, C = ENDPOINTS = endpoints(0, 0, 0)
BY_ID: dict[str, Any] = {"strategy": "session_id"}


def make(clock: FakeClock | None = None, **fields: Any) -> SessionAffinity:
    params = msgspec.convert(fields, SessionAffinityParams)
    assert list(params.problems()) == []
    return SessionAffinity(params, make_handle(clock=clock))


def ask(session: str = "s", *, header: str = "x-session-id") -> InferenceRequest:
    return make_request(headers={header: session.encode()} if session else {})


def went(picked: Endpoint, **others: ProfileRun | None) -> SchedulingResult:
    return SchedulingResult("p", {"p": make_run(*ENDPOINTS, picked=[picked]), **others})


def route(affinity: SessionAffinity, candidates: list[Endpoint], picked: Endpoint) -> str:
    """Ask for a session's endpoint, then send its request somewhere."""
    request = ask()
    bound = affinity.bound(request, candidates)
    affinity.pre_request(request, went(picked))
    return bound.name if bound else ""


@pytest.mark.parametrize(
    ("token", "bound"),
    [
        (b64encode(b"default/b"), B),
        (b64encode(b"default/z"), None),
        (b"ZGVmYXVsdC9i", B),
        (b"ZGVmYXVsdC9", None),
        (b"default/b", None),
        (b"\xff\xfe", None),
        (b64encode(b"\xff"), None),
        (b"", None),
        (b64encode(b"default/b" * 1000), None),
    ],
)
def test_a_token_names_the_endpoint_or_nothing(token: bytes, bound: Endpoint | None) -> None:
    request = make_request(headers={"x-session-token": token})
    assert make().bound(request, ENDPOINTS) is bound


@given(st.binary(max_size=40))
def test_any_token_is_survived(token: bytes) -> None:
    make().bound(make_request(headers={"x-session-token": token}), ENDPOINTS)


def test_the_answer_carries_the_token_that_comes_back() -> None:
    affinity = make(encodedEndpointHeaderConfig={"header": " X-Mine "})
    (header,) = affinity.response_headers(ask(), went(C), ResponseStart({}))
    assert header == ("x-mine", b"ZGVmYXVsdC9j")
    assert affinity.bound(make_request(headers=dict([header])), ENDPOINTS) is C


def test_the_token_is_of_the_endpoint_that_the_proxy_used() -> None:
    result = SchedulingResult("p", {"p": make_run(*ENDPOINTS, picked=[A, B])})
    for served, endpoint in [(B.destination, B), ("10.9.9.9:1", A), ("", A)]:
        ((_, token),) = make().response_headers(ask(), result, ResponseStart({}, served))
        assert token == b64encode(endpoint.id.encode())


def test_the_profile_may_be_another_one_and_may_not_have_run() -> None:
    affinity = make(profileName="prefill")
    prefill = make_run(*ENDPOINTS, picked=[B])
    ((_, token),) = affinity.response_headers(ask(), went(A, prefill=prefill), ResponseStart({}))
    assert token == b64encode(b"default/b")
    assert not list(affinity.response_headers(ask(), went(A), ResponseStart({})))
    assert not list(affinity.response_headers(ask(), went(A, prefill=None), ResponseStart({})))


def test_a_named_session_stays_where_its_first_request_went() -> None:
    affinity = make(**BY_ID)
    assert route(affinity, ENDPOINTS, B) == ""
    assert route(affinity, ENDPOINTS, B) == "b"
    assert not list(affinity.response_headers(ask(), went(B), ResponseStart({})))
    assert affinity.describe() == {"sessions": 1}


def test_a_named_session_moves_only_when_its_endpoint_is_no_candidate() -> None:
    affinity = make(**BY_ID)
    route(affinity, ENDPOINTS, B)
    assert route(affinity, ENDPOINTS, C) == "b"
    assert route(affinity, [A, C], C) == ""
    assert route(affinity, ENDPOINTS, C) == "c"


def test_a_session_that_was_bound_in_the_meantime_does_not_move() -> None:
    affinity = make(**BY_ID)
    late = ask()
    assert affinity.bound(late, ENDPOINTS) is None
    route(affinity, ENDPOINTS, B)
    affinity.pre_request(late, went(C))
    assert affinity.bound(ask(), ENDPOINTS) is B


def test_a_session_does_not_move_for_a_profile_that_its_endpoint_is_not_in() -> None:
    affinity = make(**BY_ID)
    route(affinity, ENDPOINTS, B)
    request = ask()
    affinity.bound(request, [A, B])
    affinity.bound(request, [C])
    affinity.pre_request(request, went(A))
    assert affinity.bound(ask(), ENDPOINTS) is B


def test_a_session_that_is_not_used_is_forgotten() -> None:
    clock = FakeClock()
    affinity = make(clock, **BY_ID, sessionIdConfig={"evictionTtlSeconds": 5})
    route(affinity, ENDPOINTS, B)
    clock.advance(5)
    assert route(affinity, ENDPOINTS, C) == "b"  # goes elsewhere, so it is not used there
    clock.advance(0.1)
    assert route(affinity, ENDPOINTS, C) == ""
    assert route(affinity, ENDPOINTS, C) == "c"


def test_a_request_without_a_session_has_no_preference_and_is_not_remembered() -> None:
    affinity = make(**BY_ID)
    for request in (ask(""), ask("  ")):
        assert affinity.bound(request, ENDPOINTS) is None
        affinity.pre_request(request, went(B))
    affinity.pre_request(ask(), SchedulingResult("p", {"p": None}))
    assert affinity.describe() == {"sessions": 0}


def test_the_first_source_that_is_not_empty_names_the_session() -> None:
    sources = [
        {"header": "X-First"},
        {"attribute": "SessionIDDataKey", "producer": "mine"},
        {"attribute": "agent-identity"},
    ]
    affinity = make(**BY_ID, sessionIdConfig={"sources": sources})
    assert list(affinity.consumes) == [SESSION_ID.of("mine"), AGENT_IDENTITY.of()]

    def asking(first: str, second: str, third: str) -> InferenceRequest:
        request = ask(first, header="x-first")
        request.data.set(SESSION_ID.of("mine"), second)
        request.data.set(AGENT_IDENTITY.of(), third)
        return request

    affinity.pre_request(asking("1", "2", "3"), went(A))
    affinity.pre_request(asking("", "2", "3"), went(B))
    affinity.pre_request(asking("", " ", "3"), went(C))
    for names, endpoint in [(("1", "", ""), A), (("", "2", ""), B), (("", "", "3"), C)]:
        assert affinity.bound(asking(*names), ENDPOINTS) is endpoint
    assert affinity.bound(ask(), ENDPOINTS) is None


def test_an_attribute_may_be_spelled_together_with_its_producer() -> None:
    sources = [{"attribute": "session-id/mine"}]
    assert list(make(**BY_ID, sessionIdConfig={"sources": sources}).consumes) == [
        SESSION_ID.of("mine")
    ]


def test_nothing_is_consumed_where_nobody_names_sessions() -> None:
    config = {"sources": [{"attribute": "session-id"}]}
    assert list(make(sessionIdConfig=config).consumes) == []
    assert make().describe() == {}


@pytest.mark.parametrize(
    "source",
    [{}, {"header": " "}, {"header": "x", "attribute": "session-id"}, {"attribute": "nobody's"}],
)
def test_a_source_is_one_header_or_one_attribute_that_there_is(source: dict[str, str]) -> None:
    config = {"sources": [{"header": "x"}, source]}
    params = msgspec.convert({"sessionIdConfig": config}, SessionAffinityParams)
    assert [place for place, _ in params.problems()] == ["sessionIdConfig.sources[1]"]
