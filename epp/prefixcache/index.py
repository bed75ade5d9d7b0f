"""Which endpoint has probably cached which block.

Theory of operation: what endpoints have lately is *fresh*, in a dictionary from a block to flags of
endpoints; the rest is *settled* (``settled.py``), in arrays that take a tenth of the memory and a
fraction of the time for many blocks, but much more for a few. A prompt's blocks are looked up in
both. When an endpoint has ``PATIENCE`` fresh blocks they settle together, so that no request pays
for numpy's calls, and a step takes a millisecond at most.

An endpoint may hold some more blocks than its capacity until its fresh ones settle: an eighth at
most, and none where that is less than one block. Differs: upstream learns of a decision in the
background, some time later; here the next request sees it.

CPU time in microseconds to match a prompt's blocks and to add them, settling included, with 312,500
in the index (AMD EPYC); beside dictionaries alone, which take 430 bytes per block instead of 46::

    blocks             3    32   125   256   1000   6250
    new                4    22    67   141    526   1882
      dictionaries     4    27    94   218   2287  12878
    once more          7    30    73   111    476    945
      dictionaries     1     4    17    34    140   1139
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from epp.prefixcache.hashing import Hashes
from epp.prefixcache.settled import SettledIndex

PATIENCE = 2048
"""How many blocks of an endpoint may be fresh."""

MANY = 1024
"""So many blocks at once are settled at once."""

MAX_FRESH = 32_768
"""How many blocks of all endpoints may be fresh: about 5 MB."""


class PrefixIndex:
    """Per endpoint the last used blocks. ``len()`` counts them all, twice what is fresh again.

    Hashes are random numbers; 0, should it ever come, is nobody's.

    Source: gateway-api-inference-extension 2aaf2a6, multi/prefix/indexer.go.
    """

    def __init__(self) -> None:
        self._settled = SettledIndex()
        self._fresh: dict[int, int] = {}
        self._endpoints: dict[str, _Endpoint] = {}
        self._free: list[int] = []
        self._held = 0  # fresh blocks, once for each endpoint that holds them
        self._waiting = 0  # the same, once for each use

    def __len__(self) -> int:
        return len(self._settled) + self._held

    def match(self, hashes: Hashes) -> dict[str, int]:
        """How many of the blocks each endpoint holds, up to the first block that nobody holds.

        An endpoint that lacks one block but holds a later one is still counted for the later one,
        as the reference does.
        """
        if len(hashes) > MANY:
            self.settle()
            return self._settled.match(np.asarray(hashes, np.uint64))
        keys = _integers(hashes)
        fresh, settled = self._fresh, self._settled
        if not keys or (keys[0] not in fresh and not settled.knows(keys[0])):
            return {}
        if fresh.keys().isdisjoint(keys):
            return settled.match(np.asarray(hashes, np.uint64))
        return self._match_both(keys)

    def _match_both(self, keys: Sequence[int]) -> dict[str, int]:
        fresh, settled = self._fresh, self._settled
        counts: dict[str, int] = {}
        flags, blocks = 0, 0
        row: tuple[int, ...] = ()
        # Neighbours mostly have the same holders.
        for here, there in zip(
            [fresh.get(key, 0) for key in keys], settled.rows(keys), strict=True
        ):
            if here == flags and there == row:
                blocks += 1
                continue
            self._count(flags, row, blocks, counts)
            if not here and not any(there):
                return counts
            flags, row, blocks = here, there, 1
        self._count(flags, row, blocks, counts)
        return counts

    def _count(self, flags: int, row: tuple[int, ...], blocks: int, counts: dict[str, int]) -> None:
        """Count so many blocks for everybody who holds them, fresh or settled."""
        if not blocks:
            return
        names = self._settled.names(row)
        if flags:
            names += [e.id for e in self._endpoints.values() if e.flag & flags]
        for name in set(names):
            counts[name] = counts.get(name, 0) + blocks

    def add(self, endpoint_id: str, hashes: Hashes, *, capacity: int) -> None:
        """The endpoint has these blocks now, the last one most recently.

        ``capacity`` (blocks, positive) counts only when the endpoint is new.
        """
        endpoint = self._endpoints.get(endpoint_id) or self._join(endpoint_id, capacity)
        if len(hashes) > MANY:
            self._settle(endpoint)
            words = np.asarray(hashes, np.uint64)
            self._settled.add(endpoint_id, words, capacity=endpoint.capacity)
            return
        keys, fresh, flag = _integers(hashes), self._fresh, endpoint.flag
        for key in keys:
            holders = fresh.get(key, 0)
            if not holders & flag:
                fresh[key] = holders | flag
                self._held += 1
        endpoint.fresh += keys
        self._waiting += len(keys)
        if len(endpoint.fresh) > endpoint.patience:
            self._settle(endpoint)
        elif self._waiting > MAX_FRESH:
            self._settle(max(self._endpoints.values(), key=lambda other: len(other.fresh)))

    def remove(self, endpoint_id: str) -> None:
        """Forget an endpoint with all its blocks; unknown ids are no error."""
        endpoint = self._endpoints.pop(endpoint_id, None)
        if endpoint is not None:
            self._stale(endpoint)
            self._settled.remove(endpoint_id)
            self._free.append(endpoint.flag)

    def settle(self) -> None:
        """Settle whatever is fresh."""
        for endpoint in self._endpoints.values():
            self._settle(endpoint)

    def _join(self, endpoint_id: str, capacity: int) -> _Endpoint:
        flag = self._free.pop() if self._free else 1 << len(self._endpoints)
        endpoint = self._endpoints[endpoint_id] = _Endpoint(endpoint_id, flag, capacity)
        return endpoint

    def _settle(self, endpoint: _Endpoint) -> None:
        keys = self._stale(endpoint)
        if keys:
            words = np.array(keys, np.uint64)
            self._settled.add(endpoint.id, words, capacity=endpoint.capacity)

    def _stale(self, endpoint: _Endpoint) -> list[int]:
        """Take the endpoint's blocks from the fresh ones."""
        keys, endpoint.fresh = endpoint.fresh, []
        self._waiting -= len(keys)
        fresh, flag = self._fresh, endpoint.flag
        for key in keys:
            holders = fresh.get(key, 0)
            if holders & flag:
                self._held -= 1
                if holders == flag:
                    del fresh[key]
                else:
                    fresh[key] = holders ^ flag
        return keys


class _Endpoint:
    """What an endpoint has added since its blocks settled last, in order."""

    __slots__ = ("capacity", "flag", "fresh", "id", "patience")

    def __init__(self, endpoint_id: str, flag: int, capacity: int) -> None:
        self.id = endpoint_id
        self.flag = flag
        self.capacity = capacity
        self.patience = min(PATIENCE, capacity // 8)
        self.fresh: list[int] = []


def _integers(hashes: Hashes) -> Sequence[int]:
    return hashes.tolist() if isinstance(hashes, np.ndarray) else hashes
