"""The blocks of one endpoint in the order of their last use.

Theory of operation, close to that of Python's ``dict``. A log holds the keys in the order of their
uses, the last one at the end. A key that is used again is written anew and its old entry becomes 0;
so every key is in the log once, and the first entry that is not 0 is the oldest. A second array,
``places``, finds a key in the log: the key's bits choose a bucket of eight places, and in that
bucket, or in the next one if it is full, is a place with the number of an entry that holds the key.
Nobody asks for a key that is not here (the table of all blocks knows who holds what), so a search
ends at its key, and a place is free as soon as its entry is 0: nothing is ever deleted.

When the end of the log is reached, the zeros are taken out: entry ``n`` becomes entry "how many
keys up to n", in the log and in the places. That happens once in a quarter of the capacity. The
places are made anew when a key has less than two of them; beyond some thousand keys at once for the
whole capacity.

For a full endpoint of 300,000 blocks the two take 18.2 bytes per block. A batch of 6,250 new blocks
takes 0.5 ms, and 2.5 to 4.5 ms when the zeros are taken out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from epp.prefixcache.table import LANES, Keys, Numbers, lowest_lane

Entries = NDArray[np.uint32]

FIRST_PLACES = 64
FEW = 8
"""So few keys are given their places one by one."""
MANY = 8192
"""With more keys than these the places are made for the whole capacity."""


class Recency:
    """At most ``capacity`` keys (positive), random numbers other than 0. ``len()`` counts them."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._live = 0
        # Entry 0 is always 0: it is where new places lead.
        self._oldest = self._end = 1
        self._set_log(np.zeros(FIRST_PLACES, np.uint64))
        self._set_places(np.zeros(FIRST_PLACES, np.uint32))

    def __len__(self) -> int:
        return self._live

    def use(self, keys: Keys, held: NDArray[np.bool_]) -> Keys:
        """Make ``keys`` the most recent ones, in their order; those that had to go are returned.

        No more keys than the capacity, no key twice; ``held`` tells which of them are here already.
        """
        self._make_room(len(keys))
        end = self._end + len(keys)
        entries = np.arange(self._end, end, dtype=np.uint32)
        if held.any():
            places = self._find(keys[held])
            self._log[self._places[places]] = 0
            self._places[places] = entries[held]
        self._log[self._end : end] = keys
        new = ~held
        new_keys = keys[new]
        evicted = self.take_oldest(self._live + len(new_keys) - self._capacity)
        self._enter(new_keys, entries[new])
        self._live += len(new_keys)
        self._end = end
        return evicted

    def use_one(self, key: int, held: bool) -> int:
        """The same for one key; 0 when none had to go."""
        self._make_room(1)
        evicted = 0
        if held:
            place = self._find_one(key, key)
            self._log_view[self._place_view[place]] = 0
        else:
            if self._live == self._capacity:
                evicted = self._take_one()
            place = self._find_one(key, 0)
            self._live += 1
        self._place_view[place] = self._end
        self._log_view[self._end] = key
        self._end += 1
        return evicted

    def _take_one(self) -> int:
        key = self._log_view[self._oldest]
        if not key:
            return int(self.take_oldest(1)[0])
        self._log_view[self._oldest] = 0
        self._oldest += 1
        self._live -= 1
        return key

    def take_oldest(self, number: int) -> Keys:
        """Remove up to ``number`` keys, the oldest first."""
        number = min(number, self._live)
        if number <= 0:
            return np.empty(0, np.uint64)
        width = 2 * number
        while True:
            log = self._log[self._oldest : min(self._oldest + width, self._end)]
            entries = np.flatnonzero(log)[:number]
            if len(entries) == number:
                break
            width *= 4
        keys = log[entries]
        log[entries] = 0
        self._oldest += int(entries[-1]) + 1
        self._live -= number
        return keys

    def _make_room(self, number: int) -> None:
        """Let ``number`` more keys fit at the end of the log and into the places."""
        if self._end + number > len(self._log):
            self._compact(number)
        live_soon = min(self._live + number, self._capacity)
        if 2 * live_soon > len(self._places):
            places = 4 * live_soon if live_soon <= MANY else 2 * self._capacity
            self._set_places(np.zeros(-(-places // LANES) * LANES, np.uint32))
            entries = np.flatnonzero(self._log)
            self._enter(self._log[entries], entries.astype(np.uint32))

    def _compact(self, number: int) -> None:
        """Take the zeros out of the log, and make it as long as the next uses need."""
        is_live = self._log != 0
        rank = np.cumsum(is_live, dtype=np.uint32)
        rank *= is_live
        self._set_places(rank[self._places])
        kept = self._log[is_live]
        spare = max(FIRST_PLACES, min(len(kept) + number, self._capacity // 4))
        log = np.zeros(1 + len(kept) + number + spare, np.uint64)
        self._oldest, self._end = 1, 1 + len(kept)
        log[1 : self._end] = kept
        self._set_log(log)

    def _find(self, keys: Keys) -> Numbers:
        """The places of keys that are here."""
        buckets = self._buckets(keys)
        hits = np.flatnonzero(self._log[self._lines[buckets]] == keys[:, None])
        places = np.full(len(keys), -1)
        places[hits >> 3] = buckets[hits >> 3] * LANES + (hits & 7)
        if len(hits) < len(keys):
            for i in np.flatnonzero(places < 0).tolist():
                key = int(keys[i])
                places[i] = self._find_one(key, key)
        return places

    def _find_one(self, key: int, content: int) -> int:
        """The key's place, if the content is the key; a free place for it, if it is 0."""
        log, places = self._log_view, self._place_view
        place = ((key >> 32) * (len(places) // LANES) >> 32) * LANES
        while log[places[place]] != content:
            place += 1
            if place == len(places):
                place = 0
        return place

    def _enter(self, keys: Keys, entries: Entries) -> None:
        """Give new keys places that lead to their entries, which are in the log already."""
        crowded: list[tuple[int, int]] = []
        while len(keys) > FEW:
            buckets = self._buckets(keys)
            # One byte per lane, 1 where it is free: those of a bucket are one number.
            free = (self._log[self._lines[buckets]] == 0).view(np.uint64)[:, 0]
            places = buckets * LANES + lowest_lane(free)
            is_open = free != 0
            if not is_open.all():
                full = ~is_open
                crowded += zip(keys[full].tolist(), entries[full].tolist(), strict=True)
                keys, entries, places = keys[is_open], entries[is_open], places[is_open]
            self._places[places] = entries
            # Of several that want the same place the last one has it, the others try again.
            lost = self._places[places] != entries
            keys, entries = keys[lost], entries[lost]
        for key, entry in [*zip(keys.tolist(), entries.tolist(), strict=True), *crowded]:
            self._place_view[self._find_one(key, 0)] = entry

    def _buckets(self, keys: Keys) -> Numbers:
        return ((keys >> 32) * np.uint64(len(self._lines)) >> 32).view(np.int64)

    def _set_log(self, log: Keys) -> None:
        self._log, self._log_view = log, log.data

    def _set_places(self, places: Entries) -> None:
        self._places, self._place_view = places, places.data
        self._lines = places.reshape(-1, LANES)
