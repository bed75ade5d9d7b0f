from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from epp.prefixcache.hashing import Words
from epp.prefixcache.settled import FEW, SettledIndex
from tests.prefixcache.plain import PlainIndex

KEYS = np.array([Random(n).getrandbits(64) for n in range(10_000)], np.uint64)
MANY = 5 * FEW


def blocks(*numbers: int) -> Words:
    """The hashes of numbered blocks, with numpy's way of counting."""
    return KEYS[list(numbers)]


def index(**endpoints: list[int]) -> SettledIndex:
    made = SettledIndex()
    for endpoint_id, numbers in endpoints.items():
        made.add(endpoint_id, blocks(*numbers), capacity=100)
    return made


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([1, 2, 3], {"a": 3, "b": 2}),
        ([1], {"a": 1, "b": 1}),
        ([9, 1, 2], {}),
        ([1, 9, 2], {"a": 1, "b": 1}),
        ([], {}),
    ],
)
def test_blocks_count_up_to_the_first_that_nobody_has(
    asked: list[int], expected: dict[str, int]
) -> None:
    assert index(a=[1, 2, 3], b=[1, 2]).match(blocks(*asked)) == expected


def test_a_block_after_a_gap_still_counts_while_somebody_fills_the_gap() -> None:
    assert index(a=[1, 3], b=[1, 2]).match(blocks(1, 2, 3)) == {"a": 2, "b": 2}


def test_the_block_that_was_used_longest_ago_goes_first() -> None:
    made = SettledIndex()
    made.add("a", blocks(1, 2), capacity=2)
    made.add("a", blocks(1), capacity=2)
    made.add("a", blocks(3), capacity=2)
    assert [made.match(blocks(block)) for block in (1, 2, 3)] == [{"a": 1}, {}, {"a": 1}]


def test_the_capacity_is_that_of_the_first_time() -> None:
    made = SettledIndex()
    made.add("a", blocks(1, 2), capacity=2)
    made.add("a", blocks(3, 4, 5), capacity=100)
    assert len(made) == 2
    made.remove("a")
    made.add("a", blocks(1, 2, 3), capacity=3)
    assert len(made) == 3


@pytest.mark.parametrize("count", [4, MANY])
def test_more_blocks_at_once_than_fit_keep_the_last_ones(count: int) -> None:
    made = SettledIndex()
    made.add("a", KEYS[:count], capacity=2)
    assert made.match(KEYS[count - 2 : count]) == {"a": 2}
    assert made.match(blocks(0)) == made.match(blocks(count - 3)) == {}


@pytest.mark.parametrize("count", [3, MANY])
def test_a_block_that_comes_twice_is_one_block_used_last_where_it_comes_last(count: int) -> None:
    made = SettledIndex()
    made.add("a", np.concatenate((KEYS[:count], KEYS[:1])), capacity=count)
    made.add("a", KEYS[count : 2 * count - 1], capacity=count)
    assert len(made) == count
    assert made.match(KEYS[:1]) == {"a": 1}


@pytest.mark.parametrize("size", [3, 5000])
def test_a_removed_endpoint_is_forgotten_at_once_and_leaves_nothing_in_the_end(size: int) -> None:
    made = SettledIndex()
    made.add("a", KEYS[:size], capacity=size)
    made.add("b", KEYS[1 : size + 1], capacity=size)
    made.remove("a")
    assert made.match(KEYS[:1]) == {}
    assert made.match(KEYS[1:size]) == {"b": size - 1}
    assert len(made) == size
    made.remove("b")
    made.remove("nobody")
    assert len(made) == 0
    for _ in range(50):
        made.add("c", KEYS[:1], capacity=1)
    assert [len(group.table) for group in made._groups] == [1]
    made.remove("c")
    assert not made._groups
    assert not made._members
    assert not made._leaving


def test_an_endpoint_that_comes_back_starts_from_nothing() -> None:
    made = index(a=list(range(5000)), b=[0])
    made.remove("a")
    made.add("a", KEYS[:1], capacity=9)
    assert made.match(KEYS[:5000]) == {"a": 1, "b": 1}
    assert len(made) == 2


@pytest.mark.parametrize("count", [3, 1000])
def test_more_than_64_endpoints_are_matched_like_one(count: int) -> None:
    made = SettledIndex()
    names = [f"e{i}" for i in range(150)]
    for i, name in enumerate(names):
        made.add(name, KEYS[i % 2 : count], capacity=count)
    assert made.match(KEYS[:count]) == {n: count - i % 2 for i, n in enumerate(names)}
    # Only an endpoint of the first table has the second block, only later ones the third.
    made = SettledIndex()
    for i, name in enumerate(names):
        made.add(name, KEYS[[0, 2] if i else [0, 1, *range(3, count)]], capacity=count)
    expected = dict.fromkeys(names, 2) | {"e0": count - 1}
    assert made.match(KEYS[:count]) == expected


def test_every_endpoint_of_many_patterns_is_counted() -> None:
    made, plain = SettledIndex(), PlainIndex()
    random = np.random.default_rng(1)
    for i in range(60):
        some = KEYS[:3000][random.random(3000) < 0.5]
        made.add(f"e{i}", some, capacity=3000)
        plain.add(f"e{i}", some.tolist(), capacity=3000)
    assert made.match(KEYS[:3000]) == plain.match(KEYS[:3000].tolist())


ENDPOINTS = st.sampled_from([*"abc", *[f"e{i}" for i in range(70)]])
RUNS = st.tuples(st.integers(0, 90), st.integers(0, 40)).map(lambda run: range(run[0], sum(run)))
BLOCKS = st.lists(st.integers(0, 130), max_size=6) | RUNS


class Model(RuleBasedStateMachine):
    """The index beside its plain version."""

    def __init__(self) -> None:
        super().__init__()
        self.index = SettledIndex()
        self.plain = PlainIndex()

    @rule(endpoint=ENDPOINTS, numbers=BLOCKS, capacity=st.integers(1, 50))
    def add(self, endpoint: str, numbers: list[int], capacity: int) -> None:
        self.index.add(endpoint, blocks(*numbers), capacity=capacity)
        self.plain.add(endpoint, blocks(*numbers).tolist(), capacity=capacity)

    @rule(endpoint=ENDPOINTS)
    def remove(self, endpoint: str) -> None:
        self.index.remove(endpoint)
        self.plain.remove(endpoint)

    @rule(numbers=BLOCKS)
    def match(self, numbers: list[int]) -> None:
        asked = blocks(*numbers)
        assert self.index.match(asked) == self.plain.match(asked.tolist())

    @invariant()
    def every_block_has_the_same_holders(self) -> None:
        assert len(self.index) == len(self.plain)
        for key in KEYS[:131]:
            assert self.index.match(key[None]) == self.plain.match([int(key)])


TestTheIndexBesideItsPlainVersion = pytest.mark.thorough(Model.TestCase)
TestTheIndexBesideItsPlainVersion.settings = settings(max_examples=60, deadline=None)
