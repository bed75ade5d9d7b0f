from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from epp.core.data import PREFIX_MATCH, PrefixMatch
from epp.core.decision import SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.request import ChatMessage, InferenceRequest
from epp.plugins.producers.byte_prefix_cache import (
    BytePrefixCacheParams,
    BytePrefixCacheProducer,
)
from tests.fakes import FakeProbe, endpoints, make_endpoint, make_handle, make_request, make_run


class World:
    """A producer with blocks of 4 bytes, and what it reported."""

    def __init__(self, **params: Any) -> None:
        self.probe = FakeProbe()
        self.producer = BytePrefixCacheProducer(
            BytePrefixCacheParams(**{"block_size": 4} | params),
            make_handle(probe=self.probe),
        )

    def route(
        self, request: InferenceRequest, candidates: Sequence[Endpoint], *picked: Endpoint
    ) -> list[float]:
        """Match, and send the request to the picked."""
        scores = self.scores(request, candidates)
        run = make_run(*candidates, picked=picked)
        self.producer.pre_request(request, SchedulingResult("p", {"p": run}))
        return scores

    def match(
        self, request: InferenceRequest, candidates: Sequence[Endpoint]
    ) -> PrefixMatch | None:
        self.producer.produce(request, candidates)
        return request.data.get(PREFIX_MATCH.of(self.producer.name))

    def scores(self, request: InferenceRequest, candidates: Sequence[Endpoint]) -> list[float]:
        """The share of blocks that each candidate has seen."""
        match = self.match(request, candidates)
        if match is None or not match.total_blocks:
            return [0.0] * len(candidates)
        return [match.matched_blocks.get(e.id, 0) / match.total_blocks for e in candidates]


@pytest.mark.parametrize(
    ("prompt", "scores"),
    [
        ("aaaabbbbcccc", [1.0, 0.0]),
        ("aaaabbbbcccccc", [1.0, 0.0]),
        ("aaaabbbbxxxx", [2 / 3, 0.0]),
        ("aaaabbbb", [1.0, 0.0]),
        ("aaaaxxxxcccc", [1 / 3, 0.0]),
        ("xaaabbbbcccc", [0.0, 0.0]),
        ("aaa", [0.0, 0.0]),
        ("", [0.0, 0.0]),
    ],
)
def test_blocks_are_matched_that_were_sent_before(prompt: str, scores: list[float]) -> None:
    world = World()
    a, b = endpoints(0, 0)
    world.route(make_request("aaaabbbbcccc"), [a, b], a)
    assert world.scores(make_request(prompt), [a, b]) == scores


def test_what_was_only_matched_is_not_remembered() -> None:
    world = World()
    (a,) = endpoints(0)
    world.scores(make_request("aaaabbbb"), [a])
    assert world.scores(make_request("aaaabbbb"), [a]) == [0.0]


def test_only_the_first_of_several_picked_learns_the_prompt() -> None:
    world = World()
    a, b, c = endpoints(0, 0, 0)
    world.route(make_request("aaaabbbb"), [a, b, c], b, a)
    assert world.scores(make_request("aaaabbbb"), [a, b, c]) == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    "other",
    [
        make_request("aaaabbbb", target="other"),
        make_request("aaaabbbb", cache_salt="salt"),
        make_request(messages=[ChatMessage("user", "aaaabbbb")]),
    ],
    ids=["another target model", "another salt", "a chat"],
)
def test_another_context_shares_nothing(other: InferenceRequest) -> None:
    world = World()
    (a,) = endpoints(0)
    world.route(make_request("aaaabbbb"), [a], a)
    assert world.scores(other, [a]) == [0.0]


def test_chats_share_the_start_of_their_messages() -> None:
    world = World()
    a, b = endpoints(0, 0)
    system = ChatMessage("system", "be brief " * 20)
    world.route(make_request(messages=[system, ChatMessage("user", "one")]), [a, b], a)
    first, second = world.scores(make_request(messages=[system, ChatMessage("user", "2")]), [a, b])
    assert 0.8 < first < 1.0
    assert second == 0.0


@pytest.mark.parametrize(
    ("reported", "own", "block_bytes"),
    [(0, 4, 4), (16, 4, 64), (1, 64, 4), (0, 0, 64), (0, -1, 64)],
)
def test_the_block_size_is_what_the_first_candidate_reports(
    reported: int, own: int, block_bytes: int
) -> None:
    world = World(block_size=own)
    first = make_endpoint("a", cache_block_size_tokens=reported)
    request = make_request("x" * 200)
    match = world.match(request, [first, make_endpoint("b", cache_block_size_tokens=3)])
    assert match is not None
    assert (match.block_bytes, match.total_blocks) == (block_bytes, 200 // block_bytes)


def test_no_more_blocks_than_the_limit_are_looked_at() -> None:
    world = World(max_prefix_blocks_to_match=2)
    (a,) = endpoints(0)
    world.route(make_request("aaaabbbbcccc"), [a], a)
    assert world.scores(make_request("aaaabbbbxxxx"), [a]) == [1.0]


@pytest.mark.parametrize(("reported", "own", "kept"), [(0, 2, 2), (3, 2, 3), (0, -1, 4)])
def test_an_endpoint_remembers_as_many_blocks_as_it_reports(
    reported: int, own: int, kept: int
) -> None:
    world = World(lru_capacity_per_server=own)
    a = make_endpoint("a", cache_num_blocks=reported)
    world.route(make_request("aaaabbbbccccdddd"), [a], a)
    assert world.probe.index_sizes == [kept]


def test_a_removed_endpoint_is_forgotten() -> None:
    world = World()
    a, b = endpoints(0, 0)
    world.route(make_request("aaaabbbb"), [a, b], a)
    world.producer.endpoint_removed(a.id)
    assert world.scores(make_request("aaaabbbb"), [a, b]) == [0.0, 0.0]
    assert world.probe.index_sizes == [2, 0]


def test_a_routed_prompt_is_reported_with_what_its_endpoint_had_seen() -> None:
    world = World()
    a, b = endpoints(0, 0)
    world.route(make_request("aaaabbbb"), [a, b], a)
    world.route(make_request("aaaabbbbcccc"), [a, b], a)
    world.route(make_request("aaaabbbbcccc"), [a, b], b)
    assert world.probe.prefix_matches == [(0, 2, 4), (2, 3, 4), (0, 3, 4)]
    assert world.probe.index_sizes == [2, 3, 6]
    assert world.probe.prefix_plugins == {(world.producer.type, world.producer.name)}


def test_reports_are_those_of_the_scorer_that_it_was_made_for() -> None:
    world = World(report_as="long-prompts")
    (a,) = endpoints(0)
    world.route(make_request("aaaabbbb"), [a], a)
    assert world.probe.prefix_plugins == {("prefix-cache-scorer", "long-prompts")}


def test_a_match_bears_the_name_of_its_producer() -> None:
    world = World()
    world.producer.bind("mine")
    request = make_request("aaaabbbb")
    world.producer.produce(request, endpoints(0))
    assert world.producer.produces == [PREFIX_MATCH.of("mine")]
    assert request.data.get(PREFIX_MATCH.of("mine")) is not None


def test_without_candidates_there_is_no_match() -> None:
    assert World().match(make_request("aaaabbbb"), []) is None


@pytest.mark.parametrize("prompt", [None, "aaa"])
def test_a_request_without_a_full_block_leaves_no_trace(prompt: str | None) -> None:
    world = World()
    (a,) = endpoints(0)
    assert world.route(make_request(prompt), [a], a) == [0.0]
    assert world.probe.calls == []


def test_a_request_that_was_never_matched_is_not_learnt() -> None:
    world = World()
    (a,) = endpoints(0)
    result = SchedulingResult("p", {"p": make_run(a, picked=[a])})
    world.producer.pre_request(make_request("aaaabbbb"), result)
    assert world.probe.calls == []


def test_two_producers_do_not_share_what_they_know_of_a_request() -> None:
    world, other = World(), World(block_size=8)
    (a,) = endpoints(0)
    request = make_request("aaaabbbb")
    other.scores(request, [a])
    world.route(request, [a], a)
    assert (len(world.probe.prefix_matches), other.probe.prefix_matches) == (1, [])
    assert world.scores(make_request("aaaabbbb"), [a]) == [1.0]
    assert other.scores(make_request("aaaabbbb"), [a]) == [0.0]
