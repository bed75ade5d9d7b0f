from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest

from epp.prefixcache.recency import MANY, Recency
from epp.prefixcache.table import Keys


class World:
    """The recency of an endpoint beside an ordered dictionary."""

    def __init__(self, capacity: int, keys: int) -> None:
        self.random = np.random.default_rng(capacity)
        self.all = self.random.integers(1, 1 << 64, keys, dtype=np.uint64)
        self.capacity = capacity
        self.recency = Recency(capacity)
        self.plain: OrderedDict[int, None] = OrderedDict()

    def use(self, keys: Keys, *, one_by_one: bool) -> None:
        if one_by_one:
            for key in keys.tolist():
                gone = self.recency.use_one(key, key in self.plain)
                assert [gone] == (self.use_plainly([key]) or [0])
            return
        held = np.array([key in self.plain for key in keys.tolist()], np.bool_)
        gone = self.recency.use(keys, held).tolist()
        assert gone == self.use_plainly(keys.tolist())
        assert len(self.recency) == len(self.plain)

    def use_plainly(self, keys: list[int]) -> list[int]:
        """Use the keys; who had to go, the oldest first."""
        for key in keys:
            self.plain[key] = None
            self.plain.move_to_end(key)
        gone = list(self.plain)[: max(0, len(self.plain) - self.capacity)]
        for key in gone:
            del self.plain[key]
        return gone

    def some(self) -> Keys:
        """Keys in a row, or from anywhere."""
        count = int(self.random.integers(1, min(self.capacity, 300) + 1))
        if self.random.random() < 0.5:
            start = int(self.random.integers(len(self.all) - count + 1))
            return self.all[start : start + count]
        return self.random.choice(self.all, count, replace=False)


@pytest.mark.thorough
@pytest.mark.parametrize("one_by_one", [True, False], ids=["one by one", "as arrays"])
@pytest.mark.parametrize(("capacity", "keys"), [(1, 3), (7, 20), (300, 400), (1000, 5000)])
def test_keys_go_in_the_order_of_their_last_use(capacity: int, keys: int, one_by_one: bool) -> None:
    world = World(capacity, keys)
    for _ in range(150):
        world.use(world.some(), one_by_one=one_by_one)
    assert world.recency.take_oldest(1 << 30).tolist() == list(world.plain)
    assert len(world.recency) == 0


def test_one_by_one_and_as_arrays_go_together() -> None:
    world = World(500, 2000)
    for turn in range(200):
        world.use(world.some(), one_by_one=turn % 2 == 0)
    assert world.recency.take_oldest(100).tolist() == list(world.plain)[:100]


def test_the_oldest_is_found_behind_others_that_were_used_again_and_again() -> None:
    world = World(100, 101)
    world.use(world.all[:100], one_by_one=False)
    for _ in range(500):
        world.use(world.all[1:100], one_by_one=False)
    world.use(world.all[100:], one_by_one=True)
    assert int(world.all[0]) not in world.plain


def test_memory_is_bounded_whatever_is_used() -> None:
    world = World(2 * MANY, 8 * MANY)
    for start in range(0, 8 * MANY, 512):
        world.use(world.all[start : start + 512], one_by_one=False)
    for _ in range(200):
        world.use(world.all[-512:], one_by_one=False)
    size = world.recency._log.nbytes + world.recency._places.nbytes
    assert size <= 2 * MANY * 18 + 8 * (512 + 64)
    assert world.recency.take_oldest(1 << 30).tolist() == list(world.plain)
