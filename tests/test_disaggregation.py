from __future__ import annotations

from collections.abc import Mapping

import pytest

from epp.core.data import PEER_ENDPOINT
from epp.core.decision import ProfileRun, SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.errors import ParameterError, ResourceExhaustedError
from epp.core.plugin import DisaggregationDecider, PluginName
from epp.core.request import InferenceRequest
from epp.disaggregation import (
    RANK,
    ROUTING_HEADERS,
    Stages,
    find_decider,
    routing_headers,
    stage_headers,
    through_port,
)
from epp.plugins.scorers.queue import QueueScorer
from tests.fakes import endpoints, make_endpoint, make_handle, make_request, make_run

A, B, C = endpoints(1, 2, 3)
ALL = ("decode", "prefill", "encode")
ON_A, ON_B, ON_C = (make_run(A, B, C, picked=[e]) for e in (A, B, C))
NOBODY = make_run(A, picked=[])


class Answering(DisaggregationDecider):
    """Always says the same, and remembers what it was asked."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.asked: list[Endpoint | None] = []

    def decide(self, request: InferenceRequest, endpoint: Endpoint | None) -> bool:
        self.asked.append(endpoint)
        return self.answer


def run_all(
    stages: Stages,
    found: Mapping[str, ProfileRun | None],
    profiles: tuple[str, ...] = ALL,
    request: InferenceRequest | None = None,
) -> list[str]:
    """The profiles that ran, in their order, where each finds what ``found`` says."""
    request = request or make_request()
    results: dict[str, ProfileRun | None] = {}
    order: list[str] = []
    while names := stages.next(request, profiles, results):
        assert not set(names) & set(order)
        order += names
        results |= {name: found[name] for name in names}
    return order


def stages(
    prefill: bool | None = None, encode: bool | None = None, *, prefill_first: bool = False
) -> Stages:
    return Stages(
        decode="decode",
        prefill="prefill",
        encode="encode",
        prefill_decider=None if prefill is None else Answering(prefill),
        encode_decider=None if encode is None else Answering(encode),
        is_prefill_first=prefill_first,
    )


FOUND = {"decode": ON_A, "prefill": ON_B, "encode": ON_C}


@pytest.mark.parametrize(
    ("prefill", "encode", "order"),
    [
        (True, True, ["decode", "encode", "prefill"]),
        (True, False, ["decode", "prefill"]),
        (False, True, ["decode", "encode"]),
        (False, False, ["decode"]),
        (None, True, ["decode", "encode"]),
        (True, None, ["decode", "prefill"]),
        (None, None, ["decode"]),
    ],
)
def test_decode_runs_first_and_the_deciders_say_what_else(
    prefill: bool | None, encode: bool | None, order: list[str]
) -> None:
    assert run_all(stages(prefill, encode), FOUND) == order


@pytest.mark.parametrize(
    ("encode", "order"),
    [
        (True, ["prefill", "encode", "decode"]),
        (False, ["prefill", "decode"]),
        (None, ["prefill", "decode"]),
    ],
)
def test_prefill_first_needs_no_decider(encode: bool | None, order: list[str]) -> None:
    assert run_all(stages(None, encode, prefill_first=True), FOUND) == order


@pytest.mark.parametrize("prefill_first", [False, True])
def test_a_stage_without_profile_does_not_run(prefill_first: bool) -> None:
    chosen = stages(True, True, prefill_first=prefill_first)
    assert run_all(chosen, FOUND, ("decode",)) == ["decode"]
    assert run_all(stages(True, True), FOUND, ("prefill", "encode")) == []


@pytest.mark.parametrize("nobody", [None, NOBODY])
def test_nothing_more_runs_when_nobody_decodes(nobody: ProfileRun | None) -> None:
    assert run_all(stages(True, True), {**FOUND, "decode": nobody}) == ["decode"]


def test_each_decider_is_asked_once_about_the_endpoint_that_decodes() -> None:
    for answer in (True, False):
        chosen = stages(answer, answer)
        run_all(chosen, FOUND)
        for decider in (chosen.prefill_decider, chosen.encode_decider):
            assert isinstance(decider, Answering)
            assert decider.asked == [A]


def test_before_decode_the_encode_decider_knows_no_endpoint() -> None:
    chosen = stages(None, True, prefill_first=True)
    run_all(chosen, FOUND)
    assert isinstance(chosen.encode_decider, Answering)
    assert chosen.encode_decider.asked == [None]


@pytest.mark.parametrize(("prefill_first", "peer"), [(False, A), (True, B)])
def test_the_later_of_prefill_and_decode_knows_its_peer(
    prefill_first: bool, peer: Endpoint
) -> None:
    request = make_request()
    seen: list[Endpoint | None] = []
    chosen = stages(None if prefill_first else True, prefill_first=prefill_first)
    results: dict[str, ProfileRun | None] = {}
    while names := chosen.next(request, ALL, results):
        seen.append(request.data.get(PEER_ENDPOINT.of()))
        results |= {name: FOUND[name] for name in names}
    assert seen == [None, peer]


def test_without_prefill_there_is_no_peer() -> None:
    request = make_request()
    run_all(stages(False), FOUND, request=request)
    run_all(stages(prefill_first=True), {**FOUND, "prefill": None}, request=request)
    assert request.data.get(PEER_ENDPOINT.of()) is None


@pytest.mark.parametrize(
    ("results", "kept", "name"),
    [
        ({"decode": ON_A}, ["decode"], "decode-only"),
        ({"decode": ON_A, "prefill": None}, ["decode"], "decode-only"),
        ({"decode": ON_A, "prefill": NOBODY}, ["decode"], "decode-only"),
        ({"decode": ON_A, "prefill": ON_B}, ["decode", "prefill"], "prefill-decode"),
        ({"decode": ON_A, "encode": ON_C}, ["decode", "encode"], "encode-decode"),
        (FOUND, ["decode", "prefill", "encode"], "encode-prefill-decode"),
    ],
)
def test_decode_counts_and_stages_that_found_nobody_are_left_to_it(
    results: Mapping[str, ProfileRun | None], kept: list[str], name: str
) -> None:
    result = stages().combine(results)
    assert (result.primary, list(result.profiles), result.picked) == ("decode", kept, (A,))
    assert stages().found(result) == name


@pytest.mark.parametrize("results", [{}, {"decode": None, "prefill": ON_B}, {"decode": NOBODY}])
def test_a_request_that_nobody_decodes_is_refused(
    results: Mapping[str, ProfileRun | None],
) -> None:
    with pytest.raises(ResourceExhaustedError) as raised:
        stages().combine(results)
    assert raised.value.message == "failed to find available decode workers"


def test_the_sidecar_is_told_the_first_prefiller_and_all_encoders() -> None:
    six = make_endpoint("six", address="2001:db8::1")
    result = SchedulingResult(
        "decode",
        {
            "decode": ON_A,
            "prefill": make_run(B, six, picked=[six, B]),
            "encode": make_run(B, C, picked=[B, C]),
        },
    )
    changes = stage_headers(make_request(), result, prefill="prefill", encode="encode")
    assert dict(changes) == {
        "x-prefiller-host-port": b"[2001:db8::1]:8000",
        "x-encoder-hosts-ports": b"10.0.0.2:8000,10.0.0.3:8000",
    }


@pytest.mark.parametrize("missing", [{}, {"prefill": None, "encode": None}, {"prefill": NOBODY}])
def test_no_client_sends_the_sidecar_anywhere(missing: Mapping[str, ProfileRun | None]) -> None:
    request = make_request(headers=dict.fromkeys(ROUTING_HEADERS, b"10.6.6.6:1"))
    result = SchedulingResult("decode", {"decode": ON_A, **missing})
    changes = stage_headers(request, result, prefill="prefill", encode="encode")
    assert dict(changes) == dict.fromkeys(ROUTING_HEADERS)


def test_what_is_set_takes_the_place_of_the_client_s() -> None:
    request = make_request(headers=dict.fromkeys(ROUTING_HEADERS[:2], b"10.6.6.6:1"))
    changes = routing_headers(request, {ROUTING_HEADERS[0]: b"10.0.0.2:8000"})
    assert sorted(changes) == [(ROUTING_HEADERS[1], None), (ROUTING_HEADERS[0], b"10.0.0.2:8000")]


def test_an_ordinary_request_costs_no_change() -> None:
    result = SchedulingResult("decode", {"decode": ON_A})
    assert stage_headers(make_request(), result, prefill="prefill", encode="encode") == []


def test_through_another_port_the_sidecar_is_told_the_one_that_was_picked() -> None:
    request = make_request(headers={"x-data-parallel-host-port": b"10.6.6.6:1"})
    ranks = [make_endpoint(f"a-{i}", port=8000 + i) for i in (2, 1)]
    result = SchedulingResult("p", {"p": make_run(*ranks, picked=ranks), "q": ON_B})
    moved = through_port(request, result, 9000)
    assert [e.destination for e in moved.picked] == ["10.0.0.1:9000"] * 2
    assert [e.id for e in moved.picked] == [e.id for e in ranks]
    assert moved.profiles["q"] is ON_B
    assert request.data.get(RANK) == "10.0.0.1:8002"
    assert routing_headers(request, {}) == [("x-data-parallel-host-port", b"10.0.0.1:8002")]


def test_a_decider_is_found_by_its_name() -> None:
    decider = Answering(True)
    handle = make_handle(plugins={"mine": decider, "queue": QueueScorer()})
    assert find_decider(handle, "key", PluginName("mine")) is decider
    assert find_decider(handle, "key", None) is None
    assert find_decider(handle, "key", PluginName("")) is None


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("queue", "queue-scorer/queue-scorer is no decider"),
        ("absent", "no plugin is called 'absent'"),
    ],
)
def test_what_decides_nothing_is_no_decider(name: str, rule: str) -> None:
    handle = make_handle(plugins={"queue": QueueScorer()})
    with pytest.raises(ParameterError) as raised:
        find_decider(handle, "deciders.prefill", PluginName(name))
    assert (raised.value.key, raised.value.rule) == ("deciders.prefill", rule)
