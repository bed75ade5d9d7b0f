from __future__ import annotations

import pytest

from epp.core.decision import ProfileRun, SchedulingResult
from epp.plugins.hooks.disagg_headers import DisaggHeadersHandler, DisaggHeadersHandlerParams
from tests.fakes import endpoints, make_handle, make_request, make_run

A, B, C = endpoints(1, 2, 3)
INBOUND = {"x-prefiller-host-port": b"10.6.6.6:1", "x-encoder-hosts-ports": b"10.6.6.6:1"}


@pytest.mark.parametrize("inbound", [{}, INBOUND])
def test_the_sidecar_is_told_who_prefills_and_encodes(inbound: dict[str, bytes]) -> None:
    params = DisaggHeadersHandlerParams(prefill_profile="p", encode_profile="e")
    handler = DisaggHeadersHandler(params, make_handle())
    runs = {"decode": A, "p": B, "e": C}
    result = SchedulingResult("decode", {n: make_run(e, picked=[e]) for n, e in runs.items()})
    assert dict(handler.pre_request(make_request(headers=inbound), result)) == {
        "x-prefiller-host-port": b"10.0.0.2:8000",
        "x-encoder-hosts-ports": b"10.0.0.3:8000",
    }


@pytest.mark.parametrize("prefill", [{}, {"prefill": None}])
def test_what_a_client_sets_never_goes_on(prefill: dict[str, ProfileRun | None]) -> None:
    handler = DisaggHeadersHandler(DisaggHeadersHandlerParams(), make_handle())
    result = SchedulingResult("decode", {"decode": make_run(A, picked=[A]), **prefill})
    changes = handler.pre_request(make_request(headers=INBOUND), result)
    assert dict(changes) == dict.fromkeys(INBOUND)
    assert list(handler.pre_request(make_request(), result)) == []
