from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from epp.core.data import PEER_ENDPOINT
from epp.core.decision import ProfileRun, SchedulingResult
from epp.core.errors import ParameterError, ResourceExhaustedError
from epp.core.plugin import PluginName
from epp.core.request import InferenceRequest
from epp.plugins.deciders.always_disagg_pd import AlwaysDisaggPdDecider
from epp.plugins.profile_handlers.pd_profile import PdProfileHandler, PdProfileHandlerParams
from tests.fakes import FakeProbe, endpoints, make_handle, make_request, make_run

A, B = endpoints(1, 2)
FOUND = {"decode": make_run(A, B, picked=[A]), "prefill": make_run(A, B, picked=[B])}


def handler(probe: FakeProbe | None = None, primary_port: int = 0) -> PdProfileHandler:
    params = PdProfileHandlerParams(
        primary_port=primary_port, decider_plugin_name=PluginName("yes")
    )
    plugins = {"yes": AlwaysDisaggPdDecider()}
    return PdProfileHandler(params, make_handle(probe=probe, plugins=plugins))


def schedule(
    made: PdProfileHandler,
    request: InferenceRequest,
    found: Mapping[str, ProfileRun | None] = FOUND,
) -> SchedulingResult:
    results: dict[str, ProfileRun | None] = {}
    while names := made.select(request, ("prefill", "decode"), results):
        results |= {name: found[name] for name in names}
    return made.combine(request, results)


def test_decode_counts_and_the_sidecar_is_told_who_prefills() -> None:
    probe = FakeProbe()
    made = handler(probe)
    request = make_request(headers={"x-encoder-hosts-ports": b"10.6.6.6:1"})
    result = schedule(made, request)
    assert (result.picked, list(result.profiles)) == ((A,), ["decode", "prefill"])
    assert dict(made.pre_request(request, result)) == {
        "x-encoder-hosts-ports": None,
        "x-prefiller-host-port": b"10.0.0.2:8000",
    }
    assert probe.disaggregations == [
        ("pd-profile-handler", "pd-profile-handler", "m", "prefill-decode")
    ]
    assert request.data.get(PEER_ENDPOINT.of()) is A
    assert made.produces == (PEER_ENDPOINT.of(),)


def test_with_a_primary_port_the_sidecar_is_told_the_rank_too() -> None:
    made = handler(primary_port=9000)
    request = make_request()
    result = schedule(made, request)
    assert [e.destination for e in result.picked] == ["10.0.0.1:9000"]
    assert dict(made.pre_request(request, result)) == {
        "x-prefiller-host-port": b"10.0.0.2:8000",
        "x-data-parallel-host-port": b"10.0.0.1:8000",
    }


def test_a_request_that_nobody_decodes_is_refused() -> None:
    with pytest.raises(ResourceExhaustedError):
        schedule(handler(), make_request(), {"decode": None})


def test_the_decider_has_to_be_there() -> None:
    with pytest.raises(ParameterError) as raised:
        PdProfileHandler(PdProfileHandlerParams(), make_handle())
    assert (raised.value.key, raised.value.rule) == (
        "deciderPluginName",
        "no plugin is called 'prefix-based-pd-decider'",
    )


def test_one_profile_cannot_be_both() -> None:
    params = PdProfileHandlerParams(prefill_profile="decode")
    assert [key for key, _ in params.problems()] == ["prefillProfile"]
    assert list(PdProfileHandlerParams().problems()) == []


def test_what_has_no_effect_is_pointed_out() -> None:
    params = PdProfileHandlerParams(
        prefix_match_info_producer_name="x", prefix_plugin_type="x", prefix_plugin_name="x"
    )
    assert [key for key, _ in params.hints()] == [
        "prefixMatchInfoProducerName",
        "prefixPluginType",
        "prefixPluginName",
    ]
    assert list(PdProfileHandlerParams().hints()) == []


def test_a_schema_of_the_parameters_can_be_made() -> None:
    schema = msgspec.json.schema(PdProfileHandlerParams, schema_hook=lambda _: {"type": "string"})
    assert "deciderPluginName" in str(schema)
