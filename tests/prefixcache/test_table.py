from __future__ import annotations

import numpy as np
import pytest

from epp.prefixcache.table import FULL, LANES, BlockTable, lowest_lane


class World:
    """A table beside a dictionary."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(1)
        self.table = BlockTable()
        self.plain: dict[int, int] = {}

    def keys(self, count: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        return self.random.integers(1, 1 << 64, count, dtype=np.uint64)

    def hold(self, keys: list[int], bit: int, *, one_by_one: bool = False) -> None:
        expected = [bool(self.plain.get(key, 0) >> bit & 1) for key in keys]
        if one_by_one:
            assert [self.table.hold_one(key, bit) for key in keys] == expected
        else:
            assert self.table.hold(np.array(keys, np.uint64), bit).tolist() == expected
        for key in keys:
            self.plain[key] = self.plain.get(key, 0) | 1 << bit

    def drop(self, keys: list[int], bit: int, *, one_by_one: bool = False) -> None:
        if one_by_one:
            for key in keys:
                self.table.drop_one(key, bit)
        else:
            self.table.drop(np.array(keys, np.uint64), bit)
        for key in keys:
            self.plain[key] &= ~(1 << bit)
            if not self.plain[key]:
                del self.plain[key]

    def check(self) -> None:
        keys = list(self.plain)
        assert self.table.holders(np.array(keys, np.uint64)).tolist() == list(self.plain.values())
        assert [self.table.holders_of_one(key) for key in keys] == list(self.plain.values())
        assert len(self.table) == len(keys) == np.count_nonzero(self.table._keys)
        assert not self.table._masks[self.table._keys == 0].any()
        absent = self.keys(50)
        assert not self.table.holders(absent).any()
        assert not any(self.table.holders_of_one(key) for key in absent.tolist())


@pytest.mark.parametrize("one_by_one", [True, False], ids=["one by one", "as arrays"])
def test_a_table_knows_what_a_dictionary_knows(one_by_one: bool) -> None:
    world = World()
    for turn in range(60):
        bit = int(world.random.integers(64))
        known = list(world.plain)[turn::7]
        world.hold(world.keys(int(world.random.integers(200))).tolist(), bit, one_by_one=one_by_one)
        world.hold(known, bit, one_by_one=one_by_one)
        if turn % 3 == 2:
            held = [key for key, mask in world.plain.items() if mask >> bit & 1]
            world.drop(held[::2], bit, one_by_one=one_by_one)
        if turn % 10 == 9:
            world.check()
    assert len(world.table) > 2000


def test_a_table_is_as_full_at_any_size_as_it_may_be() -> None:
    table, random = BlockTable(), np.random.default_rng(2)
    for _ in range(300):
        table.hold(random.integers(1, 1 << 64, 1000, dtype=np.uint64), 0)
        assert FULL * 0.9 < len(table) / (table._buckets * LANES) <= FULL


@pytest.mark.thorough
def test_a_table_that_outgrows_its_memory_takes_everything_along() -> None:
    world = World()
    world.hold(world.keys(200_000).tolist(), 63)
    world.check()


def test_what_is_dropped_makes_room_for_as_much() -> None:
    world = World()
    for _ in range(20):
        keys = world.keys(5000).tolist()
        world.hold(keys, 1)
        world.drop(keys, 1)
    world.check()
    assert world.table._buckets * LANES < 5100 / FULL


def test_the_lowest_free_lane_is_found() -> None:
    lanes = np.array([[0, 0, 1, 0, 1, 0, 0, 0], [1] * 8, [0] * 7 + [1], [0] * 8], np.uint8)
    assert lowest_lane(lanes.view(np.uint64)[:, 0]).tolist() == [2, 0, 7, 8]
