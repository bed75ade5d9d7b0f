from __future__ import annotations

import pytest

from epp.affinity.session import SessionAffinityParams, Strategy
from epp.core.decision import SchedulingResult
from epp.plugins.filters.session_affinity import SessionAffinityFilter
from tests.fakes import endpoints, make_handle, make_request, make_run

ENDPOINTS = endpoints(0, 0, 0)


@pytest.mark.parametrize(
    ("token", "kept"),
    [
        (b"ZGVmYXVsdC9i", ["b"]),
        (b"ZGVmYXVsdC96", ["a", "b", "c"]),
        (b"no token", ["a", "b", "c"]),
    ],
)
def test_only_the_endpoint_of_the_token_is_kept_if_it_is_there(
    token: bytes, kept: list[str]
) -> None:
    plugin = SessionAffinityFilter(SessionAffinityParams(), make_handle())
    request = make_request(headers={"x-session-token": token})
    assert [e.name for e in plugin.filter(request, ENDPOINTS)] == kept


def test_only_the_endpoint_of_the_named_session_is_kept() -> None:
    params = SessionAffinityParams(strategy=Strategy.SESSION_ID)
    plugin = SessionAffinityFilter(params, make_handle())
    request = make_request(headers={"x-session-id": b"s"})
    assert list(plugin.filter(request, ENDPOINTS)) == ENDPOINTS
    run = make_run(*ENDPOINTS, picked=ENDPOINTS[2:])
    plugin.pre_request(request, SchedulingResult("p", {"p": run}))
    assert list(plugin.filter(request, ENDPOINTS)) == ENDPOINTS[2:]
    assert list(plugin.filter(request, [])) == []
