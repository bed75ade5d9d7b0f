"""Which endpoint has probably cached which block.

Theory of operation. A table (``table.py``) says for every block which endpoints hold it, so that a
prompt is matched with all endpoints at once; beside it every endpoint has the order in which its
own blocks were last used (``recency.py``), which says which ones have to go. In the table an
endpoint is one of 64 bits. A 65th endpoint opens a second table, with bits of its own.

An endpoint that leaves is out of sight at once: its bit is no longer among those that count. Its
blocks are taken out of the table little by little, with every later ``add``; then the bit is free.

Few blocks are handled one by one, more of them by numpy as a whole, with the same result.

Memory: 46.3 bytes per block that one endpoint holds, and 18.2 for each further endpoint (growth of
the process at 3 million blocks, ten endpoints with 300,000 each); dictionaries took 430. It grows
from 100 kB with the blocks. At that size and out of the processor's caches, matching 6,250 blocks
takes 1.0 ms, adding them 3.6 ms and at most 7.5, adding 256 blocks 0.3 ms and at most 4.

CPU time in microseconds at 100,000 blocks, beside dictionaries in the same run (AMD EPYC)::

    blocks                   1     3     8    32   125   256   1000   6250
    match, unknown         1.7   1.7   1.9   1.6   1.8   2.2    3.4    4.5
      dictionaries         0.2   0.2   0.2   0.2   0.2   0.2    0.4    0.6
    match, known           1.9   4.4   8.9    17    21    25     78    563
      dictionaries         0.1   0.3   0.7   2.9    12    23     99    780
    add, new               4.8    13    34    66    98   127    341   1697
      dictionaries         0.9   2.2   5.9    18    70   114    443   3571
    add, again             1.9   5.4    12    32    42    55    133    629
      dictionaries         0.2   0.4   0.5   1.6   5.6    12     47    299

So dictionaries are faster up to some hundred blocks, and nine times as large.
"""

from __future__ import annotations

import numpy as np

from epp.prefixcache.hashing import Hashes
from epp.prefixcache.recency import Recency
from epp.prefixcache.table import BlockTable

FEW = 16
"""So few blocks are cheaper one by one."""
FIRST_LOOK = 512
"""How many blocks of a prompt are looked up at first; every further look takes four times more."""
LEAVING_PER_ADD = 256
"""Blocks of endpoints that left, taken out with an ``add``, beside as many as it adds."""
BITS = 64


class PrefixIndex:
    """Per endpoint the last used blocks, as many as its capacity. ``len()`` counts them all.

    Hashes are random numbers but 0.

    Source: gateway-api-inference-extension 2aaf2a6, multi/prefix/indexer.go.
    """

    def __init__(self) -> None:
        self._groups: list[_Group] = []
        self._members: dict[str, _Member] = {}
        self._leaving: list[_Member] = []
        self._entries = 0

    def __len__(self) -> int:
        return self._entries

    def match(self, hashes: Hashes) -> dict[str, int]:
        """How many of the blocks each endpoint holds, up to the first block that nobody holds.

        An endpoint that lacks one block but holds a later one is still counted for the later one,
        as the reference does.
        """
        if len(hashes) <= FEW:
            return self._match_few(hashes.tolist())
        counts: dict[str, int] = {}
        first = int(hashes[0])
        if not any(group.holders_of_one(first) for group in self._groups):
            return counts
        start, width = 0, FIRST_LOOK
        while start < len(hashes):
            masks = [group.holders(hashes[start : start + width]) for group in self._groups]
            known = masks[0] != 0
            for more in masks[1:]:
                known |= more != 0
            length = len(known) if known.all() else int(known.argmin())
            if length:
                for group, mask in zip(self._groups, masks, strict=True):
                    group.count(mask[:length], counts)
            if length < len(known):
                break
            start, width = start + width, 4 * width
        return counts

    def _match_few(self, hashes: list[int]) -> dict[str, int]:
        patterns: dict[tuple[int, ...], int] = {}
        for key in hashes:
            pattern = tuple([group.holders_of_one(key) for group in self._groups])
            if not any(pattern):
                break
            patterns[pattern] = patterns.get(pattern, 0) + 1
        counts: dict[str, int] = {}
        for pattern, blocks in patterns.items():
            for group, mask in zip(self._groups, pattern, strict=True):
                group.count_one(mask, blocks, counts)
        return counts

    def add(self, endpoint_id: str, hashes: Hashes, *, capacity: int) -> None:
        """The endpoint has these blocks now, the last one most recently.

        ``capacity`` (blocks, positive) counts only when the endpoint is new.
        """
        member = self._members.get(endpoint_id)
        if member is None:
            member = self._members[endpoint_id] = self._join(endpoint_id, capacity)
        before = len(member.recency)
        if len(hashes) <= FEW:
            member.add_few(hashes.tolist())
        else:
            member.add_many(_distinct(hashes)[-member.capacity :])
        self._entries += len(member.recency) - before
        if self._leaving:
            self._let_go(LEAVING_PER_ADD + len(hashes))

    def remove(self, endpoint_id: str) -> None:
        """Forget an endpoint with all its blocks; unknown ids are no error."""
        member = self._members.pop(endpoint_id, None)
        if member is not None:
            self._entries -= len(member.recency)
            member.group.hide(member.bit)
            self._leaving.append(member)
            self._let_go(LEAVING_PER_ADD)

    def _join(self, endpoint_id: str, capacity: int) -> _Member:
        for group in self._groups:
            if group.free:
                break
        else:
            group = _Group()
            self._groups.append(group)
        return _Member(group, group.join(endpoint_id), capacity)

    def _let_go(self, blocks: int) -> None:
        """Take out up to so many blocks of endpoints that left."""
        while self._leaving and blocks > 0:
            member = self._leaving[0]
            keys = member.recency.take_oldest(blocks)
            member.group.table.drop(keys, member.bit)
            blocks -= len(keys)
            if not len(member.recency):
                self._leaving.pop(0)
                member.group.leave(member.bit)
                if not member.group.names:
                    self._groups.remove(member.group)


class _Group:
    """Up to 64 endpoints and the table of their blocks.

    ``names`` are those with a bit, ``counting`` the bits of those that have not left, ``free`` the
    bits that nobody has.
    """

    def __init__(self) -> None:
        self.table = BlockTable()
        self.names: dict[int, str] = {}
        self.counting = 0
        self.free = list(range(BITS))

    def join(self, name: str) -> int:
        bit = self.free.pop()
        self.names[bit] = name
        self.counting |= 1 << bit
        return bit

    def hide(self, bit: int) -> None:
        self.counting &= ~(1 << bit)

    def leave(self, bit: int) -> None:
        del self.names[bit]
        self.free.append(bit)

    def holders(self, hashes: Hashes) -> Hashes:
        return self.table.holders(hashes) & np.uint64(self.counting)

    def holders_of_one(self, key: int) -> int:
        return self.table.holders_of_one(key) & self.counting

    def count_one(self, mask: int, blocks: int, counts: dict[str, int]) -> None:
        """Count so many blocks for every endpoint in the mask."""
        while mask:
            name = self.names[(mask & -mask).bit_length() - 1]
            counts[name] = counts.get(name, 0) + blocks
            mask &= mask - 1

    def count(self, masks: Hashes, counts: dict[str, int]) -> None:
        """Count a block per mask for every endpoint in it; neighbours mostly have equal masks."""
        ends = np.flatnonzero(masks[1:] != masks[:-1]) + 1
        if len(ends) < FEW:
            start = 0
            for end in [*ends.tolist(), len(masks)]:
                self.count_one(int(masks[start]), end - start, counts)
                start = end
            return
        ends = np.append(ends, len(masks))
        octets = masks[ends - 1].astype("<u8").view(np.uint8).reshape(-1, BITS // 8)
        ends[1:] -= ends[:-1].copy()
        totals = ends @ np.unpackbits(octets, axis=1, bitorder="little")
        for bit in np.flatnonzero(totals).tolist():
            self.count_one(1 << bit, int(totals[bit]), counts)


class _Member:
    """An endpoint: its bit in a group, and its own blocks in the order of their last use."""

    def __init__(self, group: _Group, bit: int, capacity: int) -> None:
        self.group = group
        self.bit = bit
        self.capacity = capacity
        self.recency = Recency(capacity)

    def add_few(self, hashes: list[int]) -> None:
        for key in hashes:
            held = self.group.table.hold_one(key, self.bit)
            evicted = self.recency.use_one(key, held)
            if evicted:
                self.group.table.drop_one(evicted, self.bit)

    def add_many(self, hashes: Hashes) -> None:
        held = self.group.table.hold(hashes, self.bit)
        evicted = self.recency.use(hashes, held)
        if len(evicted):
            self.group.table.drop(evicted, self.bit)


def _distinct(hashes: Hashes) -> Hashes:
    """Every hash once, where it came last; as good as always they are distinct anyway."""
    ordered = np.sort(hashes)
    if not (ordered[1:] == ordered[:-1]).any():
        return hashes
    return np.array(list(dict.fromkeys(reversed(hashes.tolist())))[::-1], np.uint64)
