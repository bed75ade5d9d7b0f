from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.data import (
    IN_FLIGHT_LOAD,
    PREFIX_MATCH,
    TOKENIZED_PROMPT,
    InFlightLoad,
    PrefixMatch,
    PromptTokens,
    TokenizedPrompt,
)
from epp.core.decision import SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.request import InferenceRequest, RequestBody
from epp.core.response import ResponseEnd
from epp.plugins.producers.inflight_load import InflightLoadParams, InflightLoadProducer
from tests.fakes import FakeProbe, endpoints, make_handle, make_request, make_run

A, B = endpoints(0, 0)


class World:
    """A producer, and what it offers to everybody."""

    def __init__(self, **params: Any) -> None:
        self.probe = FakeProbe()
        self.producer = InflightLoadProducer(
            InflightLoadParams(**params), make_handle(probe=self.probe)
        )
        (load,) = self.producer.standing.values()
        assert isinstance(load, InFlightLoad)
        self.load = load

    def start(self, request: InferenceRequest, **picked: Endpoint) -> Flight:
        self.producer.produce(request, [A, B])
        profiles = {name: make_run(one, picked=[one]) for name, one in picked.items()}
        result = SchedulingResult("decode", {**profiles, "failed": None})
        self.producer.pre_request(request, result)
        return Flight(self.producer, request, result)

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """Requests and tokens of those endpoints that have any."""
        requests, tokens = self.load.requests, self.load.tokens
        counts = {of: (requests[of], tokens[of]) for of in requests}
        return {of: count for of, count in counts.items() if any(count)}


class Flight:
    """A request on its way, as plugins see it after it was routed."""

    def __init__(
        self, producer: InflightLoadProducer, request: InferenceRequest, result: SchedulingResult
    ) -> None:
        self._producer = producer
        self._request = msgspec.structs.replace(request, body=None, data=request.data.lasting())
        self._result = result

    def first_chunk(self) -> None:
        self._producer.response_chunk(self._request, self._result, b"x")

    def end(self) -> None:
        assert list(self._producer.response_ended(self._request, self._result, ResponseEnd())) == []


def asking(
    tokens: int, *, match: PrefixMatch | None = None, max_tokens: int | None = None
) -> InferenceRequest:
    request = InferenceRequest(
        request_id="r",
        headers={},
        body=RequestBody(model="m", prompt="x", max_tokens=max_tokens),
        fairness_id="alice",
        priority=3,
    )
    prompts = (PromptTokens(bytes(4 * tokens)),)
    request.data.set(TOKENIZED_PROMPT.of(), TokenizedPrompt(prompts))
    if match is not None:
        request.data.set(PREFIX_MATCH.of(), match)
    return request


def test_a_request_counts_from_the_decision_to_the_end_and_its_tokens_to_the_first_chunk() -> None:
    world = World()
    one, other = world.start(asking(100), decode=A), world.start(asking(20), decode=A)
    assert world.counts == {A.id: (2, 120)}
    one.first_chunk()
    assert world.counts == {A.id: (2, 20)}
    one.end()
    other.end()
    assert world.counts == {}
    other.end()
    assert world.counts == {}


def test_prefill_is_done_with_the_first_chunk() -> None:
    world = World()
    flight = world.start(asking(100), decode=A, prefill=B)
    assert world.counts == {A.id: (1, 100), B.id: (1, 100)}
    flight.first_chunk()
    assert world.counts == {A.id: (1, 0)}
    flight.end()
    assert world.counts == {}


def test_one_endpoint_may_count_for_two_profiles() -> None:
    world = World()
    flight = world.start(asking(100), decode=A, prefill=A)
    assert world.counts == {A.id: (2, 200)}
    flight.first_chunk()
    assert world.counts == {A.id: (1, 0)}


def test_tokens_of_the_answer_are_held_to_its_end() -> None:
    world = World(add_estimated_output_tokens=True)
    flight = world.start(asking(100), decode=A, prefill=B)
    assert world.counts == {A.id: (1, 250), B.id: (1, 250)}
    flight.first_chunk()
    assert world.counts == {A.id: (1, 250)}
    flight.end()
    assert world.counts == {}


@pytest.mark.parametrize(
    ("tokens", "max_tokens", "params", "output"),
    [
        (100, None, {}, 150),
        (3, None, {}, 5),
        (0, None, {}, 0),
        (100, 20, {}, 20),
        (100, 500, {}, 150),
        (100, None, {"max_estimated_output_tokens": 30}, 30),
        (100, 20, {"max_estimated_output_tokens": 30}, 20),
        (100, None, {"max_estimated_output_tokens": 0}, 0),
        (100, -5, {}, 0),
        (100, None, {"output_ratio": 0.0}, 0),
    ],
)
def test_the_answer_s_length_is_guessed_from_the_prompt_s(
    tokens: int, max_tokens: int | None, params: dict[str, Any], output: int
) -> None:
    world = World(add_estimated_output_tokens=True, **params)
    world.start(asking(tokens, max_tokens=max_tokens), decode=A)
    assert world.load.tokens == {A.id: tokens + output}


@pytest.mark.parametrize(
    ("match", "at_a", "at_b"),
    [
        (None, 100, 100),
        (PrefixMatch(2, 256, {A.id: 1}), 64, 128),  # two blocks of 64, the second not full
        (PrefixMatch(1, 256, {A.id: 1}), 36, 100),  # no more blocks were looked at
        (PrefixMatch(1, 256, {A.id: 3}), 36, 100),
        (PrefixMatch(0, 256, {}), 100, 100),
    ],
)
def test_tokens_that_an_endpoint_has_seen_do_not_count(
    match: PrefixMatch | None, at_a: int, at_b: int
) -> None:
    world = World()
    request = asking(100, match=match)
    world.producer.produce(request, [A, B])
    load = request.data.get(IN_FLIGHT_LOAD.of())
    assert load is not None
    assert load.uncached_tokens == {A.id: at_a, B.id: at_b}
    world.start(request, decode=A)
    assert load.tokens == {A.id: at_a}


def test_an_endpoint_that_comes_back_starts_from_zero() -> None:
    world = World()
    before = world.start(asking(100), decode=A)
    world.producer.endpoint_removed(A.id)
    world.producer.endpoint_removed(B.id)
    assert world.counts == {}
    after = world.start(asking(10), decode=A)
    before.first_chunk()
    before.end()
    assert world.counts == {A.id: (1, 10)}
    assert world.probe.loads[("inflight-load-producer", A.id, "alice", 3)] == (2, 110)
    after.end()
    assert world.counts == {}


def test_what_changes_is_reported_with_whose_request_it_is() -> None:
    world = World()
    world.producer.bind("load")
    key = ("load", A.id, "alice", 3)
    flight = world.start(asking(100), decode=A)
    assert world.probe.loads == {key: (1, 100)}
    flight.first_chunk()
    assert world.probe.loads == {key: (1, 0)}
    flight.end()
    assert world.probe.loads == {key: (0, 0)}


def test_a_request_without_tokens_or_body_counts_as_a_request() -> None:
    world = World(add_estimated_output_tokens=True)
    world.start(make_request(None), decode=A).end()
    assert world.load.requests == {A.id: 0}


def test_a_request_that_nobody_picked_for_leaves_no_trace() -> None:
    world = World()
    world.start(asking(100)).end()
    assert world.counts == {}


def test_a_negative_limit_makes_no_sense() -> None:
    (problem,) = InflightLoadParams(max_estimated_output_tokens=-1).problems()
    assert problem[0] == "maxEstimatedOutputTokens"


@given(st.data(), st.booleans())
def test_in_the_end_nothing_is_left_and_nothing_was_ever_negative(
    data: st.DataObject, counts_output: bool
) -> None:
    world = World(add_estimated_output_tokens=counts_output)
    flights: list[Flight] = []
    for step in data.draw(st.lists(st.integers(0, 9), max_size=40)):
        if step < 5 or not flights:
            request = asking(data.draw(st.integers(0, 50)))
            flights.append(world.start(request, decode=A, prefill=B))
        elif step < 7:
            data.draw(st.sampled_from(flights)).first_chunk()
        elif step < 9:
            flights.pop(data.draw(st.integers(0, len(flights) - 1))).end()
        else:
            world.producer.endpoint_removed(data.draw(st.sampled_from([A, B])).id)
        assert all(min(count) >= 0 for count in world.counts.values())
    for flight in flights:
        flight.end()
    assert world.counts == {}
