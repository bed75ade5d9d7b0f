"""A growing hash table from blocks to sets of up to 64 endpoints, in two flat arrays.

Theory of operation. The table is a row of buckets with eight lanes each: eight keys are one cache
line, and numpy compares them in one step. A key may lie in two buckets, which the lower and the
upper half of its bits say; it goes to the emptier one, so that they fill evenly, and where both are
full one that lies there has to move to its other bucket ("cuckoo hashing"). So a key is found, or
known to be absent, after two looks, and is deleted by emptying its lane.

The table grows by a bucket at a time ("linear hashing"). A bucket's address is the key's bits
modulo ``2 * low``, or modulo ``low`` where that bucket does not exist yet. Adding the bucket
``low + s`` splits bucket ``s``: keys whose address has got that bit more move over, each to its own
lane. So the table is equally full at any size, a table of millions grows in steps of microseconds,
and many buckets are split at once by operations on slices.

The arrays are reserved in advance (4,096 slots, then 262,144, then 16.8 million): memory that was
never touched does not exist yet. Filled with 3 million blocks in batches of 6,250, the process grew
by 25.5 bytes per block. A batch took 1.7 ms, and 4.7 ms when the memory moved; until the table has
10 million blocks that happens no more.

A set is a mask of 64 bits; a block that nobody holds is not in the table. Keys are random numbers
other than 0, which marks an empty lane.
"""

from __future__ import annotations

from mmap import mmap

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Numbers = NDArray[np.int64]

LANES = 8
FULL = 0.65
"""How full the table gets. While it grows, one new key in thirty then makes others move."""
FIRST_BUCKETS = 8
FIRST_SLOTS = 4096
FEW = 8
"""So few keys are put in one by one."""
ROOM = 64
"""For so many keys there is room after it was made."""
MOST_MOVES = 100
"""After so many moves without success the table gets a bucket more; unheard of."""


class BlockTable:
    """Which of up to 64 endpoints hold a block. ``len()`` is the number of blocks."""

    def __init__(self) -> None:
        self._low = self._buckets = FIRST_BUCKETS
        self._used = 0
        self._most = int(FULL * LANES * FIRST_BUCKETS)
        self._reserved = FIRST_SLOTS
        self._keys = self._masks = np.empty(0, np.uint64)
        self._reserve(FIRST_SLOTS)

    def __len__(self) -> int:
        return self._used

    def holders(self, keys: Keys) -> Keys:
        """The mask of every key, 0 where it is absent."""
        # Slot -1 is in the bucket that is never used.
        return self._masks[self._find(keys)]

    def holders_of_one(self, key: int) -> int:
        """The mask of the key, 0 when it is absent."""
        return self._mask_view[self._find_one(key)]

    def hold(self, keys: Keys, bit: int) -> NDArray[np.bool_]:
        """Add the endpoint to the holders of distinct keys; say where it was one already."""
        mask = np.uint64(1 << bit)
        slots = self._find(keys)
        known = slots >= 0
        masks = self._masks[slots]
        held: NDArray[np.bool_] = masks & mask != 0
        if known.all():
            self._masks[slots] = masks | mask
        else:
            self._masks[slots[known]] |= mask
            # Now, because it may move others.
            self._insert(keys[~known], 1 << bit)
        return held

    def hold_one(self, key: int, bit: int) -> bool:
        """The same for one key."""
        slot = self._find_one(key)
        if slot < 0:
            if self._used >= self._most:
                self._make_room(1)
            self._insert_one(key, 1 << bit)
            return False
        mask = self._mask_view[slot]
        self._mask_view[slot] = mask | 1 << bit
        return bool(mask >> bit & 1)

    def drop(self, keys: Keys, bit: int) -> None:
        """Take the endpoint from the holders of every key; all of them are in the table."""
        slots = self._find(keys)
        masks = self._masks[slots] & ~np.uint64(1 << bit)
        self._masks[slots] = masks
        empty = slots[masks == 0]
        self._keys[empty] = 0
        self._used -= len(empty)

    def drop_one(self, key: int, bit: int) -> None:
        """The same for one key."""
        slot = self._find_one(key)
        mask = self._mask_view[slot] & ~(1 << bit)
        self._mask_view[slot] = mask
        if not mask:
            self._key_view[slot] = 0
            self._used -= 1

    def _find(self, keys: Keys) -> Numbers:
        """The slot of every key, -1 where it is absent."""
        buckets = self._addresses(keys)
        hits = np.flatnonzero(self._lines[buckets] == keys[:, None, None])
        slots = np.full(len(keys), -1)
        slots[hits >> 4] = buckets.ravel()[hits >> 3] * LANES + (hits & 7)
        return slots

    def _find_one(self, key: int) -> int:
        """The slot of the key, -1 when it is absent."""
        for start in self._starts(key):
            line = self._key_view[start : start + LANES].tolist()
            if key in line:
                return start + line.index(key)
        return -1

    def _addresses(self, keys: Keys) -> Numbers:
        """A row of two buckets for every key."""
        address = (keys.view(np.uint32) & np.uint32(2 * self._low - 1)).astype(np.int64)
        address -= self._low * (address >= self._buckets)
        return address.reshape(-1, 2)

    def _starts(self, key: int) -> tuple[int, int]:
        """The first slots of the key's two buckets."""
        bits = 2 * self._low - 1
        first, second = key & bits, key >> 32 & bits
        if first >= self._buckets:
            first -= self._low
        if second >= self._buckets:
            second -= self._low
        return first * LANES, second * LANES

    def _insert(self, keys: Keys, mask: int) -> None:
        """Put absent, distinct keys into the table."""
        if self._used + len(keys) > self._most:
            self._make_room(len(keys))
        crowded: list[int] = []
        while len(keys) > FEW:
            buckets = self._addresses(keys)
            # One byte per lane, 1 where it is free: those of a bucket are one number.
            free = (self._lines[buckets] == 0).view(np.uint64)[:, :, 0]
            lanes = np.bitwise_count(free)
            other = lanes[:, 1] > lanes[:, 0]
            bucket = np.where(other, buckets[:, 1], buckets[:, 0])
            chosen = np.where(other, free[:, 1], free[:, 0])
            slots = bucket * LANES + lowest_lane(chosen)
            is_open = chosen != 0
            if not is_open.all():
                crowded += keys[~is_open].tolist()
                keys, slots = keys[is_open], slots[is_open]
            self._keys[slots] = keys
            self._masks[slots] = mask
            # Of several that want the same lane the last one has it, the others try again.
            lost = self._keys[slots] != keys
            self._used += len(keys) - int(np.count_nonzero(lost))
            keys = keys[lost]
        for key in keys.tolist() + crowded:
            self._insert_one(key, mask)

    def _insert_one(self, key: int, mask: int) -> None:
        """Put an absent key into the table."""
        self._used += 1
        came_from, moves = -1, 0
        while True:
            first, second = self._starts(key)
            line = self._key_view[first : first + LANES].tolist()
            other = self._key_view[second : second + LANES].tolist()
            start = first
            if other.count(0) > line.count(0):
                start, line = second, other
            if 0 in line:
                slot = start + line.index(0)
                self._key_view[slot], self._mask_view[slot] = key, mask
                return
            # It takes the place of one that then goes to its other bucket.
            start = second if came_from == first else first
            slot, came_from = start + moves % LANES, start
            key, self._key_view[slot] = self._key_view[slot], key
            mask, self._mask_view[slot] = self._mask_view[slot], mask
            moves += 1
            if moves % MOST_MOVES == 0:
                self._split(1)
                came_from = -1

    def _make_room(self, count: int) -> None:
        """Split as many buckets as ``count`` more keys need, or somewhat more keys than a few."""
        needed = int((self._used + max(count, ROOM)) / (FULL * LANES)) + 1
        while self._buckets < needed:
            self._split(min(needed, 2 * self._low) - self._buckets)

    def _split(self, count: int) -> None:
        """Split the next ``count`` buckets, no more than are left of this size."""
        low, end = self._low, self._buckets + count
        if end * LANES > self._reserved:
            self._reserve(end * LANES)
        source, target = slice(self._buckets - low, end - low), slice(self._buckets, end)
        keys, masks = self._lines[source], self._mask_lines[source]
        bucket = np.arange(source.start, source.stop, dtype=np.uint64)[:, None]
        address = np.where(keys & np.uint64(low - 1) == bucket, keys, keys >> 32)
        moves = address & np.uint64(low) != 0
        self._lines[target] = np.where(moves, keys, 0)
        self._mask_lines[target] = np.where(moves, masks, 0)
        keys[moves] = 0
        masks[moves] = 0
        self._buckets = end
        self._most = int(FULL * LANES * end)
        if end == 2 * low:
            self._low = end

    def _reserve(self, slots: int) -> None:
        """Have memory for ``slots`` and much more, and a bucket that is never used."""
        while self._reserved < slots:
            self._reserved *= 64 if self._reserved < 1 << 24 else 4
        # Not np.zeros, which asks for huge pages: to clear one can take 5 ms.
        memory = mmap(-1, 2 * 8 * (self._reserved + LANES))
        keys, masks = np.frombuffer(memory, np.uint64).reshape(2, -1)
        if self._keys.size:
            used = self._buckets * LANES
            keys[:used], masks[:used] = self._keys[:used], self._masks[:used]
        self._keys, self._masks = keys, masks
        self._lines, self._mask_lines = keys.reshape(-1, LANES), masks.reshape(-1, LANES)
        self._key_view, self._mask_view = keys.data, masks.data


def lowest_lane(free: Keys) -> Numbers:
    """Of every eight lanes the first one whose byte is not 0, 8 where there is none."""
    lanes: Numbers = np.bitwise_count((free & -free) - 1) >> 3
    return lanes
