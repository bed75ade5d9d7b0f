from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from epp.prefixcache.index import MANY, MAX_FRESH, PATIENCE, PrefixIndex
from tests.prefixcache.families import check_families
from tests.prefixcache.plain import PlainIndex

KEYS = [Random(n).getrandbits(64) for n in range(3 * MANY)]
FOR_EVER = 1 << 30


def test_a_decision_counts_at_once_and_after_it_has_settled() -> None:
    index = PrefixIndex()
    index.add("a", KEYS[:3], capacity=FOR_EVER)
    index.add("b", KEYS[:2], capacity=FOR_EVER)
    for _ in range(2):
        assert index.match(KEYS[:4]) == {"a": 3, "b": 2}
        assert index.match(KEYS[4:]) == index.match(()) == {}
        index.settle()
    assert len(index) == 5


def test_fresh_and_settled_blocks_of_one_endpoint_count_once() -> None:
    index = PrefixIndex()
    index.add("a", KEYS[:3], capacity=FOR_EVER)
    index.settle()
    index.add("a", KEYS[:2], capacity=FOR_EVER)
    index.add("b", KEYS[1:5], capacity=FOR_EVER)
    assert index.match(KEYS[:5]) == {"a": 3, "b": 4}


def test_many_blocks_settle_at_once_and_keep_their_order() -> None:
    index = PrefixIndex()
    index.add("a", KEYS[:10], capacity=2 * MANY)
    index.add("a", np.array(KEYS[10 : 2 * MANY], np.uint64), capacity=FOR_EVER)
    assert len(index) == 2 * MANY
    index.add("a", np.array(KEYS[2 * MANY : 3 * MANY], np.uint64)[: MANY + 5], capacity=1)
    index.settle()
    assert len(index) == 2 * MANY
    assert index.match(KEYS[:1]) == {}
    assert index.match(np.array(KEYS[MANY : 3 * MANY], np.uint64)) == {"a": 2 * MANY}


def test_an_endpoint_holds_an_eighth_more_than_its_capacity_at_most() -> None:
    index = PrefixIndex()
    for key in KEYS[:500]:
        index.add("a", [key], capacity=80)
        index.add("small", [key], capacity=7)
    held = [key for key in KEYS[:500] if "a" in index.match([key])]
    assert set(KEYS[420:500]) <= set(held)
    assert len(held) <= 90
    assert sum("small" in index.match([key]) for key in KEYS[:500]) == 7


def test_the_capacity_is_that_of_the_first_time() -> None:
    index = PrefixIndex()
    index.add("a", KEYS[:2], capacity=2)
    index.add("a", KEYS[2:5], capacity=100)
    assert len(index) == 2


@pytest.mark.thorough
def test_fresh_blocks_of_many_endpoints_have_a_limit_together() -> None:
    index = PrefixIndex()
    for i in range(2 * MAX_FRESH // 500):
        index.add(
            f"e{i}", [Random(f"{i} {n}").getrandbits(64) for n in range(500)], capacity=FOR_EVER
        )
    assert len(index._fresh) <= MAX_FRESH
    assert index._waiting <= MAX_FRESH
    index.settle()
    assert not index._fresh
    assert len(index) == 2 * MAX_FRESH // 500 * 500


@pytest.mark.parametrize("settles", [False, True])
def test_a_removed_endpoint_is_forgotten_and_its_flag_means_another_one(settles: bool) -> None:
    index = PrefixIndex()
    index.add("a", KEYS[:3], capacity=FOR_EVER)
    index.add("b", KEYS[:1], capacity=FOR_EVER)
    if settles:
        index.settle()
    index.remove("a")
    index.remove("nobody")
    index.add("c", KEYS[5:6], capacity=FOR_EVER)
    assert index.match(KEYS[:3]) == {"b": 1}
    assert index.match(KEYS[5:6]) == {"c": 1}


def test_an_endpoint_settles_when_it_has_waited_long_enough() -> None:
    index = PrefixIndex()
    for start in range(0, PATIENCE, MANY):
        index.add("a", KEYS[start : start + MANY], capacity=FOR_EVER)
    assert len(index._fresh) == len(index) == PATIENCE
    index.add("a", KEYS[PATIENCE : PATIENCE + 1], capacity=FOR_EVER)
    assert not index._fresh
    assert len(index) == PATIENCE + 1


def test_families_of_prompts_match_as_with_chained_hashes_and_dictionaries() -> None:
    assert check_families(300, seed=1) == 2400


ENDPOINTS = st.sampled_from([*"abc", *[f"e{i}" for i in range(70)]])
RUNS = st.tuples(st.integers(0, 90), st.integers(0, 40)).map(lambda run: range(run[0], sum(run)))
BLOCKS = st.lists(st.integers(0, 130), max_size=6) | RUNS


class Model(RuleBasedStateMachine):
    """The index beside its plain version: equal while nothing has to go, or when it is settled."""

    def __init__(self) -> None:
        super().__init__()
        self.index, self.plain = PrefixIndex(), PlainIndex()
        self.endless, self.plain_endless = PrefixIndex(), PlainIndex()

    @rule(endpoint=ENDPOINTS, numbers=BLOCKS, capacity=st.integers(1, 50))
    def add(self, endpoint: str, numbers: list[int], capacity: int) -> None:
        keys = [KEYS[number] for number in numbers]
        self.index.add(endpoint, keys, capacity=capacity)
        self.plain.add(endpoint, keys, capacity=capacity)
        self.endless.add(endpoint, keys, capacity=FOR_EVER)
        self.plain_endless.add(endpoint, keys, capacity=FOR_EVER)

    @rule(endpoint=ENDPOINTS)
    def remove(self, endpoint: str) -> None:
        for index in (self.index, self.plain, self.endless, self.plain_endless):
            index.remove(endpoint)

    @rule()
    def settle_some(self) -> None:
        self.endless.settle()

    @rule(numbers=BLOCKS)
    def match(self, numbers: list[int]) -> None:
        keys = [KEYS[number] for number in numbers]
        assert self.endless.match(keys) == self.plain_endless.match(keys)
        self.index.settle()
        assert self.index.match(keys) == self.plain.match(keys)
        assert len(self.index) == len(self.plain)


TestTheIndexBesideItsPlainVersion = pytest.mark.thorough(Model.TestCase)
TestTheIndexBesideItsPlainVersion.settings = settings(max_examples=60, deadline=None)
