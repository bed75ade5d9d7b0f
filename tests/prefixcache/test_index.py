from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from epp.prefixcache.index import PrefixIndex


def index(**endpoints: list[int]) -> PrefixIndex:
    made = PrefixIndex()
    for endpoint_id, hashes in endpoints.items():
        made.add(endpoint_id, hashes, capacity=100)
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
    assert index(a=[1, 2, 3], b=[1, 2]).match(asked) == expected


def test_a_block_after_a_gap_still_counts_while_somebody_fills_the_gap() -> None:
    assert index(a=[1, 3], b=[1, 2]).match([1, 2, 3]) == {"a": 2, "b": 2}


def test_the_block_that_was_used_longest_ago_goes_first() -> None:
    made = PrefixIndex()
    made.add("a", [1, 2], capacity=2)
    made.add("a", [1], capacity=2)
    made.add("a", [3], capacity=2)
    assert [made.match([block]) for block in (1, 2, 3)] == [{"a": 1}, {}, {"a": 1}]


def test_the_capacity_is_that_of_the_first_time() -> None:
    made = PrefixIndex()
    made.add("a", [1, 2], capacity=2)
    made.add("a", [3, 4, 5], capacity=100)
    assert len(made) == 2
    made.remove("a")
    made.add("a", [1, 2, 3], capacity=3)
    assert len(made) == 3


def test_more_blocks_at_once_than_fit_keep_the_last_ones() -> None:
    made = PrefixIndex()
    made.add("a", [1, 2, 3, 4], capacity=2)
    assert made.match([3, 4]) == {"a": 2}
    assert made.match([1]) == made.match([2]) == {}


def test_a_removed_endpoint_leaves_nothing() -> None:
    made = index(a=[1, 2], b=[2, 3])
    made.remove("a")
    assert made.match([1]) == {}
    assert made.match([2, 3]) == {"b": 2}
    made.remove("b")
    made.remove("nobody")
    assert len(made) == 0
    assert not made._holders
    assert not made._blocks
    assert not made._capacity


ENDPOINTS = st.sampled_from("abc")
BLOCKS = st.lists(st.integers(0, 9), max_size=6)


class Model(RuleBasedStateMachine):
    """The index beside a plain list of blocks per endpoint, the last used at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.index = PrefixIndex()
        self.used: dict[str, list[int]] = {}
        self.capacity: dict[str, int] = {}

    @rule(endpoint=ENDPOINTS, blocks=BLOCKS, capacity=st.integers(1, 5))
    def add(self, endpoint: str, blocks: list[int], capacity: int) -> None:
        self.index.add(endpoint, blocks, capacity=capacity)
        limit = self.capacity.setdefault(endpoint, capacity)
        used = self.used.setdefault(endpoint, [])
        for block in blocks:
            if block in used:
                used.remove(block)
            used.append(block)
        del used[: max(0, len(used) - limit)]

    @rule(endpoint=ENDPOINTS)
    def remove(self, endpoint: str) -> None:
        self.index.remove(endpoint)
        self.used.pop(endpoint, None)
        self.capacity.pop(endpoint, None)

    @rule(blocks=BLOCKS)
    def match(self, blocks: list[int]) -> None:
        expected: dict[str, int] = {}
        for block in blocks:
            holders = [e for e, used in self.used.items() if block in used]
            if not holders:
                break
            for endpoint in holders:
                expected[endpoint] = expected.get(endpoint, 0) + 1
        assert self.index.match(blocks) == expected

    @invariant()
    def entries_are_counted(self) -> None:
        assert len(self.index) == sum(map(len, self.used.values()))
        assert all(len(used) <= self.capacity[e] for e, used in self.used.items())

    @invariant()
    def both_directions_agree(self) -> None:
        forward = {(b, e) for e, blocks in self.index._blocks.items() for b in blocks}
        backward = {(b, e) for b, holders in self.index._holders.items() for e in holders}
        assert forward == backward
        assert all(self.index._holders.values())


TestTheIndexBesideItsModel = Model.TestCase
