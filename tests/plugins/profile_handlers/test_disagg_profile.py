from __future__ import annotations

from collections.abc import Mapping

import pytest

from epp.core.data import PEER_ENDPOINT
from epp.core.decision import ProfileRun, SchedulingResult
from epp.core.errors import ParameterError, ResourceExhaustedError
from epp.core.plugin import PluginName
from epp.core.request import InferenceRequest
from epp.plugins.deciders.always_disagg_pd import AlwaysDisaggPdDecider
from epp.plugins.profile_handlers.disagg_profile import (
    DisaggProfileHandler,
    DisaggProfileHandlerParams,
    StageDeciders,
    StageProfiles,
)
from epp.plugins.scorers.queue import QueueScorer
from tests.fakes import FakeProbe, endpoints, make_handle, make_request, make_run

A, B, C = endpoints(1, 2, 3)
FOUND = {n: make_run(A, B, C, picked=[e]) for n, e in (("d", A), ("p", B), ("e", C))}
PLUGINS = {"yes": AlwaysDisaggPdDecider(), "queue": QueueScorer()}
YES = PluginName("yes")
NAMES = StageProfiles(decode="d", prefill="p", encode="e")


def handler(
    params: DisaggProfileHandlerParams, probe: FakeProbe | None = None
) -> tuple[DisaggProfileHandler, FakeProbe]:
    probe = probe or FakeProbe()
    made = DisaggProfileHandler(params, make_handle(probe=probe, plugins=PLUGINS))
    made.bind("mine")
    return made, probe


def schedule(
    made: DisaggProfileHandler,
    request: InferenceRequest,
    found: Mapping[str, ProfileRun | None] = FOUND,
) -> SchedulingResult:
    results: dict[str, ProfileRun | None] = {}
    while names := made.select(request, ("e", "p", "d"), results):
        results |= {name: found[name] for name in names}
    return made.combine(request, results)


@pytest.mark.parametrize(
    ("params", "ran", "stages"),
    [
        (DisaggProfileHandlerParams(profiles=NAMES), ["d"], "decode-only"),
        (
            DisaggProfileHandlerParams(profiles=NAMES, deciders=StageDeciders(prefill=YES)),
            ["d", "p"],
            "prefill-decode",
        ),
        (
            DisaggProfileHandlerParams(profiles=NAMES, deciders=StageDeciders(encode=YES)),
            ["d", "e"],
            "encode-decode",
        ),
        (
            DisaggProfileHandlerParams(profiles=NAMES, deciders=StageDeciders(YES, YES)),
            ["d", "e", "p"],
            "encode-prefill-decode",
        ),
        (
            DisaggProfileHandlerParams(stage_order="Prefill_First", profiles=NAMES),
            ["p", "d"],
            "prefill-decode",
        ),
        (
            DisaggProfileHandlerParams(
                decode_profile="d",
                prefill_profile="p",
                encode_profile="e",
                prefill_decider_plugin_name=YES,
                encode_decider_plugin_name=YES,
            ),
            ["d", "e", "p"],
            "encode-prefill-decode",
        ),
        (
            DisaggProfileHandlerParams(
                decode_profile="d", prefill_profile="p", decider_plugin_name=YES
            ),
            ["d", "p"],
            "prefill-decode",
        ),
    ],
)
def test_deciders_and_order_say_which_stages_run(
    params: DisaggProfileHandlerParams, ran: list[str], stages: str
) -> None:
    assert list(params.problems()) == []
    made, probe = handler(params)
    result = schedule(made, make_request(target="t"))
    assert (result.primary, list(result.profiles), result.picked) == ("d", ran, (A,))
    assert probe.disaggregations == [("disagg-profile-handler", "mine", "t", stages)]


def test_the_sidecar_is_told_and_the_peer_is_known() -> None:
    params = DisaggProfileHandlerParams(profiles=NAMES, deciders=StageDeciders(YES, YES))
    made, _ = handler(params)
    request = make_request(headers={"x-prefiller-host-port": b"10.6.6.6:1"})
    result = schedule(made, request)
    assert dict(made.pre_request(request, result)) == {
        "x-prefiller-host-port": b"10.0.0.2:8000",
        "x-encoder-hosts-ports": b"10.0.0.3:8000",
    }
    assert request.data.get(PEER_ENDPOINT.of()) is A
    assert made.produces == (PEER_ENDPOINT.of(),)


def test_without_prefill_the_client_s_header_is_removed() -> None:
    made, _ = handler(DisaggProfileHandlerParams(profiles=NAMES))
    request = make_request(headers={"x-prefiller-host-port": b"10.6.6.6:1"})
    changes = made.pre_request(request, schedule(made, request))
    assert list(changes) == [("x-prefiller-host-port", None)]


def test_a_prefill_stage_that_finds_nobody_is_left_to_decode() -> None:
    params = DisaggProfileHandlerParams(profiles=NAMES, deciders=StageDeciders(prefill=YES))
    made, probe = handler(params)
    result = schedule(made, make_request(), {**FOUND, "p": None})
    assert list(result.profiles) == ["d"]
    assert [stages for *_, stages in probe.disaggregations] == ["decode-only"]


def test_a_request_that_nobody_decodes_is_refused() -> None:
    made, probe = handler(DisaggProfileHandlerParams(profiles=NAMES))
    with pytest.raises(ResourceExhaustedError):
        schedule(made, make_request(), {"d": None})
    assert probe.disaggregations == []


@pytest.mark.parametrize(
    ("spelling", "order"),
    [
        ("", "decode-first"),
        ("decode", "decode-first"),
        ("DecodeFirst", "decode-first"),
        ("decode_first", "decode-first"),
        ("prefill", "prefill-first"),
        ("PREFILL-FIRST", "prefill-first"),
        ("encode-first", None),
    ],
)
def test_the_order_has_many_spellings(spelling: str, order: str | None) -> None:
    assert DisaggProfileHandlerParams(stage_order=spelling).order == order


@pytest.mark.parametrize(
    ("params", "key"),
    [
        (DisaggProfileHandlerParams(stage_order="x"), "stageOrder"),
        (
            DisaggProfileHandlerParams(profiles=NAMES, decode_profile="x"),
            "decodeProfile",
        ),
        (
            DisaggProfileHandlerParams(
                deciders=StageDeciders(prefill=YES), decider_plugin_name=YES
            ),
            "deciderPluginName",
        ),
        (
            DisaggProfileHandlerParams(prefill_decider_plugin_name=YES, decider_plugin_name=YES),
            "deciderPluginName",
        ),
        (
            DisaggProfileHandlerParams(
                stage_order="prefill-first", deciders=StageDeciders(prefill=YES)
            ),
            "deciders.prefill",
        ),
        (
            DisaggProfileHandlerParams(stage_order="prefill", decider_plugin_name=YES),
            "deciderPluginName",
        ),
        (DisaggProfileHandlerParams(profiles=StageProfiles(prefill="decode")), "profiles"),
    ],
)
def test_what_contradicts_itself_is_a_problem(params: DisaggProfileHandlerParams, key: str) -> None:
    assert [found for found, _rule in params.problems()] == [key]


def test_the_older_form_and_missing_deciders_are_pointed_out() -> None:
    older = DisaggProfileHandlerParams(decode_profile="d", decider_plugin_name=YES)
    assert [key for key, _ in older.hints()] == ["decodeProfile", "deciderPluginName"]
    assert [key for key, _ in DisaggProfileHandlerParams().hints()] == ["deciders"]
    prefill_first = DisaggProfileHandlerParams(stage_order="prefill-first")
    assert list(prefill_first.hints()) == []


@pytest.mark.parametrize(
    ("params", "key"),
    [
        (
            DisaggProfileHandlerParams(deciders=StageDeciders(PluginName("queue"))),
            "deciders.prefill",
        ),
        (
            DisaggProfileHandlerParams(encode_decider_plugin_name=PluginName("absent")),
            "encodeDeciderPluginName",
        ),
    ],
)
def test_a_decider_has_to_be_one(params: DisaggProfileHandlerParams, key: str) -> None:
    with pytest.raises(ParameterError) as raised:
        handler(params)
    assert raised.value.key == key
