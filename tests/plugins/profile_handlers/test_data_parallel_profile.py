from __future__ import annotations

from collections.abc import Mapping

import pytest

from epp.core.decision import ProfileRun
from epp.core.errors import ResourceExhaustedError
from epp.plugins.profile_handlers.data_parallel_profile import (
    DataParallelProfileHandler,
    DataParallelProfileHandlerParams,
)
from tests.fakes import make_endpoint, make_handle, make_request, make_run

RANK_1 = make_endpoint("a-rank-1", port=8001)
SIX = make_endpoint("b-rank-2", address="2001:db8::1", port=8002)
RUN = make_run(RANK_1, SIX, picked=[RANK_1, SIX])
HEADER = "x-data-parallel-host-port"


def handler(primary_port: int = 8000) -> DataParallelProfileHandler:
    return DataParallelProfileHandler(DataParallelProfileHandlerParams(primary_port), make_handle())


def test_the_only_profile_runs_once() -> None:
    assert list(handler().select(make_request(), ("default",), {})) == ["default"]
    assert list(handler().select(make_request(), ("default",), {"default": None})) == []


def test_endpoints_are_addressed_at_the_primary_port() -> None:
    result = handler(9000).combine(make_request(), {"default": RUN})
    assert [e.destination for e in result.picked] == ["10.0.0.1:9000", "[2001:db8::1]:9000"]
    assert [e.id for e in result.picked] == [RANK_1.id, SIX.id]


@pytest.mark.parametrize(
    ("first", "rank"), [(RANK_1, b"10.0.0.1:8001"), (SIX, b"[2001:db8::1]:8002")]
)
@pytest.mark.parametrize("inbound", [{}, {HEADER: b"10.6.6.6:1"}])
def test_the_sidecar_is_told_the_rank(
    first: object, rank: bytes, inbound: Mapping[str, bytes]
) -> None:
    request = make_request(headers=inbound)
    run = RUN if first is RANK_1 else make_run(SIX, picked=[SIX])
    result = handler().combine(request, {"default": run})
    assert list(handler().pre_request(request, result)) == [(HEADER, rank)]


def test_what_a_client_sets_never_goes_on() -> None:
    request = make_request(headers={"x-prefiller-host-port": b"10.6.6.6:1", HEADER: b"10.6.6.6:1"})
    result = handler().combine(make_request(), {"default": RUN})
    assert dict(handler().pre_request(request, result)) == {
        "x-prefiller-host-port": None,
        HEADER: None,
    }


@pytest.mark.parametrize(
    "results",
    [{}, {"default": None}, {"default": make_run(picked=[])}, {"one": RUN, "two": RUN}],
)
def test_without_one_result_there_is_no_endpoint(
    results: Mapping[str, ProfileRun | None],
) -> None:
    with pytest.raises(ResourceExhaustedError):
        handler().combine(make_request(), results)
