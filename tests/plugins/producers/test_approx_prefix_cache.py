from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.data import (
    PREFIX_MATCH,
    TOKENIZED_PROMPT,
    PrefixMatch,
    PromptTokens,
    TokenizedPrompt,
)
from epp.core.decision import SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.request import InferenceRequest
from epp.plugins.producers.approx_prefix_cache import (
    ApproxPrefixCacheParams,
    ApproxPrefixCacheProducer,
)
from epp.prefixcache.hashing import MAX_PROMPTS
from tests.fakes import FakeProbe, endpoints, make_endpoint, make_handle, make_request, make_run
from tests.prefixcache.plain import PlainIndex, chained_token_hashes

BLOCK = 64 * 4


class World:
    """A producer, and what it reported."""

    def __init__(self, **params: Any) -> None:
        self.probe = FakeProbe()
        self.producer = ApproxPrefixCacheProducer(
            ApproxPrefixCacheParams(**params), make_handle(probe=self.probe)
        )

    def match(
        self, request: InferenceRequest, candidates: Sequence[Endpoint]
    ) -> PrefixMatch | None:
        self.producer.produce(request, candidates)
        return request.data.get(PREFIX_MATCH.of(self.producer.name))

    def route(
        self, request: InferenceRequest, primary: Endpoint, prefill: Endpoint | None = None
    ) -> None:
        self.producer.produce(request, [primary])
        profiles = {"p": make_run(primary, picked=[primary])}
        if prefill is not None:
            profiles["prefill"] = make_run(prefill, picked=[prefill])
        self.producer.pre_request(request, SchedulingResult("p", {**profiles, "failed": None}))


def tokens(*texts: bytes, target: str = "m", salt: str = "") -> InferenceRequest:
    request = make_request(target=target)
    prompts = tuple(PromptTokens(text) for text in texts)
    request.data.set(TOKENIZED_PROMPT.of(), TokenizedPrompt(prompts, salt))
    return request


def text(*blocks: int, rest: int = 0) -> bytes:
    """Blocks of 64 equal tokens, and some tokens more."""
    whole = b"".join(block.to_bytes(4, "little") * 64 for block in blocks)
    return whole + b"\7\0\0\0" * rest


@pytest.mark.parametrize(
    ("prompt", "matched", "total"),
    [
        (text(1, 2, 3), 3, 3),
        (text(1, 2, 3, rest=5), 4, 4),
        (text(1, 2, 3, rest=4), 3, 4),
        (text(1, 2), 2, 2),
        (text(1, 2, rest=1), 2, 3),
        (text(9, 2, 3), 0, 3),
        (b"\7\0\0\0", 0, 1),
    ],
)
def test_blocks_are_matched_that_were_sent_before(prompt: bytes, matched: int, total: int) -> None:
    world = World()
    (a,) = endpoints(0)
    world.route(tokens(text(1, 2, 3, rest=5)), a)
    match = world.match(tokens(prompt), [a])
    assert match is not None
    assert (match.matched_blocks.get(a.id, 0), match.total_blocks) == (matched, total)
    assert match.block_tokens == 64


def test_only_so_many_prompts_of_a_request_are_looked_at() -> None:
    match = World().match(tokens(*[b"\7\0\0\0"] * (MAX_PROMPTS + 5)), endpoints(0))
    assert match is not None
    assert match.total_blocks == MAX_PROMPTS


def test_several_prompts_are_matched_each_for_itself_and_added_up() -> None:
    world = World()
    (a,) = endpoints(0)
    world.route(tokens(text(1, 2), text(5)), a)
    match = world.match(tokens(text(5, 6), text(1), text(2)), [a])
    assert match is not None
    assert (match.matched_blocks, match.total_blocks) == ({a.id: 2}, 4)


def test_primary_and_prefill_endpoint_learn() -> None:
    world = World()
    a, b, c = endpoints(0, 0, 0)
    world.route(tokens(text(1, 2)), a, prefill=b)
    world.route(tokens(text(3)), c, prefill=c)
    assert world.probe.prefix_matches == [(0, 2, BLOCK), (0, 1, BLOCK)]
    match = world.match(tokens(text(1, 2)), [a, b, c])
    assert match is not None
    assert match.matched_blocks == {a.id: 2, b.id: 2}
    assert world.probe.index_sizes == [4, 5]
    world.producer.endpoint_removed(b.id)
    assert world.probe.index_sizes[-1] == 3


@pytest.mark.parametrize(
    ("reported", "params", "block_tokens"),
    [
        (0, {}, 64),
        (0, {"block_size_tokens": 128}, 128),
        (0, {"block_size": 128}, 128),
        (0, {"block_size": 128, "block_size_tokens": 256}, 256),
        (16, {"block_size_tokens": 128}, 64),
        (100, {"block_size_tokens": 128}, 100),
        (100, {"block_size_tokens": 128, "auto_tune": False}, 128),
        (0, {"block_size_tokens": -1}, 64),
    ],
)
def test_a_block_has_the_reported_size_but_64_tokens_at_least(
    reported: int, params: dict[str, Any], block_tokens: int
) -> None:
    first = make_endpoint("a", cache_block_size_tokens=reported)
    match = World(**params).match(tokens(text(1)), [first, make_endpoint("b")])
    assert match is not None
    assert match.block_tokens == block_tokens


@pytest.mark.parametrize(
    ("params", "total"),
    [
        ({}, 5),
        ({"max_prefix_tokens_to_match": 130}, 2),
        ({"max_prefix_tokens_to_match": 1}, 1),
        ({"max_prefix_tokens_to_match": 0, "max_prefix_blocks_to_match": 3}, 3),
        ({"max_prefix_tokens_to_match": 0, "max_prefix_blocks_to_match": 0}, 5),
    ],
)
def test_no_more_than_the_limit_is_looked_at(params: dict[str, Any], total: int) -> None:
    match = World(**params).match(tokens(text(1, 2, 3, 4, 5)), endpoints(0))
    assert match is not None
    assert match.total_blocks == total


@pytest.mark.parametrize(
    ("auto_tune", "reported", "kept"), [(True, 3, 3), (True, 0, 2), (False, 3, 2)]
)
def test_an_endpoint_remembers_as_many_blocks_as_it_reports(
    auto_tune: bool, reported: int, kept: int
) -> None:
    world = World(auto_tune=auto_tune, lru_capacity_per_server=2)
    world.route(tokens(text(1, 2, 3, 4)), make_endpoint("a", cache_num_blocks=reported))
    assert world.probe.index_sizes == [kept]


@pytest.mark.parametrize(
    ("params", "hints"),
    [
        ({}, []),
        ({"block_size_tokens": 16}, []),
        ({"block_size_tokens": 32}, ["blockSizeTokens"]),
        ({"block_size": 8}, ["blockSize"]),
        ({"block_size_tokens": 64, "block_size": 64}, []),
    ],
)
def test_a_block_size_that_has_no_effect_is_pointed_out(
    params: dict[str, Any], hints: list[str]
) -> None:
    made = ApproxPrefixCacheParams(**params)
    assert [name for name, _ in made.hints()] == hints


def test_without_tokens_or_candidates_there_is_no_match() -> None:
    world = World()
    assert world.match(make_request(), endpoints(0)) is None
    assert world.match(tokens(text(1)), []) is None
    world.route(make_request(), *endpoints(0))
    assert world.probe.calls == []
    assert world.producer.consumes == [TOKENIZED_PROMPT.of()]
    assert world.producer.produces == [PREFIX_MATCH.of()]


def test_another_model_or_salt_shares_nothing() -> None:
    world = World()
    (a,) = endpoints(0)
    world.route(tokens(text(1)), a)
    for other in (tokens(text(1), target="n"), tokens(text(1), salt="s")):
        match = world.match(other, [a])
        assert match is not None
        assert match.matched_blocks == {}


PROMPTS = st.lists(st.integers(0, 2), max_size=4).flatmap(
    lambda blocks: st.integers(0, 2).map(lambda rest: text(*blocks, rest=rest))
)


@given(
    st.lists(
        st.tuples(
            st.lists(PROMPTS, min_size=1, max_size=3),
            st.integers(0, 2),
            st.sampled_from(["m", "n"]),
        ),
        max_size=12,
    )
)
def test_matches_are_those_of_chained_hashes_and_dictionaries(
    rounds: list[tuple[list[bytes], int, str]],
) -> None:
    world, plain = World(), PlainIndex()
    among = endpoints(0, 0, 0)
    for prompts, picked, model in rounds:
        chains = [
            chained_token_hashes(
                prompt, model=model, cache_salt="", block_bytes=BLOCK, max_blocks=2048
            )
            for prompt in prompts
        ]
        expected: dict[str, int] = {}
        for chain in chains:
            for endpoint_id, blocks in plain.match(chain).items():
                expected[endpoint_id] = expected.get(endpoint_id, 0) + blocks
        request = tokens(*prompts, target=model)
        match = world.match(request, among)
        assert match is not None
        assert (match.total_blocks, match.matched_blocks) == (sum(map(len, chains)), expected)
        world.route(request, among[picked])
        for chain in chains:
            plain.add(among[picked].id, chain, capacity=31250)
